"""Options as an operator wrote them, in a paste section and in config files: text, and the place where it stands."""

from __future__ import annotations

import configparser
import glob
import os
from collections.abc import Iterator, Mapping
from typing import Callable, NamedTuple

from oslo_config import cfg, iniparser

from imagefilter.options import GROUP

#: The relay's section, in what may be the same file.
RELAY_GROUP = "imagefilter_relay"

# Paste keys that say where the config file is, understood as by oslo.middleware.
_CONFIG_KEYS = ("oslo_config_project", "oslo_config_file", "oslo_config_program")


class Given(NamedTuple):
    """An option as it was written."""

    section: str  # of a config file; empty in the paste file
    name: str
    text: str
    place: str  # for people: section and file


def in_paste(paste: Mapping[str, str], place: str) -> Iterator[Given]:
    """The options in a paste section."""
    for key, text in paste.items():
        if key not in _CONFIG_KEYS:
            yield Given("", key, text, place)


def is_of_filter(section: str) -> bool:
    """Whether a section of a config file is the filter's to judge: the file may be nova.conf, and hold the relay's."""
    return section.lower().startswith(GROUP) and section != RELAY_GROUP


def in_files(paste: Mapping[str, str], is_ours: Callable[[str], bool] = is_of_filter) -> Iterator[Given]:
    """The options in the sections of the config files that are ours to judge.

    :raises ValueError: if a file can't be read, with its name.
    """
    try:
        conf = _open(paste)
        for path in _files_of(conf):
            sections: dict[str, dict[str, list[str]]] = {}
            cfg.ConfigParser(path, sections).parse()
            for section in filter(is_ours, sections):
                place = f"section [{section}] of {path}"
                yield from (Given(section, key, _value(conf, section, key), place) for key in sections[section])
    except RecursionError:
        raise ValueError(f"config file {paste.get('oslo_config_file', '')}: a $ that leads to itself") from None
    except (cfg.Error, iniparser.ParseError, OSError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"config file {paste.get('oslo_config_file', '')}: {error}") from None


def files(paste: Mapping[str, str]) -> tuple[str, ...]:
    """The config files that a paste section names, found or not."""
    if paste.get("oslo_config_file"):
        return (paste["oslo_config_file"],)
    try:
        return tuple(_files_of(_open(paste)))
    except (cfg.Error, OSError, ValueError):
        return ()


def paste_place(global_conf: Mapping[str, str], local_conf: Mapping[str, str], kind: str = "filter") -> str:
    """What to call the paste section that holds ``local_conf``: PasteDeploy tells a factory the file alone.

    :param kind: of section: ``filter`` or ``app``.
    """
    path = global_conf.get("__file__")
    if not path:
        return "the paste section"
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # paste keys keep their case
    try:
        parser.read(path)
    except (configparser.Error, UnicodeDecodeError):
        return f"a section [{kind}:...] of {path}"
    names = [name for name in parser.sections() if name.startswith(kind) and _holds(parser, name, local_conf)]
    return f"section [{names[0]}] of {path}" if len(names) == 1 else f"a section [{kind}:...] of {path}"


def _holds(parser: configparser.RawConfigParser, section: str, keys: Mapping[str, str]) -> bool:
    about_us = any("imagefilter" in value for value in dict(parser.items(section)).values())
    return about_us and all(parser.has_option(section, key) for key in keys)


def _open(paste: Mapping[str, str]) -> cfg.ConfigOpts:
    path = paste.get("oslo_config_file")
    project = paste.get("oslo_config_project")
    conf = cfg.ConfigOpts()
    conf(
        [],
        project=project or GROUP,
        prog=paste.get("oslo_config_program"),
        default_config_files=[path] if path else None if project else [],
        default_config_dirs=[] if path or not project else None,
        use_env=False,
    )
    return conf


def _files_of(conf: cfg.ConfigOpts) -> list[str]:
    directories = conf.config_dir or []
    return [*conf.config_file, *(path for d in directories for path in sorted(glob.glob(os.path.join(d, "*.conf"))))]


def _value(conf: cfg.ConfigOpts, section: str, key: str) -> str:
    """The text of an option, with oslo.config's own ``$`` substitution."""
    conf.register_opt(cfg.StrOpt(key), group=section)
    text: str | None = conf[section][key]
    if text is None:  # oslo.config read the file before us, when it was another
        raise ValueError(f"{key} in section [{section}] came while the file was read")
    return text

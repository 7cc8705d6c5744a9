"""What a project may do: the options, read once and resolved into something that never changes.

Precedence: default < section ``[imagefilter]`` of the config file < section of the paste file. No option is read from
the environment, and nothing is shared with the ``CONF`` of the process: Nova builds every filter twice, and two
filters with different paste sections must not fight.
"""

from __future__ import annotations

import configparser
import difflib
import glob
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from oslo_config import cfg

from imagefilter.options import GROUP, OPTIONS

# Paste keys that say where the config file is, understood as by oslo.middleware.
_CONFIG_KEYS = ("oslo_config_project", "oslo_config_file", "oslo_config_program")

_BY_NAME: dict[str, cfg.Opt] = {option.name: option for option in OPTIONS}
_BY_NAME.update((str(old.name), option) for option in OPTIONS for old in option.deprecated_opts)


class ConfigError(ValueError):
    """Options that can't be used: each with its section, file and the reason, all in one message."""


class Settings(NamedTuple):
    """The options that one project is judged by."""

    snapshots_enabled: bool
    metadata_items: int  # -1: no limit


class Policy(NamedTuple):
    """Everything the filter needs to know, immutable: a request sees one whole policy."""

    actions: Mapping[str, bytes]  # the name of each judged action, and its bytes
    max_body_bytes: int
    www_authenticate_uri: str | None
    settings: Settings


def load(paste: Mapping[str, str], place: str = "the paste section") -> Policy:
    """Read the options of one filter.

    :param paste: the keys of the filter's section in the paste file.
    :param place: what to call that section in an error.
    :raises ConfigError: for all that is wrong, in one message.
    """
    errors: list[str] = []
    values = {option.name: option.default for option in OPTIONS}
    for given in (*_in_file(paste, errors), *_in_paste(paste, place)):
        _take(given, values, errors)
    if not errors and not values["actions"]:
        errors.append("actions is empty, so nothing would be judged: take the filter out of the pipeline instead")
    if errors:
        raise ConfigError("imagefilter: " + "; ".join(errors))
    return Policy(
        actions={name: name.encode("ascii") for name in values["actions"]},
        max_body_bytes=values["max_body_bytes"],
        www_authenticate_uri=values["www_authenticate_uri"],
        settings=Settings(values["snapshots_enabled"], values["metadata_items"]),
    )


def paste_place(global_conf: Mapping[str, str], local_conf: Mapping[str, str]) -> str:
    """What to call the paste section that holds ``local_conf``: PasteDeploy tells a factory the file alone."""
    path = global_conf.get("__file__")
    if not path:
        return "the paste section"
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # paste keys keep their case
    parser.read(path)
    names = [name for name in parser.sections() if name.startswith("filter") and _holds(parser, name, local_conf)]
    return f"section [{names[0]}] of {path}" if len(names) == 1 else f"a filter section of {path}"


def _holds(parser: configparser.RawConfigParser, section: str, keys: Mapping[str, str]) -> bool:
    about_us = any("imagefilter" in value for value in dict(parser.items(section)).values())
    return about_us and all(parser.has_option(section, key) for key in keys)


class _Given(NamedTuple):
    """An option as an operator wrote it."""

    name: str
    text: str
    place: str


def _take(given: _Given, values: dict[str, Any], errors: list[str]) -> None:
    option = _BY_NAME.get(given.name)
    if option is None:
        close = difflib.get_close_matches(given.name, _BY_NAME, 1)
        hint = f" (is it {close[0]}?)" if close else ""
        errors.append(f"unknown option '{given.name}' in {given.place}{hint}")
    elif not given.text.strip():  # an empty value unsets
        values[option.name] = [] if isinstance(option, cfg.ListOpt) else option.default
    else:
        try:
            values[option.name] = option.type(given.text)
        except ValueError as error:
            errors.append(f"{given.name} = {given.text} in {given.place}: {error}")


def _in_paste(paste: Mapping[str, str], place: str) -> Iterator[_Given]:
    for key, text in paste.items():
        if key not in _CONFIG_KEYS:
            yield _Given(key, text, place)


def _in_file(paste: Mapping[str, str], errors: list[str]) -> Iterator[_Given]:
    """The options in the sections of the config files that are ours to judge: it may be nova.conf."""
    try:
        conf = _open(paste)
        for path in _files(conf):
            sections: dict[str, dict[str, list[str]]] = {}
            cfg.ConfigParser(path, sections).parse()
            for section, keys in sections.items():
                place = f"section [{section}] of {path}"
                if section == GROUP:
                    yield from (_Given(key, _value(conf, section, key), place) for key in keys)
                elif section.lower().startswith(GROUP):
                    errors.append(f"unknown {place}")
    except (cfg.Error, OSError) as error:
        errors.append(" ".join(str(error).split()))
    except UnicodeDecodeError as error:
        errors.append(f"config file {paste.get('oslo_config_file', '')}: {error}")


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


def _files(conf: cfg.ConfigOpts) -> list[str]:
    directories = conf.config_dir or []
    return [*conf.config_file, *(path for d in directories for path in sorted(glob.glob(os.path.join(d, "*.conf"))))]


def _value(conf: cfg.ConfigOpts, section: str, key: str) -> str:
    """The text of an option, with oslo.config's own ``$`` substitution."""
    conf.register_opt(cfg.StrOpt(key), group=section)
    text: str = conf[section][key]
    return text

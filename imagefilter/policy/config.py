"""Read options as an operator wrote them, in a paste section and in config files, and check their values.

The filter, the gateway and the relay each have a table of options (``cfg.Opt``); all of them are read here. Each file
is opened once per load. Files have oslo.config's own syntax, with its ``$`` substitution; the environment is no source.
"""

from __future__ import annotations

import configparser
import difflib
import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, NamedTuple

from oslo_config import cfg, iniparser

# Paste keys that say where the config file is, understood as by oslo.middleware.
_CONFIG_KEYS = ("oslo_config_project", "oslo_config_file", "oslo_config_program")

# The options of one file by section and name, each with every text that it was given.
_Sections = dict[str, dict[str, list[str]]]


class ConfigError(ValueError):
    """Options that can't be used: each with its section, file and the reason, all in one message."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("imagefilter: " + "; ".join(errors))
        self.errors = errors


class RawOption(NamedTuple):
    """An option as it was written."""

    section: str  # of a config file; empty in a paste file
    name: str
    text: str
    location: str  # for people: section and file


def read_paste(paste: Mapping[str, str], location: str) -> list[RawOption]:
    """Return the options in a paste section, without those that say where the config file is.

    :param location: how to name that section in an error.
    """
    return [RawOption("", key, text, location) for key, text in paste.items() if key not in _CONFIG_KEYS]


def read_files(paste: Mapping[str, str], is_ours: Callable[[str], bool], errors: list[str]) -> list[RawOption]:
    """Return the options in the config files that a paste section names.

    :param is_ours: says of a section's name whether its options are wanted.
    :param errors: gets a message for each file that can't be read and each value that can't be substituted.
    """
    files: dict[str, _Sections] = {}
    for path in find_files(paste):
        sections = _parse(path, errors)
        if sections is not None:
            files[path] = sections
    substitute = _Substitution(files.values())
    raw_options = []
    for path, sections in files.items():
        for section in filter(is_ours, sections):
            location = f"section [{section}] of {path}"
            for name, texts in sections[section].items():
                try:
                    text = substitute(section, texts[-1])
                except ValueError as error:
                    errors.append(f"{name} in {location}: {error}")
                else:
                    raw_options.append(RawOption(section, name, text, location))
    return raw_options


def find_files(paste: Mapping[str, str]) -> tuple[str, ...]:
    """Return the paths of the config files that a paste section names, whether they exist or not."""
    path = paste.get("oslo_config_file")
    if path:
        return (os.path.abspath(os.path.expanduser(path)),)
    project, program = paste.get("oslo_config_project"), paste.get("oslo_config_program")
    if not project:
        return ()
    paths = list(cfg.find_config_files(project, program))
    for directory in cfg.find_config_dirs(project, program):
        paths += sorted(glob.glob(os.path.join(directory, "*.conf")))
    return tuple(paths)


def select(raw_options: Iterable[RawOption], options: Sequence[cfg.Opt], errors: list[str]) -> dict[str, RawOption]:
    """Return what was given for each option, by its current name; the last one given wins.

    :param options: the table of options.
    :param errors: gets a message for each name that is not in the table.
    """
    by_name = names_of(options)
    given = {}
    for raw in raw_options:
        option = by_name.get(raw.name)
        if option is None:
            errors.append(_unknown(raw, by_name))
        else:
            given[option.name] = raw
    return given


def convert(given: Mapping[str, RawOption], options: Sequence[cfg.Opt], errors: list[str]) -> dict[str, Any]:
    """Return the value of each option: what was given, converted to the option's type, or its default.

    An empty text unsets: it gives the default, and an empty list for a list.

    :param given: by the option's name.
    :param errors: gets a message for each text that does not parse.
    """
    by_name = {option.name: option for option in options}
    values = {option.name: option.default for option in options}
    for name, raw in given.items():
        option = by_name[name]
        if raw.text.strip():
            try:
                values[name] = option.type(raw.text)
            except ValueError as error:
                errors.append(f"{raw.name} = {_printable(option, raw)} in {raw.location}: {error}")
        elif isinstance(option, cfg.ListOpt):
            values[name] = []
    return values


def names_of(options: Iterable[cfg.Opt]) -> dict[str, cfg.Opt]:
    """Return options by name, old names included."""
    by_name = {}
    for option in options:
        by_name[option.name] = option
        for old in option.deprecated_opts:
            by_name[str(old.name)] = option
    return by_name


def paste_location(global_conf: Mapping[str, str], local_conf: Mapping[str, str], kind: str = "filter") -> str:
    """Return how to name the paste section that holds ``local_conf``: PasteDeploy tells a factory only the file.

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
    if len(names) == 1:
        return f"section [{names[0]}] of {path}"
    return f"a section [{kind}:...] of {path}"


def _parse(path: str, errors: list[str]) -> _Sections | None:
    sections: _Sections = {}
    try:
        cfg.ConfigParser(path, sections).parse()
    except iniparser.ParseError as error:
        errors.append(f"config file {path}, line {error.lineno}: {error.msg}: {error.line!r}")
    except OSError as error:
        errors.append(f"config file {path}: {error.strerror}")
    except UnicodeDecodeError as error:
        errors.append(f"config file {path}: {error}")
    else:
        return sections
    return None


class _Substitution:
    """oslo.config's ``$`` substitution, over the options of all files."""

    def __init__(self, files: Iterable[_Sections]) -> None:
        self._texts: dict[tuple[str, str], str] = {}
        for sections in files:
            for section, names in sections.items():
                for name, texts in names.items():
                    self._texts[section, name] = texts[-1]

    def __call__(self, section: str, text: str, path: tuple[str, ...] = ()) -> str:
        """Return a text with each ``$name`` and ``$section.name`` replaced.

        :param path: the references that led here.
        :raises ValueError: if one is not set, or leads back to itself.
        """
        # oslo.config reads "\$" as "$$".
        template = cfg.ConfigOpts.Template(text.replace(r"\$", "$$"))
        references = _References(lambda key: self._look_up(section, key, path))
        substituted: str = template.safe_substitute(references)
        return substituted

    def _look_up(self, section: str, key: str, path: tuple[str, ...]) -> str:
        if key in path:
            raise ValueError("circular $-substitution")
        group, dot, name = key.rpartition(".")
        sections = [section, "DEFAULT"]
        if dot:
            sections = [group]
        for candidate in sections:
            if (candidate, name) in self._texts:
                return self(candidate, self._texts[candidate, name], (*path, key))
        raise ValueError(f"${key} is not set in the config file (write $$ for a dollar sign)")


class _References(dict[str, str]):
    """A mapping for ``string.Template`` that calls a function for each key."""

    def __init__(self, look_up: Callable[[str], str]) -> None:
        super().__init__()
        self._look_up = look_up

    def __missing__(self, key: str) -> str:
        return self._look_up(key)


def _unknown(raw: RawOption, names: Iterable[str]) -> str:
    hint = ""
    for name in difflib.get_close_matches(raw.name, names, 1):
        hint = f" (is it {name}?)"
    return f"unknown option '{raw.name}' in {raw.location}{hint}"


def _printable(option: cfg.Opt, raw: RawOption) -> str:
    if option.secret:
        return "***"
    return raw.text


def _holds(parser: configparser.RawConfigParser, section: str, keys: Mapping[str, str]) -> bool:
    """Return whether a section is one of ours and has all these keys."""
    values = dict(parser.items(section)).values()
    is_ours = any("imagefilter" in value for value in values)
    return is_ours and all(parser.has_option(section, key) for key in keys)

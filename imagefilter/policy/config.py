"""Check options as an operator wrote them, in a paste section and in config files, and convert their values.

The filter, the gateway and the relay each have a table of options (``cfg.Opt``); the texts of all of them end up here.
The environment is no source.
"""

from __future__ import annotations

import configparser
import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from oslo_config import cfg

# Paste keys that say where the config file is, understood as by oslo.middleware.
_CONFIG_KEYS = ("oslo_config_project", "oslo_config_file", "oslo_config_program")


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
                values[name] = _require_finite(option.type(raw.text))
            except ValueError as error:
                errors.append(f"{raw.name} = {_printable(option, raw)} in {raw.location}: {_reason(error)}")
        elif isinstance(option, cfg.ListOpt):
            values[name] = []
    return values


def _require_finite(value: Any) -> Any:
    """Return a value; oslo.config takes nan for a number between any two limits, and nothing is later than inf."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


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


def _unknown(raw: RawOption, names: Iterable[str]) -> str:
    hint = ""
    for name in difflib.get_close_matches(raw.name, names, 1):
        hint = f" (is it {name}?)"
    return f"unknown option '{raw.name}' in {raw.location}{hint}"


def _reason(error: ValueError) -> str:
    """Return why a text does not parse, for people."""
    text = str(error)
    if text.startswith("invalid literal for int()"):
        return "not a whole number"
    if text.startswith("could not convert string to float"):
        return "not a number"
    return text.replace("Unexpected boolean value", "neither true nor false:")


def _printable(option: cfg.Opt, raw: RawOption) -> str:
    if option.secret:
        return "***"
    return raw.text.replace("\n", "\\n")  # an error is one line


def _holds(parser: configparser.RawConfigParser, section: str, keys: Mapping[str, str]) -> bool:
    """Return whether a section is one of ours and has all these keys."""
    values = dict(parser.items(section)).values()
    is_ours = any("imagefilter" in value for value in values)
    return is_ours and all(parser.has_option(section, key) for key in keys)

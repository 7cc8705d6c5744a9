"""Read config files in oslo.config's own syntax, with its ``$`` substitution; each file is opened once per load."""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Callable

from oslo_config import cfg, iniparser

from imagefilter.policy.config import RawOption
from imagefilter.policy.options import GROUP, PROJECT_SECTION, RELAY_GROUP, RULE_SECTION, SECRETS

# The options of one file by section and name, each with every text that it was given.
_Sections = dict[str, dict[str, list[str]]]

# How alike a section's name is to one of ours before it counts as misspelt: Nova's [image_file_url] is 0.87 alike.
_LIKENESS = 0.88

# What sections of ours have behind their group.
_KINDS = (PROJECT_SECTION.removeprefix(f"{GROUP}:"), RULE_SECTION.removeprefix(f"{GROUP}:"))


class ConfigFiles:
    """The config files that a paste section names, as they were at one moment."""

    def __init__(self, paths: Iterable[str], errors: list[str]) -> None:
        """Read the files.

        :param errors: gets a message for each file that can't be read, and for each misspelt section.
        """
        self._files: dict[str, _Sections] = {}
        for path in paths:
            self._files[path] = _parse(path, errors)
        self._substitute = _Substitution(self._files.values())
        for path, section in self.sections():
            if is_misspelt(section):
                errors.append(f"section [{section}] of {path}: unknown section{_suggest(section)}")
            if section.startswith(RULE_SECTION):
                errors += self._find_repeated(path, section)

    def sections(self) -> Iterator[tuple[str, str]]:
        """Return each file's path with each section in it."""
        for path, sections in self._files.items():
            for section in sections:
                yield path, section

    def names_given(self, is_wanted: Callable[[str], bool]) -> dict[str, dict[tuple[str, str], str]]:
        """Return the options that each file gives in some sections: their texts by section and name.

        :param is_wanted: says of a section's name whether its options are wanted.
        """
        given: dict[str, dict[tuple[str, str], str]] = {path: {} for path in self._files}
        for path, section in self.sections():
            if is_wanted(section):
                for name, texts in self._files[path][section].items():
                    given[path][section, name] = texts[-1]
        return given

    def options(self, is_wanted: Callable[[str], bool], errors: list[str]) -> list[RawOption]:
        """Return the options of some sections, in the order in which they are given.

        :param is_wanted: says of a section's name whether its options are wanted.
        :param errors: gets a message for each value that can't be substituted.
        """
        raw_options: list[RawOption] = []
        for path, section in self.sections():
            if is_wanted(section):
                raw_options += self._options_in(path, section, errors)
        return raw_options

    def _find_repeated(self, path: str, section: str) -> Iterator[str]:
        """Report a rule that another one of the same name replaces: oslo.config makes one section of both."""
        for name, texts in self._files[path][section].items():
            if len(texts) > 1:
                yield f"{name} in section [{section}] of {path}: given twice, so one of two rules would be lost"

    def _options_in(self, path: str, section: str, errors: list[str]) -> Iterator[RawOption]:
        location = f"section [{section}] of {path}"
        for name, texts in self._files[path][section].items():
            try:
                text = self._substitute(section, texts[-1])
            except ValueError as error:
                reason = str(error)
                if name in SECRETS:  # what looks like a reference may be part of a password
                    reason = "it has a reference that is not set (write $$ for a dollar sign)"
                errors.append(f"{name} in {location}: {reason}")
            else:
                yield RawOption(section, name, text, location)


def find_files(paste: Mapping[str, str]) -> tuple[str, ...]:
    """Return the paths of the config files that a paste section names, whether they exist or not.

    ``oslo_config_project``, ``oslo_config_file`` and ``oslo_config_program`` are understood as by oslo.middleware.
    """
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


def is_misspelt(section: str) -> bool:
    """Return whether a section that is not ours begins like one of ours, or is close to one in name.

    Others are none of our business: the file may be nova.conf.
    """
    if section in (GROUP, RELAY_GROUP) or section.startswith((PROJECT_SECTION, RULE_SECTION)):
        return False
    if section.lower().startswith(_KINDS):
        return True
    names = (GROUP, RELAY_GROUP.replace("_", ""))
    for part in re.split(r"[:\s]", section.lower()):
        letters = re.sub("[-_.]", "", part)
        if letters.startswith(GROUP) or difflib.get_close_matches(letters, names, 1, _LIKENESS):
            return True
    return False


def _suggest(section: str) -> str:
    """Return the section that was probably meant, as a question."""
    kinds = {
        GROUP: GROUP,
        RELAY_GROUP: RELAY_GROUP,
        PROJECT_SECTION: f"{PROJECT_SECTION}<id>",
        RULE_SECTION: f"{RULE_SECTION}NAME",
    }
    if section.lower().startswith(_KINDS):
        section = f"{GROUP}:{section}"
    for kind in difflib.get_close_matches(section.lower(), kinds, 1):
        return f" (is it [{kinds[kind]}]?)"
    return ""


def _parse(path: str, errors: list[str]) -> _Sections:
    sections: _Sections = {}
    try:
        cfg.ConfigParser(path, sections).parse()
    except iniparser.ParseError as error:
        line = repr(error.line)
        if "@" in line:  # it may be part of a URL with a password
            line = "(not shown: it has an @)"
        errors.append(f"config file {path}, line {error.lineno}: {error.msg}: {line}")
        return _salvage(path)
    except OSError as error:
        errors.append(f"config file {path}: {error.strerror}")
    except UnicodeDecodeError as error:
        errors.append(f"config file {path}: {error}")
        return _salvage(path)
    return sections


def _salvage(path: str) -> _Sections:
    """Return the simple lines of a file that can't be parsed, so that ``mode = off`` counts even there."""
    sections: _Sections = {}
    section = ""
    for line in _read_lines(path):
        header = re.fullmatch(r"\[([^]]+)\]\s*", line)
        assignment = re.fullmatch(r"(\w+)\s*[=:]\s*(.*?)\s*", line)
        if header:
            section = header.group(1)
        elif assignment and section:
            sections.setdefault(section, {})[assignment.group(1)] = [assignment.group(2)]
    return sections


def _read_lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readlines()
    except OSError:  # it is gone meanwhile; that it is bad was reported
        return []


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

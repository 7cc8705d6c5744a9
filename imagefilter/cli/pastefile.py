"""The sections of a paste file, found as PasteDeploy finds them, but read as text: nothing in it is loaded."""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

#: What a section's name may begin with (paste.deploy.loadwsgi), for what can serve requests, and for filters.
APPS = ("app", "application", "composite", "composit", "pipeline", "filter-app")
FILTERS = ("filter",)

# A section that uses another one that uses it, and so on.
_MAX_DEPTH = 20


class Section(NamedTuple):
    """A section of a paste file."""

    name: str  # as it is written
    kind: str  # what it begins with
    options: Mapping[str, str]


class PasteFile:
    """A paste file."""

    def __init__(self, path: str) -> None:
        """Read a file.

        :raises ValueError: if it can't be read.
        """
        self.path = os.path.abspath(path)
        # PasteDeploy hands [DEFAULT] to each factory apart from the section's own keys.
        parser = configparser.RawConfigParser(default_section="")
        parser.optionxform = str  # type: ignore[assignment,method-assign]  # paste keys keep their case
        try:
            with open(path, encoding="utf-8") as file:
                parser.read_file(file, source=path)
        except (OSError, configparser.Error, UnicodeDecodeError) as error:
            raise ValueError(" ".join(str(error).split())) from None
        self._sections = [_section(name, dict(parser.items(name))) for name in parser.sections()]

    def sections(self, kinds: Sequence[str]) -> Iterator[Section]:
        """Return the sections of some kinds, in the order of the file."""
        return (section for section in self._sections if section.kind in kinds)

    def find(self, kinds: Sequence[str], name: str) -> Section | None:
        """Return the section that a name stands for, or None."""
        for section in self.sections(kinds):
            if name_of(section) == name:
                return section
        return None

    def factory(self, kinds: Sequence[str], name: str, depth: int = 0) -> str:
        """Return what a name stands for in the end: ``egg:…``, ``call:…`` or a factory; empty if nothing.

        :raises ValueError: if another file that it leads to can't be read.
        """
        if name.startswith("config:"):
            path, _, inner = name[len("config:") :].partition("#")
            other = PasteFile(os.path.join(os.path.dirname(self.path), path))
            return other.factory(kinds, inner or "main", depth + 1)
        if name.startswith(("egg:", "call:")):
            return name
        section = self.find(kinds, name)
        if section is None or depth > _MAX_DEPTH:
            return ""
        for key, value in section.options.items():
            if key.startswith("paste.") and key.endswith("factory"):
                return value
        return self.factory(kinds, section.options.get("use", ""), depth + 1)


def name_of(section: Section) -> str:
    """Return the name by which others refer to a section."""
    return section.name.partition(":")[2].strip() or "main"


def _section(name: str, options: Mapping[str, str]) -> Section:
    return Section(name, name.partition(":")[0], options)

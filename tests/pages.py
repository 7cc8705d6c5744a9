"""The blocks of the pages: commands, files, and what is printed.

A block is run as commands. A comment before it, which readers don't see, says where that is otherwise::

    <!-- status: 1 -->               commands that end with this exit status
    <!-- serves: a line -->          a command that goes on; it is ready when it prints the line
    <!-- not run here: the reason -->
    <!-- file: PATH -->              what is in a file of this repository
    <!-- policy -->                  what is in a config file, and can be loaded
    <!-- columns -->                 what the block before prints, on other hosts: its titles
    <!-- text -->                    neither
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tests.paths import ROOT

_COMMENT = re.compile(r"<!-- (status|serves|not run here|file|policy|columns|text)(?:: (.+?))? -->")
_ITEM = re.compile(r"\s*(?:[*-]|[0-9]+\.) ")


class Block(NamedTuple):
    """A block of a page."""

    page: str
    line: int  # its first, from 1 on
    heading: str  # of the part of the page that it is in
    text: str
    kind: str  # run, or the word of its comment
    note: str  # the rest of its comment

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.page}:{self.line}"


def read_blocks(path: Path) -> list[Block]:
    """Return the blocks of a page: lines that are indented, or between fences."""
    blocks: list[Block] = []
    kind, note, heading = "run", "", ""
    lines = path.read_text().splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        found = _find_end(lines, number)
        if found > number:
            text = _unindent(lines[number:found])
            if not line.startswith("```{"):  # a directive of MyST
                blocks.append(Block(path.relative_to(ROOT).as_posix(), number + 1, heading, text, kind, note))
        if line.startswith("#"):
            heading = line.lstrip("# ")
        comment = _COMMENT.fullmatch(line)
        if comment:
            kind, note = comment[1], comment[2] or ""
        elif line:
            kind, note = "run", ""
        number = max(found, number + 1)
    return blocks


def _find_end(lines: list[str], start: int) -> int:
    """Return the line behind a block that begins at a line; that line if none begins there."""
    if lines[start].startswith("```"):
        return next(number for number in range(start + 1, len(lines)) if lines[number].startswith("```")) + 1
    if not lines[start].startswith("    ") or (start and lines[start - 1].strip()):
        return start
    if _is_in_list(lines, start):
        return start
    end = start
    while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
        end += 1
    while not lines[end - 1].strip():
        end -= 1
    return end


def _is_in_list(lines: list[str], start: int) -> bool:
    """Return whether a line goes on an item of a list, as Markdown reads it."""
    for line in reversed(lines[:start]):
        if line.strip() and not line.startswith(" "):
            return _ITEM.match(line) is not None
    return False


def _unindent(lines: list[str]) -> str:
    if lines[0].startswith("```"):
        return "\n".join(lines[1:-1]) + "\n"
    return "\n".join(line[4:] for line in lines) + "\n"


def list_pages() -> list[Path]:
    """Return the pages for operators and maintainers."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
    return [*pages, *sorted((ROOT / "docs").glob("**/*.md"))]

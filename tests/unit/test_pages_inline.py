"""The commands that pages name in their text: each exists, and takes the options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import pytest

pytest.importorskip("cliff")
pytest.importorskip("duckdb")
pytest.importorskip("jinja2")

from tests.pages import list_pages
from tests.paths import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
COMMANDS = {
    point.name.replace("_", " "): point
    for point in metadata.distribution("nova-imagefilter").entry_points
    if point.group == "imagefilter.cli"
}

#: A text leaves out what is not its point, and has words for values.
_LEFT_OUT = re.compile("the following arguments are required|expected one argument|invalid choice: '[A-Z-]+'")
#: Log lines begin like commands.
_LOG_LINES = ("imagefilter judges …",)


def find_lines(text: str) -> Iterator[str]:
    """Yield what stands between backquotes and begins with the name of a program of ours."""
    for found in re.findall(r"(?<!`)`((?:imagefilter|make) [^`]+)`", text):
        line = " ".join(found.split())
        if line not in _LOG_LINES:
            yield line


LINES = sorted({line for page in list_pages() for line in find_lines(page.read_text())})


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("make ")])
def test_a_target_in_a_text(line: str) -> None:
    target = line.split()[1]
    assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE), line


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("imagefilter ")])
def test_a_command_in_a_text(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert why_wrong(line, capsys) == ""


WRONG = [
    ("imagefilter audit lst", "there is no command audit lst"),
    ("imagefilter replay --config x", "there is no command replay"),
    ("imagefilter audit list --sinc 5d", "unrecognized arguments"),
    ("imagefilter audit list --since soon", "'soon' is not a time"),
    ("imagefilter audit replay --by day", "invalid choice: 'day'"),
    ("imagefilter status now", "unrecognized arguments: now"),
]


@pytest.mark.parametrize(("line", "reason"), WRONG)
def test_a_wrong_command_is_found(line: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert reason in why_wrong(line, capsys)


def why_wrong(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return why a line is no command; empty if it is one, of which something may be left out."""
    words = [word for word in shlex.split(line.replace("<", "'<").replace(">", ">'"))[1:] if word != "…"]
    if words in (["--version"], ["--help"]):
        return ""
    for count in (2, 1):
        name = " ".join(words[:count])
        if name in COMMANDS:
            return why_refused(COMMANDS[name].load(), words[count:], capsys)
    if any(name.startswith(f"{' '.join(words)} ") for name in COMMANDS):
        return ""  # a group of commands
    return f"there is no command {' '.join(words[:2])}"


def why_refused(command: Any, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return why a command refuses its arguments; empty if it does not."""
    parser = command(None, None).get_parser("imagefilter")
    parser.allow_abbrev = False
    try:
        parser.parse_args(words)
    except SystemExit:
        error = capsys.readouterr().err
        if not _LEFT_OUT.search(error):
            return error
    return ""

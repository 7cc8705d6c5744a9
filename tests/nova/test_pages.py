"""The blocks of README.md and docs/*.md, run word for word, page by page; what they show is what is printed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.nova import machine as machine_
from tests.nova.cloud import NOVA
from tests.nova.machine import Machine
from tests.pages import Block, list_pages, read_blocks
from tests.paths import ROOT

#: Pages whose blocks another test runs.
ELSEWHERE = {"docs/first-week.md": "tests/nova/test_first_week.py"}

PAGES = [path.relative_to(ROOT).as_posix() for path in list_pages() if read_blocks(path)]

# They differ from run to run, and have one length.
_CHANGING = {
    "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "UUID",
    "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}([.][0-9]{6}[+]00:00)?": "TIME",
}
# A command, with its further lines, and what it prints.
_SESSION = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_REQUEST = re.compile("req-[0-9a-f-]{36}")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if NOVA < 34:
        pytest.skip("make demo runs Nova 34")
    if machine_.why_missing():
        pytest.skip(machine_.why_missing())
    machine = Machine(tmp_path_factory.mktemp("machine"))
    try:
        machine.start()
        yield machine
    finally:
        machine.end()


@pytest.mark.parametrize("page", PAGES)
def test_page(page: str, machine: Machine) -> None:
    if page in ELSEWHERE:
        pytest.skip(f"{ELSEWHERE[page]} runs its blocks")
    machine.open_page()
    printed = ""
    for block in read_blocks(ROOT / page):
        try:
            printed = run(block, machine, printed)
        except AssertionError as error:
            raise AssertionError(f"{block.place}: {error}") from error


def run(block: Block, machine: Machine, printed: str) -> str:
    """Run a block; return what it printed, to which the next one may belong."""
    if block.kind == "serves":
        machine.serve(block)
    elif block.kind == "columns":
        assert find_titles(block.text) == find_titles(printed)
    elif block.text.startswith("$ "):
        run_session(block, machine)
    elif block.kind in ("run", "status"):
        return machine.run(block.text, int(block.note or 0))
    return ""


def run_session(block: Block, machine: Machine) -> None:
    """Run each command behind a ``$``, and compare what it prints; ``…`` stands for any lines."""
    for command, expected in _SESSION.findall(block.text):
        printed = machine.run(_REQUEST.sub(lambda found: machine.newest_request(), command)).rstrip("\n") + "\n"
        assert matches(expected, printed), printed


def matches(expected: str, printed: str) -> bool:
    """Return whether a command printed what a page shows."""
    lines = map(re.escape, replace_changing(expected).splitlines(keepends=True))
    pattern = "".join(lines).replace(re.escape("…\n"), "(?:.*\n)*?")
    return re.fullmatch(pattern, replace_changing(printed)) is not None


SHOWN = [
    ("a\n", "a\n", True),
    ("a\n", "a\nb\n", False),
    ("a\nb\n", "a\n", False),
    ("a.c\n", "abc\n", False),
    ("a\n…\n", "a\nb\nc\n", True),
    ("a\n…\nc\n", "a\nb\nb\nc\n", True),
    ("a\n…\nc\n", "a\nb\nb\nd\n", False),
    ("a\n…\nc\n…\n", "b\nc\n", False),
    ("at 2026-11-26T23:47:44.413593+00:00 of\n", "at 2027-01-02T03:04:05.678901+00:00 of\n", True),
    ("at 2026-11-26T23:47:44.413593+00:00 of\n", "at noon of\n", False),
    ("req-6f98ed87-78ce-4a84-8852-d1c56a5ce800\n", "req-1e25d96b-8d28-45dd-a86c-79ba45eceaaa\n", True),
    ("req-6f98ed87-78ce-4a84-8852-d1c56a5ce800\n", "1e25d96b-8d28-45dd-a86c-79ba45eceaaa\n", False),
]


@pytest.mark.parametrize(("expected", "printed", "is_alike"), SHOWN)
def test_what_is_shown_is_compared(expected: str, printed: str, is_alike: bool) -> None:
    assert matches(expected, printed) == is_alike


def replace_changing(text: str) -> str:
    """Return a text with words for what differs from run to run."""
    for pattern, word in _CHANGING.items():
        text = re.sub(pattern, word, text)
    return text


def find_titles(table: str) -> list[str]:
    """Return the titles of the columns of a table."""
    return [title.strip() for title in table.splitlines()[1].split("|")]

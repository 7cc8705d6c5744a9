"""docs/troubleshooting.md has each 5xx and each warning and error of the log that the code contains."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.paths import DOCS, ROOT

PAGE = (DOCS / "troubleshooting.md").read_text()
MODULES = sorted((ROOT / "imagefilter").rglob("*.py"))

#: Methods of a logger whose lines are on the page. LOG.log is given its level as it runs.
LEVELS = {"warning", "error", "exception", "critical", "log"}
#: Lines that say nothing by themselves, and what the page has in their place.
MADE_ELSEWHERE = {
    "…": [
        "the checkpoint … can't be written: …",
        "the dead letters … can't be written: …",
        "the counts … can't be written: …",
    ],
    "…: …": ["…: it can't be read: …", "…: it can't be counted: …"],
}


def write_as_page(message: str) -> str:
    """Return a format string as the page has it."""
    text = re.sub(r"%(?:\.\d+)?[sadrf]", "…", message).replace("%%", "%")
    return text.replace("`", "'")


def find_text(node: ast.expr) -> str | None:
    """Return the text of a string or an f-string, None if it is none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return write_as_page(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
        return "".join(map(str, parts))
    return None


def find_calls(source: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield node


def find_log_lines(source: str) -> Iterator[str]:
    """Yield each message that a module logs at warning or above."""
    for call in find_calls(source):
        method = call.func
        if not isinstance(method, ast.Attribute) or method.attr not in LEVELS:
            continue
        if not isinstance(method.value, ast.Name) or method.value.id.lower() not in ("log", "logger"):
            continue
        text = find_text(call.args[method.attr == "log"])
        assert text is not None, f"line {call.lineno}: a message that is no text can't be found on a page"
        if text not in MADE_ELSEWHERE:
            yield text


def find_server_errors(source: str) -> Iterator[str]:
    """Yield the message of each fault or refusal with a status of 500 or more."""
    for call in find_calls(source):
        values = [*call.args, *[word.value for word in call.keywords]]
        statuses = [value.value for value in values if isinstance(value, ast.Constant) and type(value.value) is int]
        texts = [text for text in map(find_text, call.args) if text]
        if isinstance(call.func, ast.Name) and call.func.id in ("Fault", "Refusal") and max(statuses, default=0) >= 500:
            status = max(statuses)
            yield f"| {status} `{texts[0]}` |"


LOG_LINES = sorted({line for module in MODULES for line in find_log_lines(module.read_text())})
SERVER_ERRORS = sorted({line for module in MODULES for line in find_server_errors(module.read_text())})


def test_the_code_is_read() -> None:
    assert len(LOG_LINES) >= 25
    assert len(SERVER_ERRORS) >= 5


@pytest.mark.parametrize("line", LOG_LINES)
def test_the_page_has_each_line_of_the_log(line: str) -> None:
    assert f"| `{line}` |" in PAGE


@pytest.mark.parametrize("line", SERVER_ERRORS)
def test_the_page_has_each_server_error(line: str) -> None:
    assert line in PAGE


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('LOG.warning("%s: %d bytes", a, b)', ["…: … bytes"]),
        ('LOG.error("a" " b `c`")', ["a b 'c'"]),
        ('LOG.exception(f"x {y}")', ["x …"]),
        ('LOG.log(level, "z %.1f")', ["z …"]),
        ('LOG.info("not this")', []),
        ('warnings.warning("nor this")', []),
    ],
)
def test_finds_what_is_logged(source: str, lines: list[str]) -> None:
    assert list(find_log_lines(source)) == lines


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('Fault(503, "No.")', ["| 503 `No.` |"]),
        ('Refusal("No.", 503)', ["| 503 `No.` |"]),
        ('Refusal("No.", status=503)', ["| 503 `No.` |"]),
        ('Refusal("No.", 403)', []),
        ('Fault(413, f"{n} bytes")', []),
    ],
)
def test_finds_server_errors(source: str, lines: list[str]) -> None:
    assert list(find_server_errors(source)) == lines


def test_every_line_of_the_page_is_still_in_the_code() -> None:
    """All but the rows on starts, and on what others respond."""
    sections = PAGE.partition("## What the log says")[2].partition("## What prevents a start")[0]
    on_page = set(re.findall(r"^\| `([^`]+)` \|", sections, re.MULTILINE))
    made_elsewhere = {line for lines in MADE_ELSEWHERE.values() for line in lines}
    assert on_page == {*LOG_LINES, *made_elsewhere}

"""Every audit command says what it did not read, and its exit status does, too."""

from __future__ import annotations

import gzip
import json
import lzma
import os
from pathlib import Path
from typing import Any, Callable

import pytest

pytest.importorskip("cliff")
pytest.importorskip("duckdb")

from tests.cases import image
from tests.records import remove_configurations
from tests.unit.journal_fixtures import Writer

COMMANDS = ["list", "summary", "show", "replay", "report"]


@pytest.fixture
def audit(writer: Writer, tmp_path: Path, config: Path, run: Any) -> Callable[[str], Any]:
    """Run an audit command on the journal, which holds one request."""
    request = writer.post(image("good"))
    remove_configurations(writer.path)
    config.write_text("[imagefilter]\nmetadata_items = 128\n")
    more: dict[str, list[Any]] = {
        "show": [request],
        "replay": ["--config", config],
        "report": ["--html", tmp_path / "page.html"],
    }
    return lambda command: run("audit", command, "--journal", writer.path, *more.get(command, []))


@pytest.mark.parametrize("command", COMMANDS)
def test_all_was_read(command: str, audit: Any) -> None:
    result = audit(command)
    assert result.status == 0
    assert "left out" not in result.err


def compressed(content: bytes) -> bytes:
    return gzip.compress(content)


FILES: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("audit.jsonl_20261125", bytes, "its name is not one that is read"),
    ("audit.jsonl.bak", bytes, "its name is not one that is read"),
    ("audit.jsonl-2026-W48", bytes, "its name is not one that is read"),
    ("audit-2026-W48.jsonl", bytes, "its name is not one that is read"),
    ("audit-20261125.jsonl", bytes, "its name is not one that is read"),
    ("audit-20261125.jsonl.gz", compressed, "its name is not one that is read"),
    ("audit.jsonl.1.xz", lzma.compress, "gzip is the only compression"),
    ("audit.jsonl-20261125.zst", bytes, "gzip is the only compression"),
    ("audit.jsonl.1.gz", bytes, "it is no gzip file, or was cut"),
    ("audit.jsonl.2.gz", lambda content: compressed(content)[:60], "it is no gzip file, or was cut"),
    ("audit.jsonl.3.gz", lambda content: compressed(content * 500)[:-20], "it is no gzip file, or was cut"),
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("name", "change", "reason"), FILES, ids=[name for name, _, _ in FILES])
def test_a_file_that_is_not_read(
    command: str, name: str, change: Callable[[bytes], bytes], reason: str, writer: Writer, audit: Any
) -> None:
    other = writer.path.with_name(name)
    other.write_bytes(change(writer.path.read_bytes().replace(b'"id":"', b'"id":"f')))
    result = audit(command)
    assert result.status == 1
    assert f"warning: {other}: not read: {reason}" in result.err
    assert "left out: files: 1, lines: 0\n" in result.err


def test_what_is_no_file(writer: Writer, audit: Any) -> None:
    writer.path.with_name("audit.jsonl.d").mkdir()
    os.mkfifo(writer.path.with_name("audit.jsonl.9"))
    writer.path.with_name("audit.jsonl.8").symlink_to("nowhere")
    result = audit("list")
    assert result.status == 1
    assert result.err.count("not read: it is not a regular file") == 2
    assert "not read: No such file or directory" in result.err


@pytest.mark.parametrize(
    "name", ["audit.jsonl.1.gz", "audit-gateway.jsonl", "auditor.jsonl", "other.jsonl-20261125", "audit.jsonl.new"]
)
def test_what_does_not_count(name: str, writer: Writer, audit: Any) -> None:
    """A file that is being compressed beside its original, another journal, an empty file."""
    writer.path.with_name("audit.jsonl.1").write_bytes(writer.path.read_bytes())
    content = b""
    if name == "audit.jsonl.1.gz":
        content = compressed(writer.path.read_bytes())[:30]
    writer.path.with_name(name).write_bytes(content)
    result = audit("list")
    assert (result.status, result.err) == (0, "")


CONTENT = {"typeURI": "x", "name": "imagefilter", "content": {"verdict": "allow"}}
BAD_LINES: list[tuple[Any, str]] = [
    ("{", "not a JSON object"),
    ("[]", "not a JSON object"),
    ("7", "not a JSON object"),
    ("\0" * 300, "not a JSON object"),
    ("x" * (1 << 20) + "y", "longer than 1048576 bytes"),
    ({}, "not a record of imagefilter"),
    ({"id": "x", "eventType": "control", "eventTime": "2026"}, "not a record of imagefilter"),
    ({"id": "x", "eventType": "control", "attachments": [CONTENT]}, "not a record: eventTime is not a text"),
    ({"id": "x", "eventTime": "2026", "attachments": [CONTENT]}, "not a record: eventType is not a text"),
    (
        {"id": "x", "eventType": "control", "eventTime": "2026", "attachments": [{**CONTENT, "content": {}}]},
        "not a record: verdict is not a text",
    ),
    (
        {"id": "x", "eventType": "activity", "eventTime": "2026", "attachments": [CONTENT]},
        "not a record: verdict_id is not a text",
    ),
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("bad", "reason"), BAD_LINES, ids=[reason + str(n) for n, (_, reason) in enumerate(BAD_LINES)])
def test_a_line_that_is_no_record(command: str, bad: Any, reason: str, writer: Writer, audit: Any) -> None:
    with writer.path.open("a") as file:
        if not isinstance(bad, str):
            bad = json.dumps(bad)
        file.write(f"{bad}\n")
    result = audit(command)
    assert result.status == 1
    assert f"warning: {writer.path}:3: {reason}" in result.err
    assert "left out: files: 0, lines: 1\n" in result.err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_writer_at_work_counts_for_nothing(command: str, writer: Writer, audit: Any) -> None:
    with writer.path.open("a") as file:
        file.write('{"id": "being wri')
    result = audit(command)
    assert result.status == 0
    assert "left out" not in result.err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "change",
    [
        {"metadata": "none"},
        {"metadata": [5]},
        {"metadata_keys": {"a": 1}},
        {"image_name_type": "a thing"},
        {"metadata_type": 7},
        {"truncated": 5},
        {"truncated": [{"field": 1}]},
        {"path": None, "method": None},
        {"action": [], "image_name": {}},
        {"rotation": "many", "limit": "x"},
    ],
)
def test_fields_of_other_types_end_no_command(command: str, change: dict[str, Any], writer: Writer, audit: Any) -> None:
    lines = [json.loads(line) for line in writer.path.read_text().splitlines()]
    lines[0]["attachments"][0]["content"].update(change)
    lines[0]["initiator"]["roles"] = "admin"
    writer.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = audit(command)
    assert result.status in (0, 1)
    assert "Traceback" not in result.err

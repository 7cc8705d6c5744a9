"""``imagefilter audit list``: the requests of journals, one row each."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, Callable

import pytest

pytest.importorskip("cliff")
pytest.importorskip("duckdb")

from imagefilter.cli._filters import parse_time
from tests.cases import PROJECT, SERVER, image
from tests.records import remove_configurations
from tests.unit.cli.conftest import OTHER_PROJECT
from tests.unit.journal_fixtures import Accepting, Writer

Rows = list[dict[str, Any]]


@pytest.fixture
def list_rows(run: Any) -> Callable[..., Rows]:
    """List requests as JSON."""

    def list_rows(*args: object) -> Rows:
        listed = run("audit", "list", "-f", "json", *args)
        assert listed.status == 0, listed.err
        rows: Rows = listed.rows
        return rows

    return list_rows


def test_lists_verdicts_and_outcomes(writer: Writer, ids: dict[str, str], list_rows: Any) -> None:
    rows = list_rows("--journal", writer.path, "--long")
    assert [row["Request ID"] for row in rows] == list(ids.values())
    columns = ("Verdict", "Rule", "Action", "Image Name", "Outcome")
    assert [tuple(row[column] for column in columns) for row in rows] == [
        ("allow", None, "createImage", "good", "202"),
        ("deny", "name-pattern", "createImage", "N0", "refused"),
        ("would_deny", "metadata-reserved", "createImage", "warned", "202"),
        ("allow", None, "createBackup", "weekly", "202"),
        ("allow", None, "shelve", None, "202"),
        ("deny", "body", None, None, "refused"),
    ]
    assert {(row["Project ID"], row["Project"], row["User"]) for row in rows} == {
        (PROJECT, "6f70-name", "alice"),
        (OTHER_PROJECT, "0123-name", "bob"),
    }


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--project", OTHER_PROJECT], ["backup"]),
        (["--project", "0123-name"], ["backup"]),
        (["--user", "bob"], ["backup"]),
        (["--user", "bob-id"], ["backup"]),
        (["--server", SERVER, "--user", "bob"], ["backup"]),
        (["--server", "x"], []),
        (["--verdict", "deny"], ["refused", "unreadable"]),
        (["--verdict", "would_deny"], ["warned"]),
        (["--rule", "name-pattern"], ["refused"]),
        (["--action", "shelve"], ["shelve"]),
        (["--since", "1h", "--action", "shelve"], ["shelve"]),
        (["--until", "1h"], []),
        (["--since", "2100-01-01"], []),
        (["--until", "2100-01-01T00:00:00+02:00", "--action", "shelve"], ["shelve"]),
        (["--until", "2100-01-01 00:00 Europe/Paris", "--action", "shelve"], ["shelve"]),
        (["--image", "good"], ["good"]),
        (["--image", "goo"], []),
        (["--image", "*oo*"], ["good"]),
        (["--image", "w*"], ["warned", "backup"]),
        (["--image", "*"], ["good", "refused", "warned", "backup"]),
        (["--image", "%"], []),
        (["--image", "g__d"], []),
        (["--image", "w*", "--user", "bob"], ["backup"]),
        (["--image-id", "no-such-image"], []),
        (["--limit", "1"], ["unreadable"]),
        (["--limit", "1", "--user", "bob"], ["backup"]),
        (["--limit", "0", "--verdict", "allow"], ["good", "backup", "shelve"]),
        (["--project", "' OR 1=1 --"], []),
    ],
)
def test_filters(writer: Writer, ids: dict[str, str], args: list[str], expected: list[str], list_rows: Any) -> None:
    rows = list_rows("--journal", writer.path, *args)
    assert [row["Request ID"] for row in rows] == [ids[name] for name in expected]


@pytest.mark.parametrize("name", ["a b", "50%_off!", "x" * 300, "ü*", "[a-z]", "new\nline", "a\\b"])
def test_finds_each_name_by_itself(name: str, writer: Writer, list_rows: Any) -> None:
    """By SQL and by Python alike: the newest are looked for in the records."""
    writer = Writer(writer.path.with_name("other.jsonl"), mode="off")
    request = writer.post(image(name))
    writer.post(image("other"))
    for limit in ("0", "5"):
        rows = list_rows("--journal", writer.path, "--image", name[:255], "--limit", limit)
        assert [row["Request ID"] for row in rows] == [request]


def test_finds_an_image_by_its_id(tmp_path: Path, list_rows: Any) -> None:
    image_id = "155d900f-4e14-4e4c-a73d-069cbf4541e6"
    location = f"http://glance/images/{image_id}"
    writer = Writer(tmp_path / "audit.jsonl", compute=Accepting(Location=location))
    request = writer.post(image("mine"))
    other = Writer(writer.path)
    for _ in range(3):
        other.post(image("other"))
    rows = list_rows("--journal", writer.path, "--image-id", image_id, "--limit", "1")
    assert [row["Request ID"] for row in rows] == [request]


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-11-24 13:30 Mars/Base",
        "2026-11-24T13:30+01:00 Europe/Paris",
        "5",
        "24",
        "2026-13-01",
        "99999999999h",
        "999999w",
        "",
    ],
)
def test_refuses_what_is_not_a_time(writer: Writer, text: str, run: Any) -> None:
    listed = run("audit", "list", "--journal", writer.path, "--since", text)
    assert listed.status == 2
    assert "is not a time: try 24h" in listed.err


def test_times_have_the_form_of_records() -> None:
    assert parse_time("2026-07-24 13:30 Europe/Paris") == "2026-07-24T11:30:00.000000+00:00"
    assert parse_time("2026-11-24 Europe/Paris") == "2026-11-23T23:00:00.000000+00:00"
    assert parse_time("2026-11-24") == "2026-11-24T00:00:00.000000+00:00"
    assert parse_time("2026-11-24T13:30:00+02:00") == "2026-11-24T11:30:00.000000+00:00"
    assert parse_time("2026-11-24T13:30:00Z") == "2026-11-24T13:30:00.000000+00:00"


def test_reports_that_there_are_more(writer: Writer, ids: dict[str, str], run: Any) -> None:
    listed = run("audit", "list", "--journal", writer.path, "--limit", 2)
    assert "listed the newest 2; there are more (--limit 0 lists all)" in listed.err
    assert "there are more" not in run("audit", "list", "--journal", writer.path, "--limit", len(ids)).err


def test_prints_csv(writer: Writer, ids: dict[str, str], run: Any) -> None:
    out = run("audit", "list", "-f", "csv", "--journal", writer.path).out
    assert [row["Request ID"] for row in csv.DictReader(io.StringIO(out))] == list(ids.values())


def test_prints_other_formats(writer: Writer, ids: dict[str, str], run: Any) -> None:
    assert "Verdict: would_deny" in run("audit", "list", "-f", "yaml", "--journal", writer.path).out
    assert "| Request ID " in run("audit", "list", "--journal", writer.path).out


def test_reads_rotated_and_compressed_files(writer: Writer, list_rows: Any) -> None:
    ids = []
    for number, suffix in enumerate(("-20261120.gz", ".2.gz", "-20261122-1795", ".1")):
        ids += [writer.post(image("a" * (number + 1))), writer.post(image("N0"))]
        writer.rotate(suffix)
    ids += [writer.post(image("last")), writer.post(image("N0"))]
    assert [row["Request ID"] for row in list_rows("--journal", writer.path)] == ids
    alone = list_rows("--journal", writer.path.with_name("audit.jsonl.2.gz"))
    assert [row["Request ID"] for row in alone] == ids[2:4]


def test_joins_a_verdict_and_its_outcome_in_two_files(writer: Writer, list_rows: Any) -> None:
    writer.post(image("good"))
    remove_configurations(writer.path)
    verdict, outcome = writer.path.read_text().splitlines(keepends=True)
    writer.path.with_name("audit.jsonl.1").write_text(verdict)
    writer.path.write_text(outcome)
    assert [row["Outcome"] for row in list_rows("--journal", writer.path)] == ["202"]


def test_counts_a_copy_once(writer: Writer, ids: dict[str, str], list_rows: Any) -> None:
    copy = writer.path.with_name("copy.jsonl")
    copy.write_bytes(writer.path.read_bytes())
    assert len(list_rows("--journal", writer.path, "--journal", copy)) == len(ids)


def test_merges_the_journals_of_several_hosts(tmp_path: Path, list_rows: Any) -> None:
    one = Writer(tmp_path / "one.jsonl")
    two = Writer(tmp_path / "two.jsonl")
    ids = []
    for number in range(3):
        ids += [one.post(image(f"n{number}")), two.post(image(f"n{number}"))]
    rows = list_rows("--journal", one.path, "--journal", two.path)
    assert [row["Request ID"] for row in rows] == ids


TORN = [b'{"typeURI": "http://sch', b"\x00" * 300, b"\xff\xfe", b"7", b"[]", b'{"id": "x"}']


def test_reports_torn_lines_and_leaves_them_out(writer: Writer, run: Any) -> None:
    first = writer.post(image("good"))
    remove_configurations(writer.path)
    with writer.path.open("ab") as file:
        file.write(b"\n".join([*TORN, b'{"id": "the last']))
    last = writer.post(image("good"))
    listed = run("audit", "list", "-f", "json", "--journal", writer.path)
    assert [row["Request ID"] for row in listed.rows] == [first, last]
    assert listed.status == 1
    assert f"warning: {writer.path}:3: not a JSON object" in listed.err
    counted = f"left out: files: 0, lines: {len(TORN) + 1}\n"
    assert listed.err.endswith(counted)
    assert run("audit", "summary", "--journal", writer.path).err.endswith(counted)
    with writer.path.open("ab") as file:
        file.write(b'{"id": "being wri')
    shown = run("audit", "show", "--journal", writer.path, first)
    assert (shown.status, shown.err.endswith(counted)) == (1, True), "a writer at work counts for nothing"


@pytest.mark.parametrize("command", [["list"], ["summary"], ["show", "x"], ["report", "--html", "x"]])
def test_reports_a_missing_journal(command: list[str], tmp_path: Path, run: Any) -> None:
    path = tmp_path / "none.jsonl"
    listed = run("audit", *command, "--journal", path)
    assert (listed.status, listed.err) == (2, f"error: journal {path} does not exist\n")


def test_reports_a_directory_as_a_journal(tmp_path: Path, run: Any) -> None:
    folder = tmp_path / "folder.jsonl"
    folder.mkdir()
    assert run("audit", "list", "--journal", folder).status == 2


def test_reports_a_broken_gzip_file(tmp_path: Path, run: Any) -> None:
    broken = tmp_path / "audit.jsonl.1.gz"
    broken.write_bytes(b"no gzip at all")
    listed = run("audit", "list", "--journal", broken)
    assert listed.status == 2
    assert str(broken) in listed.err


def test_reads_the_journal_that_is_configured(
    writer: Writer, ids: dict[str, str], config: Path, list_rows: Any
) -> None:
    config.write_text(f"[imagefilter]\naudit_journal = {writer.path}\n")
    assert len(list_rows("--config", config)) == len(ids)


def test_reports_that_no_journal_is_configured(config: Path, run: Any) -> None:
    config.write_text("[imagefilter]\n")
    listed = run("audit", "list", "--config", config)
    message = f"error: audit_journal is not set in {config}; name a journal (--journal FILE)\n"
    assert (listed.status, listed.err) == (2, message)


def test_reports_a_missing_config_file(tmp_path: Path, run: Any) -> None:
    listed = run("audit", "list", "--config", tmp_path / "none")
    assert (listed.status, f"config file {tmp_path / 'none'} does not exist" in listed.err) == (2, True)


def test_lists_nothing_of_an_empty_journal(tmp_path: Path, list_rows: Any) -> None:
    path = tmp_path / "audit.jsonl"
    path.touch()
    assert list_rows("--journal", path) == []


def test_texts_of_clients_do_not_control_the_terminal(writer: Writer, run: Any) -> None:
    request = writer.post(image("\x1b[2J\x07\u202egood\n"), HTTP_USER_AGENT="\x1b]0;x\x07")
    for command in (["list", "--long"], ["show", request], ["list", "-f", "csv"], ["list", "-f", "value"]):
        out = run("audit", *command, "--journal", writer.path).out
        assert out.replace("\n", "").replace("\r", "").isprintable(), command
        assert "\\x1b[2J\\x07\\u202egood" in out.replace("\\\\", "\\")  # in CSV a backslash is escaped itself

"""``imagefilter audit export``: each format, from where the last export ended, and through a kill at any moment."""

from __future__ import annotations

import contextlib
import csv
import datetime
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

pytest.importorskip("cliff")
pytest.importorskip("duckdb")

import duckdb

from imagefilter.export import loop
from imagefilter.journal.writer import append
from tests.cases import image
from tests.records import parse_configurations
from tests.unit.journal_fixtures import Run, Writer, shift

FORMATS = ("cadf", "csv", "ocsf", "parquet")
FILES = ("cadf", "csv", "ocsf")

Export = Callable[..., Run]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def export(run: Any, writer: Writer, output: Path) -> Export:
    """Run an export to the output."""

    def export(format_name: str, *options: object) -> Run:
        result: Run = run(
            "audit", "export", "--journal", writer.path, "--format", format_name, "--output", output, *options
        )
        return result

    return export


@pytest.fixture
def continued(export: Export, tmp_path: Path) -> Callable[[str], Run]:
    """Run an export with a checkpoint."""
    return lambda format_name: export(format_name, "--checkpoint", tmp_path / "checkpoint")


def read_ids(format_name: str, output: Path) -> list[str]:
    """Return the ids of the exported records, those of requests only."""
    if format_name == "parquet":
        return [row[0] for row in query(output, "SELECT id FROM export ORDER BY time")]
    text = output.read_text()
    if format_name == "csv":
        return [row["id"] for row in csv.DictReader(text.splitlines())]
    documents = [json.loads(line) for line in text.splitlines()]
    if format_name == "ocsf":
        return [document["metadata"]["uid"] for document in documents]
    return [document["id"] for document in documents if document["action"] != "configure"]


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    files = str(folder / "**" / "*.parquet")
    connection.execute(f"CREATE VIEW export AS SELECT * FROM read_parquet('{files}', hive_partitioning = true)")
    return connection.execute(sql).fetchall()


def recorded_ids(writer: Writer) -> list[str]:
    return [record["id"] for record in writer.records()]


# --- the formats


@pytest.mark.parametrize("format_name", FORMATS)
def test_exports_each_record_once(format_name: str, export: Export, writer: Writer, ids: Any, output: Path) -> None:
    result = export(format_name)
    assert result.status == 0
    assert read_ids(format_name, output) == recorded_ids(writer)
    assert result.err.startswith(f"exported to {output}: ")


def test_cadf_is_the_journal(export: Export, writer: Writer, ids: Any, output: Path) -> None:
    export("cadf")
    assert output.read_bytes() == writer.path.read_bytes()


@pytest.mark.parametrize("format_name", FORMATS)
def test_others_than_its_group_can_not_read_it(format_name: str, export: Export, ids: Any, output: Path) -> None:
    """It has names and ids of users. A group may read it, as a shipper's of the journal."""
    export(format_name)
    for path in [output, *output.glob("**/*.parquet")]:
        assert path.stat().st_mode & 0o027 == 0


def test_csv_repeats_the_record(export: Export, writer: Writer, output: Path) -> None:
    writer.post(image("=1+1", {"a": "b", "c": "d"}))
    export("csv")
    [row] = csv.DictReader(output.read_text().splitlines())
    assert (row["record"], row["verdict"], row["rule"]) == ("verdict", "deny", "name-pattern")
    assert row["image_name"] == "'=1+1", "no spreadsheet takes it for a formula"
    assert row["status"] == "403"
    assert json.loads(row["metadata_keys"]) == ["a", "c"]
    assert row["time"] == writer.records()[0]["eventTime"]


@pytest.mark.parametrize("name", ["line\nbreak", 'quo"te', "comma,", "\x1b[31m", "é€", "@SUM(1)", "\t=1"])
def test_csv_has_a_line_for_each_record(name: str, export: Export, writer: Writer, output: Path) -> None:
    writer.post(image(name))
    export("csv")
    assert len(output.read_text().splitlines()) == 2
    assert "\x1b" not in output.read_text()


def test_parquet_has_types_and_the_record(export: Export, writer: Writer, ids: Any, output: Path) -> None:
    export("parquet")
    rows = query(output, "SELECT id, cadf FROM export ORDER BY time")
    assert [json.loads(cadf) for _, cadf in rows] == writer.records()
    types = dict(query(output, "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM export)"))
    assert types["time"] == "TIMESTAMP WITH TIME ZONE"
    assert types["status"] == "BIGINT"
    assert types["roles"] == "VARCHAR[]"
    assert types["day"] == "DATE"


def test_a_verdict_and_its_outcome_have_one_id(export: Export, writer: Writer, ids: Any, output: Path) -> None:
    export("parquet")
    rows = query(
        output,
        "SELECT v.request_id, v.verdict, o.status FROM export v JOIN export o USING (verdict_id)"
        " WHERE v.record = 'verdict' AND o.record = 'outcome'",
    )
    assert {row[0] for row in rows} == {ids[name] for name in ("good", "warned", "backup", "shelve")}
    assert {row[2] for row in rows} == {202}


def test_parquet_has_a_folder_for_each_day(export: Export, writer: Writer, output: Path) -> None:
    writer.post(image("old"))
    shift(writer.path, days=3)
    writer.post(image("new"))
    export("parquet")
    days = sorted({record["eventTime"][:10] for record in writer.records()})
    assert len(days) == 2
    assert sorted(path.name for path in output.iterdir()) == [f"day={day}" for day in days]
    counted = query(output, "SELECT day, count(*) FROM export GROUP BY 1 ORDER BY 1")
    assert counted == [(datetime.date.fromisoformat(day), 2) for day in days]


def test_the_day_is_that_of_utc(export: Export, writer: Writer, output: Path) -> None:
    writer.post(image("good"))
    lines = []
    for record in writer.records():
        record["eventTime"] = "2026-11-26T00:30:00.000000+02:00"
        lines.append(json.dumps(record) + "\n")
    writer.path.write_text("".join(lines))
    export("parquet")
    assert [path.name for path in output.iterdir()] == ["day=2026-11-25"]


def test_writes_to_standard_output(run: Any, writer: Writer, ids: Any) -> None:
    result = run("audit", "export", "--journal", writer.path, "--format", "cadf", "--output", "-")
    assert (result.status, result.err) == (0, "")
    assert result.out == writer.path.read_text()


@pytest.mark.parametrize("format_name", FORMATS)
def test_an_empty_journal_is_an_empty_export(format_name: str, export: Export, writer: Writer, output: Path) -> None:
    writer.path.write_text("")
    assert export(format_name).status == 0
    assert output.exists()
    if format_name == "csv":
        assert output.read_text().startswith("id,record,")


@pytest.mark.parametrize("format_name", FORMATS)
def test_writes_in_batches(
    format_name: str, export: Export, writer: Writer, ids: Any, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_BATCH_BYTES", 2000)
    export(format_name)
    assert read_ids(format_name, output) == recorded_ids(writer)
    if format_name == "parquet":
        assert len(list(output.glob("**/*.parquet"))) > 2


# --- filters


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--user", "bob"], ["backup", "backup"]),
        (["--verdict", "deny"], ["refused", "unreadable"]),
        (["--verdict", "would_deny"], ["warned", "warned"]),
        (["--action", "shelve"], ["shelve", "shelve"]),
        (["--image", "g*"], ["good", "good"]),
        (["--since", "1h", "--rule", "name-pattern"], ["refused"]),
        (["--until", "1h"], []),
    ],
)
def test_filters_choose_verdicts_and_their_outcomes(
    options: list[str], names: list[str], export: Export, writer: Writer, ids: dict[str, str], output: Path
) -> None:
    assert export("cadf", *options).status == 0
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert [record["initiator"]["request_id"] for record in records] == [ids[name] for name in names]


def test_an_outcome_is_chosen_in_a_later_export(export: Export, writer: Writer, output: Path, tmp_path: Path) -> None:
    """Its verdict was, in an earlier one."""
    writer.post(image("good"))
    *before, outcome = writer.path.read_bytes().splitlines(keepends=True)
    options = ("--image", "good", "--checkpoint", tmp_path / "checkpoint")
    writer.path.write_bytes(b"".join(before))
    export("cadf", *options)
    assert len(read_ids("cadf", output)) == 1
    append(str(writer.path), outcome.rstrip())
    export("cadf", *options)
    assert read_ids("cadf", output) == recorded_ids(writer)
    assert json.loads((tmp_path / "checkpoint").read_text())["waiting"] == []


# --- again and again


@pytest.mark.parametrize("format_name", FORMATS)
def test_goes_on_where_the_last_one_ended(
    format_name: str, continued: Any, writer: Writer, output: Path, tmp_path: Path
) -> None:
    """Through rotation by renaming, by compressing, and both at once."""
    expected = []
    for suffix in (None, "-20261124", "-20261125.gz", None):
        writer.post(image("good"))
        expected += recorded_ids(writer)
        if suffix:
            writer.rotate(suffix)
            writer.post(image("next"))
            expected += recorded_ids(writer)
        assert continued(format_name).status == 0
        assert sorted(read_ids(format_name, output)) == sorted(set(expected))
    before = sorted(map(str, output.glob("**/*")))
    assert continued(format_name).err == f"exported to {output}: 0 records\n"
    assert sorted(map(str, output.glob("**/*"))) == before


def test_csv_has_its_names_once(continued: Any, writer: Writer, output: Path) -> None:
    for _ in range(3):
        writer.post(image("good"))
        continued("csv")
    assert output.read_text().count("verdict_id,") == 1


@pytest.mark.parametrize("format_name", FILES)
def test_an_output_may_be_rotated_away(format_name: str, continued: Any, writer: Writer, output: Path) -> None:
    writer.post(image("good"))
    continued(format_name)
    taken = output.rename(output.with_name("taken"))
    writer.post(image("next"))
    assert continued(format_name).status == 0
    assert read_ids(format_name, taken) + read_ids(format_name, output) == recorded_ids(writer)


def test_an_output_may_be_truncated(continued: Any, writer: Writer, output: Path) -> None:
    writer.post(image("good"))
    continued("cadf")
    os.truncate(output, 0)
    writer.post(image("next"))
    assert continued("cadf").status == 0
    assert read_ids("cadf", output) == recorded_ids(writer)[2:]


def test_several_hosts_share_a_folder(run: Any, tmp_path: Path, output: Path) -> None:
    written = []
    for host in ("a", "b"):
        writer = Writer(tmp_path / f"{host}.jsonl")
        for _ in range(2):
            writer.post(image("good"))
            words = ("--journal", writer.path, "--checkpoint", tmp_path / f"{host}.checkpoint")
            assert run("audit", "export", "--format", "parquet", "--output", output, *words).status == 0
        written += recorded_ids(writer)
    assert sorted(read_ids("parquet", output)) == sorted(written)


def test_several_journals_are_one_export(run: Any, tmp_path: Path, output: Path) -> None:
    written: list[str] = []
    words: list[object] = []
    for host in ("a", "b"):
        writer = Writer(tmp_path / f"{host}.jsonl")
        writer.post(image("good"))
        written += recorded_ids(writer)
        words += ["--journal", writer.path]
    assert run("audit", "export", "--format", "csv", "--output", output, *words).status == 0
    assert sorted(read_ids("csv", output)) == sorted(written)


def test_an_unfinished_line_is_left_for_the_next_export(continued: Any, writer: Writer, output: Path) -> None:
    writer.post(image("good"))
    content = writer.path.read_bytes()
    writer.path.write_bytes(content[:-20])
    result = continued("cadf")
    assert result.status == 0
    writer.path.write_bytes(content)
    continued("cadf")
    assert output.read_bytes() == content


def test_a_torn_line_is_counted_once(continued: Any, writer: Writer, output: Path) -> None:
    writer.post(image("good"))
    with writer.path.open("ab") as file:
        file.write(b'{"id": "torn')
    writer.post(image("next"))
    result = continued("cadf")
    assert result.status == 1
    assert "left out: files: 0, lines: 1\n" in result.err
    assert continued("cadf").status == 0
    assert len(read_ids("cadf", output)) == 4


@pytest.mark.parametrize("format_name", FORMATS)
def test_what_can_not_be_read_is_left_out_and_said(
    format_name: str, export: Export, writer: Writer, output: Path
) -> None:
    writer.post(image("old"))
    rotated = writer.rotate("-20261124.gz")
    rotated.write_bytes(rotated.read_bytes()[:-30])
    writer.path.with_name("audit.jsonl-20261123.xz").write_bytes(b"x")
    writer.post(image("good"))
    result = export(format_name)
    assert result.status == 1
    assert f"warning: {rotated}: the rest of the file can't be read: it is no gzip file, or was cut" in result.err
    assert "left out: files: 1, lines: 1\n" in result.err
    assert set(recorded_ids(writer)) <= set(read_ids(format_name, output))


@pytest.mark.parametrize("format_name", FORMATS)
def test_waits_for_nobody_but_one_export_at_a_time(
    format_name: str, continued: Any, writer: Writer, tmp_path: Path
) -> None:
    from imagefilter.export.checkpoint import Checkpoint

    writer.post(image("good"))
    with contextlib.closing(Checkpoint(str(tmp_path / "checkpoint"))):
        result = continued(format_name)
    assert result.status == 2
    assert result.err == f"error: another export uses the checkpoint {tmp_path / 'checkpoint'}\n"


# --- killed at any moment

# DuckDB does not survive a fork, so children come from a process that has not used it.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["imagefilter.cli.audit_export"])
CALLS = ("fsync", "rename", "replace", "mkdir", "unlink", "ftruncate")


def run_killed(words: list[str], number: int) -> int | None:
    """Run an export in a process that dies before its n-th call of the system; return its exit status."""
    process = SERVER.Process(target=_die_at, args=(words, number))
    process.start()
    process.join()
    return process.exitcode


def _die_at(words: list[str], number: int) -> None:
    from imagefilter.cli.app import main

    made = 0

    def wrap(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal made
            made += 1
            if made == number:
                os._exit(9)
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, wrap(getattr(os, name)))
    loop._BATCH_BYTES = 8000
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os._exit(main(words))


@pytest.mark.slow
@pytest.mark.parametrize("format_name", FORMATS)
def test_a_killed_export_loses_nothing_and_repeats_nothing(
    format_name: str, writer: Writer, ids: Any, tmp_path: Path, run: Any
) -> None:
    """Killed before each of its calls that change a disk, then run again."""
    expected = recorded_ids(writer)
    kills = 0
    for number in range(1, 200):
        folder = tmp_path / str(number)
        folder.mkdir()
        words = ["audit", "export", "--journal", str(writer.path), "--format", format_name]
        words += ["--output", str(folder / "output"), "--checkpoint", str(folder / "checkpoint")]
        status = run_killed(words, number)
        if status == 0:
            break
        assert status == 9
        kills += 1
        again = run(*words)
        assert (again.status, read_ids(format_name, folder / "output")) == (0, expected), f"killed at call {number}"
        assert not list(folder.glob("**/*.unfinished"))
    assert kills >= 10


def test_a_batch_that_is_written_again_leaves_nothing_of_the_first_time(
    continued: Any, writer: Writer, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for a day either that is no longer in it."""
    from imagefilter.export.checkpoint import Checkpoint

    writer.post(image("old"))
    shift(writer.path, days=3)
    writer.post(image("new"))
    with monkeypatch.context() as patched:
        real = Checkpoint.write

        def write(self: Checkpoint, state: Any) -> None:
            if state.batches:
                raise OSError(28, "No space left on device")
            real(self, state)

        patched.setattr(Checkpoint, "write", write)
        assert continued("parquet").status == 2
    assert len(list(output.iterdir())) == 2
    monkeypatch.setattr(loop, "_BATCH_BYTES", 1)
    assert continued("parquet").status == 0
    assert read_ids("parquet", output) == recorded_ids(writer)


@pytest.mark.slow
@pytest.mark.parametrize("format_name", FILES)
def test_a_killed_export_without_a_checkpoint_leaves_no_part_of_a_file(
    format_name: str, writer: Writer, ids: Any, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    words = ["audit", "export", "--journal", str(writer.path), "--format", format_name, "--output", str(output)]
    for number in range(1, 3):
        assert run_killed(words, number) == 9
        assert not output.exists()


# --- what can't be written


@pytest.mark.parametrize("format_name", FORMATS)
def test_does_not_replace_what_is_there(format_name: str, export: Export, ids: Any, output: Path) -> None:
    if format_name == "parquet":
        output.mkdir()
        output.joinpath("x").write_text("old")
    else:
        output.write_text("old")
    result = export(format_name)
    assert result.status == 2
    assert result.err.startswith(f"error: the output {output} can't be written: it ")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("format_name", FILES)
def test_continues_no_file_of_somebody_else(format_name: str, continued: Any, ids: Any, output: Path) -> None:
    output.write_text("old")
    result = continued(format_name)
    assert result.status == 2
    assert "the checkpoint does not know it" in result.err
    assert output.read_text() == "old"


def test_a_checkpoint_belongs_to_one_output(continued: Any, export: Export, ids: Any, tmp_path: Path) -> None:
    """Another output would miss what the first one has."""
    continued("cadf")
    result = continued("ocsf")
    assert result.status == 2
    assert "is of an export to" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"version": 2}', '{"version": 1, "positions": 3}'])
def test_a_damaged_checkpoint_is_an_error(content: str, continued: Any, ids: Any, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text(content)
    result = continued("cadf")
    assert result.status == 2
    assert f"{tmp_path / 'checkpoint'} is not a checkpoint of an export" in result.err
    assert (tmp_path / "checkpoint").read_text() == content


@contextlib.contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        yield


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_full_disk_is_an_error_in_one_line(
    format_name: str, export: Export, ids: Any, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with full_disk(monkeypatch):
        result = export(format_name)
    assert result.status == 2
    assert result.err == f"error: the output {output} can't be written: No space left on device\n"
    assert not list(tmp_path.glob(".imagefilter-*"))
    assert not list(output.glob("**/*.parquet"))


def test_a_reader_that_goes_away_is_one_line(writer: Writer) -> None:
    for _ in range(50):
        writer.post(image("good"))
    words = ["audit", "export", "--journal", str(writer.path), "--format", "ocsf", "--output", "-"]
    command = [sys.executable, "-W", "ignore", "-m", "imagefilter.cli.app", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == "error: the output - can't be written: Broken pipe\n"
    assert process.wait() == 2


def test_a_configuration_is_in_cadf_alone(export: Export, writer: Writer, ids: Any, output: Path) -> None:
    export("cadf")
    lines = output.read_text().splitlines()
    assert len(parse_configurations(lines)) == 1
    assert len(lines) == len(recorded_ids(writer)) + 1

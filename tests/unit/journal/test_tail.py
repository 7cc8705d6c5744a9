"""The newest requests: the same however much of the journals is read, and no more is read than they need."""

from __future__ import annotations

import io
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("duckdb")

from imagefilter.journal import tail
from imagefilter.journal.files import Files
from imagefilter.journal.tail import Newest, Query, read_newest
from tests.cases import image
from tests.unit.journal_fixtures import Writer, shift


def find(journals: list[Path], limit: int, denied: bool = False, since: str = "") -> Newest:
    """Return the newest requests, or the newest refused ones, as pairs of id and outcome."""
    where = "time >= $since"
    if denied:
        where += " AND verdict = 'deny'"

    def matches(record: dict[str, Any]) -> bool:
        content = record["attachments"][0]["content"]
        is_asked_for = content.get("verdict") == "deny" or not denied
        return record["eventType"] == "control" and is_asked_for and record["eventTime"] >= since

    query = Query(
        select=["id", "outcome"],
        columns=["verdict"],
        where=where,
        values={"since": since},
        matches=matches,
        since=since,
        limit=limit,
    )
    return read_newest([[file.path for file in Files(str(path)).all()] for path in journals], query)


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path / "audit.jsonl", name_pattern="[a-z]+")


@pytest.fixture
def read_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the bytes that DuckDB reads for each query."""
    sizes: list[int] = []
    history = tail.History

    def measured(paths: list[str]) -> Any:
        sizes.append(sum(map(os.path.getsize, paths)))
        return history(paths)

    monkeypatch.setattr(tail, "History", measured)
    return sizes


@pytest.fixture(params=range(4))
def journals(request: pytest.FixtureRequest, tmp_path: Path) -> list[Path]:
    """Write the journals of two hosts, with files of all sizes."""
    chosen = random.Random(request.param)
    writers = [Writer(tmp_path / f"{host}.jsonl", name_pattern="[a-z]+") for host in "ab"]
    for number in range(60):
        writer = chosen.choice(writers)
        writer.post(image(chosen.choice(["good", "N0"]), {"k" * chosen.randrange(200): "v"}))
        if chosen.random() < 0.1:
            shift(writer.path, seconds=chosen.choice([0, 30]) * (60 - number))
            writer.rotate(f"-{number:02}" + chosen.choice(["", ".gz"]))
    return [writer.path for writer in writers]


@pytest.mark.slow
@pytest.mark.parametrize("denied", [False, True])
def test_the_newest_are_the_same_however_much_is_read(
    journals: list[Path], denied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = find(journals, 0, denied).rows
    for most in (2000, 8000, 36000, 200_000):
        monkeypatch.setattr(tail, "MAX_BYTES", most)
        for limit in (1, 30):
            newest = find(journals, limit, denied)
            assert newest.rows == everything[-limit:]
            assert newest.has_more == (len(everything) > limit)


def test_a_filter_of_time_reads_only_what_it_needs(writer: Writer, read_sizes: list[int]) -> None:
    for _ in range(26):
        writer.post(image("good"))
    shift(writer.path, hours=1)
    writer.post(image("new"))
    since = writer.records()[-2]["eventTime"]
    assert [outcome for _, outcome in find([writer.path], 50, since=since).rows] == ["202"]
    assert len(read_sizes) == 1
    assert read_sizes[0] <= 20_000, "the rest is an hour older"
    assert len(find([writer.path], 0).rows) == 27


@pytest.mark.slow
def test_a_limit_reads_only_what_it_needs(writer: Writer, read_sizes: list[int]) -> None:
    for hours in (3, 2, 1):
        for _ in range(20):
            writer.post(image("good"))
        shift(writer.path, hours=hours)
        writer.rotate(f"-{9 - hours}.gz")
    writer.post(image("new"))
    newest = find([writer.path], 5)
    assert (len(newest.rows), newest.has_more) == (5, True)
    assert read_sizes == [sum(read_sizes)]
    assert read_sizes[0] < 60_000, "20 of the 60 older requests"


@pytest.mark.parametrize("limit", range(1, 13))
def test_a_record_may_be_written_late(writer: Writer, limit: int) -> None:
    """Its writer waited for the lock while others, with younger records, got it."""
    seconds = (9, 0, 1, 2, 19, 10, 11, 12, 29, 20, 21, 22)  # in the order of the file
    for _ in seconds:
        writer.post(image("N0"))
    lines = []
    for second, record in zip(seconds, writer.records()):
        record["eventTime"] = f"2026-01-01T00:01:{second:02}.000000+00:00"
        lines.append(json.dumps(record) + "\n")
    writer.path.write_text("".join(lines))
    latest = 9
    assert latest < tail._LATENESS.total_seconds(), "a record can be so late"
    everything = find([writer.path], 0).rows
    assert find([writer.path], limit).rows == everything[-limit:]


@pytest.mark.parametrize("suffix", ["", "-1", "-1.gz"])
def test_requests_from_before_a_clock_was_put_back(writer: Writer, suffix: str) -> None:
    """They are older in the file and younger in time."""
    for _ in range(4):
        writer.post(image("N0"))
    shift(writer.path, hours=-2)
    for _ in range(3):
        writer.post(image("good"))
    shift(writer.path, hours=1)  # the first four an hour ahead, then three an hour ago
    if suffix:
        writer.rotate(suffix)
    for _ in range(30):
        writer.post(image("good"))
    since = writer.records()[0]["eventTime"]
    for limit in (1, 5, 10, 40):
        assert find([writer.path], limit, since=since).rows == find([writer.path], 0, since=since).rows[-limit:]
    assert len(find([writer.path], 1000, denied=True, since=since).rows) == 4


def test_a_long_search_ends_by_reading_everything(
    writer: Writer, read_sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.post(image("N0"))
    for _ in range(20):
        writer.post(image("good"))
    monkeypatch.setattr(tail, "MAX_BYTES", 10_000)
    assert [outcome for _, outcome in find([writer.path], 1, denied=True).rows] == ["refused"]
    assert read_sizes == [writer.path.stat().st_size]


def test_a_gzip_file_that_is_longer_than_it_looks_is_not_searched(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.post(image("N0"))
    with writer.path.open("ab") as file:
        file.write(b"\n" * 1_000_000)
    writer.rotate(".1.gz")
    writer.post(image("good"))
    monkeypatch.setattr(tail, "MAX_BYTES", 100_000)
    assert [outcome for _, outcome in find([writer.path], 5).rows] == ["refused", "202"]


def read_forwards(content: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    for line in content.splitlines(keepends=True):
        yield offset, line.rstrip(b"\n")
        offset += len(line)


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize("content", [b"", b"\n", b"one", b"one\n", b"one\ntwo", b"one\n\ntwo\n", b"\n\nthree\n" * 9])
def test_lines_read_backwards_are_the_lines_of_the_file(
    content: bytes, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "_CHUNK", chunk)
    lines = [(start, line) for start, line in tail._read_backwards(io.BytesIO(content)) if line]
    assert lines == [(start, line) for start, line in reversed(list(read_forwards(content))) if line]

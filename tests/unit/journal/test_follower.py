"""A follower returns every record once and in order, whatever happens to the files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import itertools
import json
import logging
import os
import random
import shutil
import threading
import time
import tracemalloc
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from imagefilter.journal.files import MAX_LINE_BYTES
from imagefilter.journal.follow import follow
from imagefilter.journal.follower import Follower, Line
from imagefilter.journal.position import Position
from imagefilter.journal.writer import append
from tests.unit.fakes import FORK

CLOCK = "2026-11-24T12:00:{:09.6f}+00:00"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def record(n: int, **more: Any) -> bytes:
    return json.dumps({"id": str(uuid.uuid4()), "eventTime": CLOCK.format(n / 100), "n": n, **more}).encode()


def write(path: Path, *numbers: int) -> None:
    for n in numbers:
        append(str(path), record(n))


def tear(path: Path) -> None:
    """Leave behind what a writer does that dies in the middle of a line."""
    with open(path, "ab") as file:
        file.write(b'{"typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event", "eve')


def rename(path: Path, suffix: str) -> Path:
    return path.rename(f"{path}{suffix}")


def compress(path: Path) -> Path:
    compressed = Path(f"{path}.gz")
    compressed.write_bytes(gzip.compress(path.read_bytes()))
    os.utime(compressed, (path.stat().st_mtime,) * 2)
    path.unlink()
    return compressed


def numbers(lines: Iterator[Line] | list[Line]) -> list[Any]:
    """Return the number of each record that was read, or "torn"."""
    found: list[Any] = []
    for line in lines:
        if line.record is None:
            found.append("torn")
        else:
            found.append(line.record["n"])
    return found


def restored(position: Position) -> Position:
    """Return a position after it was kept in a file."""
    return Position(*json.loads(json.dumps(position)))


def test_returns_records_in_order_with_the_position_behind_each(path: Path) -> None:
    write(path, 1, 2, 3)
    lines = list(Follower(str(path)).read())
    assert numbers(lines) == [1, 2, 3]
    assert [line.raw for line in lines] == path.read_bytes().splitlines()
    assert lines[-1].position.offset == path.stat().st_size
    assert numbers(Follower(str(path), restored(lines[0].position)).read()) == [2, 3]


def test_returns_later_records_at_the_next_reading(path: Path) -> None:
    follower = Follower(str(path))
    assert list(follower.read()) == [], "the file does not exist yet"
    write(path, 1)
    assert numbers(follower.read()) == [1]
    assert list(follower.read()) == []
    write(path, 2, 3)
    assert numbers(follower.read()) == [2, 3]


def test_the_directory_may_be_made_later(tmp_path: Path) -> None:
    path = tmp_path / "log" / "audit.jsonl"
    follower = Follower(str(path))
    assert list(follower.read()) == []
    path.parent.mkdir()
    write(path, 1)
    assert numbers(follower.read()) == [1]


def test_goes_on_behind_the_last_line_that_was_taken(path: Path) -> None:
    write(path, 1, 2, 3)
    follower = Follower(str(path))
    assert numbers([next(follower.read())]) == [1]
    assert numbers(follower.read()) == [2, 3]


@pytest.mark.parametrize(
    "suffixes",
    [
        ("-20261122", "-20261123", "-20261124"),
        (".3", ".2", ".1"),
        (".10", ".9", ".1"),
        ("-20261123-1795449600", "-20261123-1795449601", "-20261124-1795449600"),
        # The time of the first record decides, not the name.
        (".1", ".2", "-20261101"),
    ],
)
@pytest.mark.parametrize("compressed", [0, 2, 3])
def test_reads_rotated_files_in_the_order_they_were_begun(
    path: Path, suffixes: tuple[str, ...], compressed: int
) -> None:
    for number, suffix in enumerate(suffixes):
        write(path, 2 * number, 2 * number + 1)
        rotated = rename(path, suffix)
        os.utime(rotated, (1e9 - number, 1e9 - number))  # nor the time of modification
        if number < compressed:
            compress(rotated)
    write(path, 6, 7)
    lines = list(Follower(str(path)).read())
    assert numbers(lines) == [*range(8)]
    for n, line in enumerate(lines):
        assert numbers(Follower(str(path), restored(line.position)).read()) == [*range(n + 1, 8)]


def test_reads_no_files_of_others(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(path, 1)
    for name in (
        "audit.jsonl.bak",
        "audit.jsonl~",
        ".audit.jsonl.swp",
        "audit.jsonl.1.xz",
        "audit.jsonl2",
        "x.jsonl.1",
    ):
        (path.parent / name).write_bytes(record(9) + b"\n")
    (path.parent / "audit.jsonl.2").mkdir()
    os.mkfifo(path.parent / "audit.jsonl.3")
    follower = Follower(str(path))
    assert numbers(follower.read()) == [1]
    follower.unread()
    assert [entry.getMessage() for entry in caplog.records] == [
        f"audit.jsonl.1.xz beside {path} is not read: gzip is the only compression that can be read"
    ]


def test_follows_through_a_rotation(path: Path) -> None:
    follower = Follower(str(path))
    write(path, 1)
    assert numbers(follower.read()) == [1]
    write(path, 2)
    rotated = rename(path, ".1")
    write(path, 3)
    assert numbers(follower.read()) == [2, 3]
    compress(rotated.rename(f"{path}.2"))
    write(path, 4)
    assert numbers(follower.read()) == [4]


def test_follows_through_two_rotations_between_two_readings(path: Path) -> None:
    follower = Follower(str(path))
    write(path, 1)
    assert numbers(follower.read()) == [1]
    write(path, 2)
    compress(rename(path, "-20261123"))
    write(path, 3)
    rename(path, "-20261124")
    assert numbers(follower.read()) == [2, 3], "although there is no live file"
    write(path, 4)
    assert numbers(follower.read()) == [4]


def test_reads_all_files_if_the_clock_was_put_back(path: Path) -> None:
    follower = Follower(str(path))
    write(path, 500)
    assert numbers(follower.read()) == [500]
    rename(path, ".3")
    write(path, 100)
    rename(path, ".2")
    write(path, 50)
    rename(path, ".1")
    write(path, 10)
    assert sorted(numbers(follower.read())) == [10, 50, 100]
    assert numbers(Follower(str(path), restored(follower.position)).read()) == []


def test_reads_what_a_late_writer_adds_to_a_renamed_file(path: Path) -> None:
    """The writer opened the file before it was renamed."""
    follower = Follower(str(path))
    write(path, 1)
    with open(path, "ab", buffering=0) as late:
        rename(path, ".1")
        write(path, 2)
        assert numbers(follower.read()) == [1, 2]
        late.write(record(3) + b"\n")
        write(path, 4)
        assert numbers(follower.read()) == [3, 4], "in this order, for one writer may have written both"
        rename(path, ".0")
        write(path, 6)
        lines = list(follower.read())
        late.write(record(5) + b"\n")
    assert numbers(lines) == [6]
    assert numbers(Follower(str(path), restored(lines[-1].position)).read()) == [5], "read late, not lost"


def test_waits_for_a_writer_in_the_middle_of_its_last_line(path: Path) -> None:
    write(path, 1)
    with open(path, "ab", buffering=0) as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        line = record(2) + b"\n"
        writer.write(line[:20])
        rename(path, ".1")
        write(path, 3)
        follower = Follower(str(path))
        assert numbers(follower.read()) == [1]
        assert numbers(follower.read()) == []
        writer.write(line[20:])
    assert numbers(follower.read()) == [2, 3]


def test_a_lock_that_is_never_released_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagefilter.journal.follower._LOCK_SECONDS", 0.05)
    write(path, 1)
    with open(path, "ab", buffering=0) as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        rename(path, ".1")
        follower = Follower(str(path))
        with pytest.raises(TimeoutError, match="has held the lock"):
            list(follower.read(once=True))
        with pytest.raises(TimeoutError, match="has held the lock"):
            list(follower.read())
    write(path, 2)
    assert numbers(follower.read()) == [2]


# --- torn lines


def test_returns_a_torn_line_and_goes_on(path: Path) -> None:
    write(path, 1)
    tear(path)
    follower = Follower(str(path))
    assert numbers(follower.read()) == [1], "its writer may still be writing it"
    write(path, 2)
    assert numbers(follower.read()) == ["torn", 2]


@pytest.mark.parametrize("line", [b"[1]", b"3", b'"x"', b"null", b"\xff\xfe", b"[" * 100000, b"{}{}", b"9" * 5000])
def test_a_line_that_is_not_a_json_object_is_torn(path: Path, line: bytes) -> None:
    write(path, 1)
    append(str(path), line)
    write(path, 2)
    lines = list(Follower(str(path)).read())
    assert numbers(lines) == [1, "torn", 2]
    assert lines[1].raw == line


@pytest.mark.parametrize("compressed", [False, True])
def test_an_unfinished_line_at_the_end_of_a_rotated_file_is_torn(path: Path, compressed: bool) -> None:
    write(path, 1)
    tear(path)
    rotated = rename(path, ".1")
    if compressed:
        compress(rotated)
    write(path, 2)
    lines = list(Follower(str(path)).read())
    assert numbers(lines) == [1, "torn", 2]
    assert numbers(Follower(str(path), restored(lines[1].position)).read()) == [2]


def test_a_late_writer_goes_on_behind_a_torn_line(path: Path) -> None:
    write(path, 1)
    tear(path)
    with open(path, "ab", buffering=0) as late:
        rename(path, ".1")
        write(path, 3)
        follower = Follower(str(path))
        assert numbers(follower.read()) == [1, "torn", 3]
        late.write(b"\n" + record(2) + b"\n")
    assert numbers(follower.read()) == [2]


def test_reading_once_returns_an_unfinished_line_and_stays_before_it(path: Path) -> None:
    write(path, 1)
    line = record(2)
    with open(path, "ab") as file:
        file.write(line[:10])
    lines = list(Follower(str(path)).read(once=True))
    assert numbers(lines) == [1, "torn"]
    with open(path, "ab") as file:
        file.write(line[10:] + b"\n")
    assert numbers(Follower(str(path), restored(lines[-1].position)).read(once=True)) == [2]


def test_files_that_begin_with_the_same_torn_line_are_different_files(path: Path) -> None:
    for n in range(3):
        tear(path)
        if n < 2:
            write(path, n)
            rename(path, f".{n}")
    follower = Follower(str(path))
    lines = list(follower.read())
    assert numbers(lines) == ["torn", 0, "torn", 1], "the third can't be told from the others yet"
    assert numbers(follower.read(once=True)) == ["torn"]
    write(path, 2)
    assert numbers(follower.read()) == ["torn", 2]
    for n, line in enumerate(lines):
        rest = ["torn", 0, "torn", 1, "torn", 2][n + 1 :]
        assert numbers(Follower(str(path), restored(line.position)).read()) == rest


def test_reads_rotated_files_without_any_record(path: Path) -> None:
    tear(path)
    rename(path, ".2")
    path.touch()
    rename(path, ".1")
    write(path, 1)
    assert numbers(Follower(str(path)).read()) == ["torn", 1]


@pytest.mark.slow
def test_truncates_an_endless_line(path: Path) -> None:
    write(path, 1)
    with open(path, "ab") as file:
        for _ in range(40):
            file.write(b"x" * MAX_LINE_BYTES)
    follower = Follower(str(path))
    tracemalloc.start()
    assert numbers(follower.read()) == [1]
    write(path, 2)
    lines = list(follower.read())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert numbers(lines) == ["torn", 2]
    assert len(lines[0].raw) == MAX_LINE_BYTES + 1
    assert lines[-1].position.offset == path.stat().st_size
    assert peak < 8 * MAX_LINE_BYTES
    assert numbers(Follower(str(path), restored(lines[0].position)).read()) == [2]
    write(path, 3)
    assert numbers(follower.read()) == [3]


def test_an_endless_first_line_is_torn(path: Path) -> None:
    path.write_bytes(b"x" * (3 * MAX_LINE_BYTES))
    follower = Follower(str(path))
    assert numbers(follower.read()) == []
    write(path, 1)
    assert numbers(follower.read()) == ["torn", 1]


# --- truncated, removed, replaced


def test_follows_through_copytruncate(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What logrotate's copytruncate copied and was not read yet is read from the copy."""
    follower = Follower(str(path))
    write(path, 1, 2)
    assert numbers(follower.read()) == [1, 2]
    write(path, 3)
    shutil.copyfile(path, f"{path}.1")
    assert numbers(follower.read()) == [3], "the copy is not read as well"
    write(path, 4)
    shutil.copyfile(path, f"{path}.1")
    os.truncate(path, 0)
    write(path, 5)
    assert numbers(follower.read()) == [4, 5]
    assert "was truncated" in caplog.text


def test_notices_a_truncation_after_the_file_has_grown_restored(path: Path) -> None:
    follower = Follower(str(path))
    write(path, 1)
    assert numbers(follower.read()) == [1]
    os.truncate(path, 0)
    write(path, 2, 3)
    assert numbers(follower.read()) == [2, 3]


def test_goes_on_after_a_file_was_shortened(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    follower = Follower(str(path))
    write(path, 1, 2)
    assert numbers(follower.read()) == [1, 2]
    os.truncate(path, path.stat().st_size - 5)
    assert numbers(follower.read()) == []
    write(path, 3)
    assert 3 in numbers(follower.read())
    assert caplog.text.count("was truncated") == 1


def test_reads_a_removed_file_to_its_end_and_then_the_new_one(path: Path) -> None:
    follower = Follower(str(path))
    write(path, 1)
    assert numbers(follower.read()) == [1]
    write(path, 2)
    path.unlink()
    write(path, 3)
    assert numbers(follower.read()) == [2, 3], "it was still open"


def test_logs_that_the_file_is_gone_after_a_restart(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(path, 1, 2)
    position = next(Follower(str(path)).read()).position
    path.unlink()
    write(path, 3)
    assert numbers(Follower(str(path), restored(position)).read()) == [3]
    assert caplog.text.count("what was not read of it is lost") == 1


def test_waits_for_a_new_file_before_it_logs_that_the_old_one_is_lost(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, 1, 2)
    position = next(Follower(str(path)).read()).position
    kept = path.rename(path.parent / "kept")
    follower = Follower(str(path), restored(position))
    assert numbers(follower.read()) == []
    assert numbers(follower.read()) == []
    assert caplog.text == ""
    kept.rename(path)
    assert numbers(follower.read()) == [2]


def test_follows_into_a_replaced_directory(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    path = folder / "audit.jsonl"
    follower = Follower(str(path))
    write(path, 1)
    assert numbers(follower.read()) == [1]
    write(path, 2)
    folder.rename(tmp_path / "old")
    assert numbers(follower.read()) == [2]
    folder.mkdir()
    write(path, 3)
    assert numbers(follower.read()) == [3]


def test_reads_copies_once(path: Path) -> None:
    write(path, 1, 2)
    shutil.copyfile(path, f"{path}.20261124")
    rotated = rename(path, ".1")
    Path(f"{path}.1.gz").write_bytes(gzip.compress(rotated.read_bytes()))
    write(path, 3)
    assert numbers(Follower(str(path)).read()) == [1, 2, 3]


def test_reads_the_original_while_it_is_being_compressed(path: Path) -> None:
    write(path, 1, 2)
    rotated = rename(path, ".1")
    Path(f"{path}.1.gz").write_bytes(gzip.compress(rotated.read_bytes())[:100])
    write(path, 3)
    assert numbers(Follower(str(path)).read()) == [1, 2, 3]


@pytest.mark.slow
def test_loses_only_the_rest_of_a_broken_gzip_file(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(path, *range(5000))
    compressed = compress(rename(path, ".2"))
    os.truncate(compressed, compressed.stat().st_size // 2)
    Path(f"{path}.1.gz").write_bytes(b"no gzip file at all")
    write(path, 9999)
    seen = numbers(Follower(str(path)).read())
    whole = [n for n in seen if n != "torn"]
    assert 1000 < len(whole) < 4000
    assert whole == [*range(len(whole) - 1), 9999]
    assert caplog.text.count("is broken behind byte") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_an_error(path: Path) -> None:
    write(path, 1)
    path.chmod(0)
    with pytest.raises(PermissionError):
        list(Follower(str(path)).read())


def test_raises_errors_of_the_disk_and_skips_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, 1)
    follower = Follower(str(path))
    with monkeypatch.context() as patch:
        patch.setattr("imagefilter.journal.files.open_file", fail)
        with pytest.raises(OSError, match="Input/output error"):
            list(follower.read())
    assert numbers(follower.read()) == [1]


def fail(path: str) -> Any:
    raise OSError(errno.EIO, os.strerror(errno.EIO), path)


# --- its position


def test_skip_goes_to_the_end(path: Path) -> None:
    write(path, 1)
    rename(path, ".1")
    write(path, 2)
    line = record(3)
    with open(path, "ab") as file:
        file.write(line[:10])
    follower = Follower(str(path))
    follower.skip()
    with open(path, "ab") as file:
        file.write(line[10:] + b"\n")
    assert numbers(follower.read()) == [3]
    assert numbers(Follower(str(path), restored(follower.position)).read()) == []


def test_unread_is_the_number_of_bytes_behind_the_position(path: Path) -> None:
    write(path, 1)
    compress(rename(path, ".2"))
    write(path, 2)
    rename(path, ".1")
    write(path, 3)
    follower = Follower(str(path))
    size = len(record(1)) + 1
    lines = [follower.unread()]
    for _ in follower.read():
        lines.append(follower.unread())
    assert lines == [3 * size, 2 * size, size, 0]


def test_closes_the_files_it_opened(path: Path) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = count()
    follower = Follower(str(path))
    for n in range(20):
        write(path, n)
        list(follower.read())
        if n % 5 == 4:
            os.truncate(path, 0)
        else:
            rename(path, f".{n}")
    assert count() <= before + 2
    follower.close()
    assert count() == before


@pytest.mark.slow
def test_positions_stay_small(path: Path) -> None:
    follower = Follower(str(path))
    for n in range(500):
        write(path, n)
        assert numbers(follower.read()) == [n]
        rename(path, ".1")  # over the one before
    assert len(json.dumps(follower.position)) < 10000


# --- all of it at once

WRITERS, RECORDS = 3, 400


def write_all(path: str, writer: int, written: Any) -> None:
    for n in range(RECORDS):
        line = {
            "id": str(uuid.uuid4()),
            "eventTime": f"2026-{time.time_ns()}",
            "w": writer,
            "n": n,
            "filler": "x" * (n % 5 * 700),
        }
        append(path, json.dumps(line).encode())
        written[writer] = n + 1
        time.sleep(0.003)
        if n % 40 == 39:
            tear_as_a_writer(path)


def tear_as_a_writer(path: str) -> None:
    """Leave behind what a writer does that dies in the middle of a line, while it holds the lock."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb+", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = file.seek(0, os.SEEK_END)
        line = b'{"id": "torn'
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
            line = b"\n" + line
        os.write(file.fileno(), line)


def wait_until_each_has_written(written: Any, stop: Any) -> None:
    """Wait, since a writer may be late for one rotation, but not for two, nor for the compressing: those are hours
    apart.
    """
    before = list(written)
    while not stop.is_set() and any(now == then < RECORDS for now, then in zip(written, before)):
        time.sleep(0.001)


def rotate(path: str, stop: Any, seed: int, written: Any) -> None:
    """Rename and compress files as logrotate does, at random; never onto a name that is taken."""
    rng, number = random.Random(seed), itertools.count()
    folder, name = os.path.split(path)
    while not stop.is_set():
        time.sleep(rng.random() * 0.03)
        wait_until_each_has_written(written, stop)
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, f"{path}{rng.choice('-.')}{rng.choice('123')}{next(number):04d}")
        old = [file for file in os.listdir(folder) if file != name]
        plain = [file for file in old if not file.endswith(".gz")]
        if len(plain) > 2:  # delaycompress
            oldest = Path(folder, min(plain, key=lambda file: os.stat(Path(folder, file)).st_mtime))
            with open(oldest, "rb") as source, gzip.open(f"{oldest}.gz", "wb") as target:
                shutil.copyfileobj(source, target)
            oldest.unlink()
        if plain and rng.random() < 0.3:
            file = rng.choice([file for file in os.listdir(folder) if file != name])
            suffix = ".gz" * file.endswith(".gz")
            os.rename(Path(folder, file), Path(folder, f"{name}.9{next(number):04d}{suffix}"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_returns_each_record_once_and_in_order_under_random_faults(fast: Path, seed: int) -> None:
    path, rng, stop = str(fast / "audit.jsonl"), random.Random(seed), FORK.Event()
    written = FORK.Array("i", WRITERS)
    writers = [FORK.Process(target=write_all, args=(path, number, written)) for number in range(WRITERS)]
    rotator = FORK.Process(target=rotate, args=(path, stop, seed, written))
    processes = (*writers, rotator)
    for process in processes:
        process.start()

    def is_over() -> bool:
        if any(writer.is_alive() for writer in writers):
            return False
        stop.set()
        rotator.join()
        return True

    try:
        lines, restarts = read_with_restarts(path, rng, is_over)
    finally:
        stop.set()
        for process in processes:
            process.join()
    records = [line.record for line in lines if line.record is not None]
    for writer in range(WRITERS):
        assert [found["n"] for found in records if found["w"] == writer] == list(range(RECORDS))
    torn = len(lines) - len(records)
    assert 0 < torn <= WRITERS * RECORDS // 40
    assert restarts > 5


def read_with_restarts(path: str, rng: random.Random, is_over: Callable[[], bool]) -> tuple[list[Line], int]:
    """Read everything with followers that die now and then, and come back with an older position."""
    lines: list[Line] = []
    follower = Follower(path)
    restarts = 0
    deadline = time.monotonic() + 300
    while True:
        assert time.monotonic() < deadline
        once = is_over()
        for line in follower.read(once):
            lines.append(line)
            if rng.random() < 0.02:
                restarts += 1
                del lines[rng.randrange(max(0, len(lines) - 50), len(lines)) + 1 :]
                follower = Follower(path, restored(lines[-1].position))
                break
        else:
            if once:
                return lines, restarts
        time.sleep(rng.random() * 0.02)


def test_logs_nothing_when_nothing_is_wrong(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    follower = Follower(str(path))
    for n in range(5):
        write(path, n)
        assert numbers(follower.read()) == [n]
        rename(path, f"-2026112{n}")
    assert caplog.text == ""


# --- some lines at a time, and several journals


def test_take_returns_a_part_and_tells_if_there_is_more(path: Path) -> None:
    write(path, 1, 2, 3)
    follower = Follower(str(path))
    assert numbers(follower.take(2)) == [1, 2]
    assert follower.has_more
    assert numbers(follower.take(2)) == [3]
    assert not follower.has_more
    write(path, 4)
    assert numbers(follower.take(2)) == [4]


def test_take_begins_anew_after_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, 1)
    follower = Follower(str(path))
    with monkeypatch.context() as patch:
        patch.setattr("imagefilter.journal.files.open_file", fail)
        with pytest.raises(OSError, match="Input/output error"):
            list(follower.take(2))
    assert not follower.has_more
    assert numbers(follower.take(2)) == [1]


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each sleep of this thread: one that another test left behind sleeps on."""
    slept: list[float] = []
    own, really_sleep = threading.get_ident(), time.sleep

    def sleep(seconds: float) -> None:
        if threading.get_ident() == own:
            slept.append(seconds)
        else:
            really_sleep(seconds)

    monkeypatch.setattr("time.sleep", sleep)
    return slept


def describe(item: tuple[Follower, Line] | None) -> str:
    if item is None:
        return "pass"
    follower, line = item
    [number] = numbers([line])
    return f"{Path(follower.path).name} {number}"


def test_follow_sleeps_between_two_passes(tmp_path: Path, naps: list[float]) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    write(first, 1, 2)
    write(second, 3)
    items = map(describe, follow([Follower(str(first)), Follower(str(second))], 0.25))
    assert [next(items) for _ in range(4)] == ["a 1", "a 2", "b 3", "pass"]
    assert naps == []
    write(first, 4)
    assert [next(items) for _ in range(2)] == ["a 4", "pass"]
    assert naps == [0.25]


def test_follow_gives_each_journal_its_share_and_sleeps_only_without_a_backlog(
    tmp_path: Path, naps: list[float]
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    write(first, 1, 2, 3)
    write(second, 4)
    items = map(describe, follow([Follower(str(first)), Follower(str(second))], 0.25, share=2))
    assert [next(items) for _ in range(4)] == ["a 1", "a 2", "b 4", "pass"]
    write(second, 5)
    assert [next(items) for _ in range(3)] == ["a 3", "b 5", "pass"]
    assert naps == []
    write(second, 6)
    assert [next(items) for _ in range(2)] == ["b 6", "pass"]
    assert naps == [0.25]


@pytest.mark.parametrize(
    ("share", "expected"),
    [(None, ["a 1", "a 2", "a 3", "b torn", "pass"]), (2, ["a 1", "a 2", "b torn", "pass", "a 3", "pass"])],
)
def test_follow_once_ends_when_each_journal_was_read(
    tmp_path: Path, naps: list[float], share: int | None, expected: list[str]
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    write(first, 1, 2, 3)
    tear(second)
    followers = [Follower(str(first)), Follower(str(second))]
    assert list(map(describe, follow(followers, 0.25, once=True, share=share))) == expected
    assert naps == []


def test_follow_reports_errors_and_reads_the_other_journals(tmp_path: Path, naps: list[float]) -> None:
    broken, good = tmp_path / "a", tmp_path / "b"
    broken.symlink_to(broken)
    write(good, 1)
    errors: list[tuple[str, int | None]] = []

    def note(follower: Follower, error: OSError) -> None:
        errors.append((follower.path, error.errno))

    followers = [Follower(str(broken)), Follower(str(good))]
    items = map(describe, follow(followers, 0.25, on_error=note))
    assert [next(items) for _ in range(2)] == ["b 1", "pass"]
    assert errors == [(str(broken), errno.ELOOP)]
    broken.unlink()
    write(broken, 2)
    assert [next(items) for _ in range(2)] == ["a 2", "pass"]
    assert len(errors) == 1


def test_follow_raises_errors_that_nobody_wants(tmp_path: Path) -> None:
    broken = tmp_path / "a"
    broken.symlink_to(broken)
    with pytest.raises(OSError, match="symbolic links"):
        list(follow([Follower(str(broken))], 0.25))

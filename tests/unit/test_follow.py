"""A follower reads every record once and in order, whatever happens to the files."""

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
import time
import tracemalloc
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagefilter.follow import Follower, Line, Position
from imagefilter.journal import append
from imagefilter.rotated import LONGEST
from tests.unit.test_journal import FORK, fast

__all__ = ["fast"]

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
    """What a writer leaves behind that died in mid-line."""
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
    """What was read: the number of each record, "torn" else."""
    return ["torn" if line.record is None else line.record["n"] for line in lines]


def again(position: Position) -> Position:
    """A position that was kept in a file."""
    return Position(*json.loads(json.dumps(position)))


def test_records_come_in_order_with_the_place_behind_them(path: Path) -> None:
    write(path, 1, 2, 3)
    lines = list(Follower(str(path)).read())
    assert numbers(lines) == [1, 2, 3]
    assert [line.raw for line in lines] == path.read_bytes().splitlines()
    assert lines[-1].position.offset == path.stat().st_size
    assert numbers(Follower(str(path), again(lines[0].position)).read()) == [2, 3]


def test_what_is_written_later_comes_later(path: Path) -> None:
    follower = Follower(str(path))
    assert list(follower.read()) == [], "not there yet"
    write(path, 1)
    assert numbers(follower.read()) == [1]
    assert list(follower.read()) == []
    write(path, 2, 3)
    assert numbers(follower.read()) == [2, 3]


def test_a_directory_may_come_later(tmp_path: Path) -> None:
    path = tmp_path / "log" / "audit.jsonl"
    follower = Follower(str(path))
    assert list(follower.read()) == []
    path.parent.mkdir()
    write(path, 1)
    assert numbers(follower.read()) == [1]


def test_a_reader_that_gives_up_goes_on_behind_its_last_line(path: Path) -> None:
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
        # What names say does not count, the first record's time does.
        (".1", ".2", "-20261101"),
    ],
)
@pytest.mark.parametrize("compressed", [0, 2, 3])
def test_rotated_files_are_read_first_in_the_order_they_were_begun(
    path: Path, suffixes: tuple[str, ...], compressed: int
) -> None:
    for number, suffix in enumerate(suffixes):
        write(path, 2 * number, 2 * number + 1)
        rotated = rename(path, suffix)
        os.utime(rotated, (1e9 - number, 1e9 - number))  # nor does mtime
        if number < compressed:
            compress(rotated)
    write(path, 6, 7)
    lines = list(Follower(str(path)).read())
    assert numbers(lines) == [*range(8)]
    for n, line in enumerate(lines):
        assert numbers(Follower(str(path), again(line.position)).read()) == [*range(n + 1, 8)]


def test_files_of_others_are_not_read(path: Path, caplog: pytest.LogCaptureFixture) -> None:
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
    assert [each.getMessage() for each in caplog.records] == [
        f"audit.jsonl.1.xz beside {path} is not read: of compressed files only those of gzip are"
    ]


def test_a_rotation_while_following(path: Path) -> None:
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


def test_two_rotations_between_two_looks(path: Path) -> None:
    follower = Follower(str(path))
    write(path, 1)
    assert numbers(follower.read()) == [1]
    write(path, 2)
    compress(rename(path, "-20261123"))
    write(path, 3)
    rename(path, "-20261124")
    assert numbers(follower.read()) == [2, 3], "and no live file"
    write(path, 4)
    assert numbers(follower.read()) == [4]


def test_a_clock_that_was_put_back_hides_no_file(path: Path) -> None:
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
    assert numbers(Follower(str(path), again(follower.position)).read()) == []


def test_a_writer_that_comes_late_to_a_renamed_file(path: Path) -> None:
    """It opened the file, and then the file was renamed."""
    follower = Follower(str(path))
    write(path, 1)
    with open(path, "ab", buffering=0) as late:
        rename(path, ".1")
        write(path, 2)
        assert numbers(follower.read()) == [1, 2]
        late.write(record(3) + b"\n")
        write(path, 4)
        assert numbers(follower.read()) == [3, 4], "it may be the same writer's"
        rename(path, ".0")
        write(path, 6)
        lines = list(follower.read())
        late.write(record(5) + b"\n")
    assert numbers(lines) == [6]
    assert numbers(Follower(str(path), again(lines[-1].position)).read()) == [5], "two files later: late, not lost"


def test_a_writer_that_is_at_its_last_line_is_waited_for(path: Path) -> None:
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


def test_a_lock_that_is_never_given_back_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagefilter.follow.LOCK_SECONDS", 0.05)
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


def test_a_torn_line_is_told_and_not_fatal(path: Path) -> None:
    write(path, 1)
    tear(path)
    follower = Follower(str(path))
    assert numbers(follower.read()) == [1], "its writer may still be at it"
    write(path, 2)
    assert numbers(follower.read()) == ["torn", 2]


@pytest.mark.parametrize("line", [b"[1]", b"3", b'"x"', b"null", b"\xff\xfe", b"[" * 100000, b"{}{}", b"9" * 5000])
def test_what_is_no_json_object_is_torn(path: Path, line: bytes) -> None:
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
    assert numbers(Follower(str(path), again(lines[1].position)).read()) == [2]


def test_a_late_writer_mends_what_was_told_as_torn(path: Path) -> None:
    write(path, 1)
    tear(path)
    with open(path, "ab", buffering=0) as late:
        rename(path, ".1")
        write(path, 3)
        follower = Follower(str(path))
        assert numbers(follower.read()) == [1, "torn", 3]
        late.write(b"\n" + record(2) + b"\n")
    assert numbers(follower.read()) == [2]


def test_who_reads_once_is_told_of_an_unfinished_line_and_stays_before_it(path: Path) -> None:
    write(path, 1)
    line = record(2)
    with open(path, "ab") as file:
        file.write(line[:10])
    lines = list(Follower(str(path)).read(once=True))
    assert numbers(lines) == [1, "torn"]
    with open(path, "ab") as file:
        file.write(line[10:] + b"\n")
    assert numbers(Follower(str(path), again(lines[-1].position)).read(once=True)) == [2]


def test_two_files_that_begin_with_the_same_torn_line_are_two(path: Path) -> None:
    for n in range(3):
        tear(path)
        if n < 2:
            write(path, n)
            rename(path, f".{n}")
    follower = Follower(str(path))
    lines = list(follower.read())
    assert numbers(lines) == ["torn", 0, "torn", 1], "the third can't be told from others yet"
    assert numbers(follower.read(once=True)) == ["torn"]
    write(path, 2)
    assert numbers(follower.read()) == ["torn", 2]
    for n, line in enumerate(lines):
        rest = ["torn", 0, "torn", 1, "torn", 2][n + 1 :]
        assert numbers(Follower(str(path), again(line.position)).read()) == rest


def test_a_rotated_file_without_any_record(path: Path) -> None:
    tear(path)
    rename(path, ".2")
    path.touch()
    rename(path, ".1")
    write(path, 1)
    assert numbers(Follower(str(path)).read()) == ["torn", 1]


def test_an_endless_line_is_cut_off(path: Path) -> None:
    write(path, 1)
    with open(path, "ab") as file:
        for _ in range(40):
            file.write(b"x" * LONGEST)
    follower = Follower(str(path))
    tracemalloc.start()
    assert numbers(follower.read()) == [1]
    write(path, 2)
    lines = list(follower.read())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert numbers(lines) == ["torn", 2]
    assert len(lines[0].raw) == LONGEST + 1
    assert lines[-1].position.offset == path.stat().st_size
    assert peak < 8 * LONGEST
    assert numbers(Follower(str(path), again(lines[0].position)).read()) == [2]
    write(path, 3)
    assert numbers(follower.read()) == [3]


def test_an_endless_first_line(path: Path) -> None:
    path.write_bytes(b"x" * (3 * LONGEST))
    follower = Follower(str(path))
    assert numbers(follower.read()) == []
    write(path, 1)
    assert numbers(follower.read()) == ["torn", 1]


# --- truncated, removed, replaced


def test_a_copy_and_a_truncation(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """logrotate's copytruncate: what was copied and not read yet is read from the copy."""
    follower = Follower(str(path))
    write(path, 1, 2)
    assert numbers(follower.read()) == [1, 2]
    write(path, 3)
    shutil.copyfile(path, f"{path}.1")
    assert numbers(follower.read()) == [3], "and not the copy too"
    write(path, 4)
    shutil.copyfile(path, f"{path}.1")
    os.truncate(path, 0)
    write(path, 5)
    assert numbers(follower.read()) == [4, 5]
    assert "was truncated" in caplog.text


def test_a_truncation_that_is_only_seen_when_the_file_is_longer_again(path: Path) -> None:
    follower = Follower(str(path))
    write(path, 1)
    assert numbers(follower.read()) == [1]
    os.truncate(path, 0)
    write(path, 2, 3)
    assert numbers(follower.read()) == [2, 3]


def test_a_file_that_was_cut_short(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    follower = Follower(str(path))
    write(path, 1, 2)
    assert numbers(follower.read()) == [1, 2]
    os.truncate(path, path.stat().st_size - 5)
    assert numbers(follower.read()) == []
    write(path, 3)
    assert 3 in numbers(follower.read())
    assert caplog.text.count("was truncated") == 1


def test_a_file_that_is_removed_and_made_anew(path: Path) -> None:
    follower = Follower(str(path))
    write(path, 1)
    assert numbers(follower.read()) == [1]
    write(path, 2)
    path.unlink()
    write(path, 3)
    assert numbers(follower.read()) == [2, 3], "it was still open"


def test_a_file_that_is_gone_after_a_restart_is_said(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(path, 1, 2)
    position = next(Follower(str(path)).read()).position
    path.unlink()
    write(path, 3)
    assert numbers(Follower(str(path), again(position)).read()) == [3]
    assert "what was not read of it is lost" in caplog.text


def test_a_replaced_directory(tmp_path: Path) -> None:
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


def test_a_copy_left_behind_is_not_read_again(path: Path) -> None:
    write(path, 1, 2)
    shutil.copyfile(path, f"{path}.20261124")
    rotated = rename(path, ".1")
    Path(f"{path}.1.gz").write_bytes(gzip.compress(rotated.read_bytes()))
    write(path, 3)
    assert numbers(Follower(str(path)).read()) == [1, 2, 3]


def test_a_file_that_is_being_compressed_is_read_as_it_was(path: Path) -> None:
    write(path, 1, 2)
    rotated = rename(path, ".1")
    Path(f"{path}.1.gz").write_bytes(gzip.compress(rotated.read_bytes())[:100])
    write(path, 3)
    assert numbers(Follower(str(path)).read()) == [1, 2, 3]


def test_a_broken_gzip_file_loses_its_rest_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
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
def test_a_file_that_may_not_be_read_is_an_error(path: Path) -> None:
    write(path, 1)
    path.chmod(0)
    with pytest.raises(PermissionError):
        list(Follower(str(path)).read())


def test_an_error_of_the_disk_is_the_readers_and_nothing_is_skipped(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, 1)
    follower = Follower(str(path))
    with monkeypatch.context() as patch:
        patch.setattr("imagefilter.rotated.open_file", failing)
        with pytest.raises(OSError, match="Input/output error"):
            list(follower.read())
    assert numbers(follower.read()) == [1]


def failing(path: str) -> Any:
    raise OSError(errno.EIO, os.strerror(errno.EIO), path)


# --- where it stands


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
    assert numbers(Follower(str(path), again(follower.position)).read()) == []


def test_how_much_there_is_to_read(path: Path) -> None:
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


def test_no_file_is_left_open(path: Path) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = count()
    follower = Follower(str(path))
    for n in range(20):
        write(path, n)
        list(follower.read())
        os.truncate(path, 0) if n % 5 == 4 else rename(path, f".{n}")
    assert count() <= before + 2
    follower.close()
    assert count() == before


def test_positions_stay_small(path: Path) -> None:
    follower = Follower(str(path))
    for n in range(500):
        write(path, n)
        assert numbers(follower.read()) == [n]
        rename(path, ".1")  # over the one before
    assert len(json.dumps(follower.position)) < 10000


# --- all of it at once

WRITERS, EACH = 3, 400


def write_all(path: str, writer: int, written: Any) -> None:
    for n in range(EACH):
        line = {
            "id": str(uuid.uuid4()),
            "eventTime": time.time_ns(),
            "w": writer,
            "n": n,
            "filler": "x" * (n % 5 * 700),
        }
        line["eventTime"] = f"2026-{line['eventTime']}"
        append(path, json.dumps(line).encode())
        written[writer] = n + 1
        time.sleep(0.003)
        if n % 40 == 39:
            tear_as_a_writer(path)


def tear_as_a_writer(path: str) -> None:
    """Die in mid-line, but for dying."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb+", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = file.seek(0, os.SEEK_END)
        newline = b"" if not size or os.pread(file.fileno(), 1, size - 1) == b"\n" else b"\n"
        os.write(file.fileno(), newline + b'{"id": "torn')


def until_each_has_written(written: Any, stop: Any) -> None:
    """A writer may come late for one rotation, not for two, nor for the compressing: those are hours apart."""
    before = list(written)
    while not stop.is_set() and any(now == then < EACH for now, then in zip(written, before)):
        time.sleep(0.001)


def rotate(path: str, stop: Any, seed: int, written: Any) -> None:
    """Rename and compress as logrotate does, at random; never onto a name that is taken."""
    rng, number = random.Random(seed), itertools.count()
    folder, name = os.path.split(path)
    while not stop.is_set():
        time.sleep(rng.random() * 0.03)
        until_each_has_written(written, stop)
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, f"{path}{rng.choice('-.')}{rng.choice('123')}{next(number):04d}")
        old = [each for each in os.listdir(folder) if each != name]
        plain = [each for each in old if not each.endswith(".gz")]
        if len(plain) > 2:  # delaycompress
            oldest = Path(folder, min(plain, key=lambda each: os.stat(Path(folder, each)).st_mtime))
            with open(oldest, "rb") as source, gzip.open(f"{oldest}.gz", "wb") as target:
                shutil.copyfileobj(source, target)
            oldest.unlink()
        if plain and rng.random() < 0.3:
            each = rng.choice([each for each in os.listdir(folder) if each != name])
            suffix = ".gz" if each.endswith(".gz") else ""
            os.rename(Path(folder, each), Path(folder, f"{name}.9{next(number):04d}{suffix}"))


@pytest.mark.parametrize("seed", range(3))
def test_each_record_once_and_in_order_whatever_happens(fast: Path, seed: int) -> None:
    path, rng, stop = str(fast / "audit.jsonl"), random.Random(seed), FORK.Event()
    written = FORK.Array("i", WRITERS)
    writers = [FORK.Process(target=write_all, args=(path, number, written)) for number in range(WRITERS)]
    rotator = FORK.Process(target=rotate, args=(path, stop, seed, written))
    for process in (*writers, rotator):
        process.start()
    seen: list[Line] = []
    follower = Follower(path)
    restarts = 0
    deadline = time.monotonic() + 300
    try:
        while True:
            assert time.monotonic() < deadline
            ended = not any(writer.is_alive() for writer in writers)
            if ended:
                stop.set()
                rotator.join()
            for line in follower.read(once=ended):
                seen.append(line)
                if rng.random() < 0.02:  # die, and come back with an older checkpoint
                    restarts += 1
                    del seen[rng.randrange(max(0, len(seen) - 50), len(seen)) + 1 :]
                    follower = Follower(path, again(seen[-1].position))
                    break
            else:
                if ended:
                    break
            time.sleep(rng.random() * 0.02)
    finally:
        stop.set()
        for process in (*writers, rotator):
            process.join()
    records = [line.record for line in seen if line.record is not None]
    for writer in range(WRITERS):
        assert [each["n"] for each in records if each["w"] == writer] == list(range(EACH))
    torn = len(seen) - len(records)
    assert 0 < torn <= WRITERS * EACH // 40
    assert restarts > 5


def test_a_follower_says_nothing_when_nothing_is_wrong(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    follower = Follower(str(path))
    for n in range(5):
        write(path, n)
        assert numbers(follower.read()) == [n]
        rename(path, f"-2026112{n}")
    assert caplog.text == ""

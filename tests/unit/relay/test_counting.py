"""Counting: each record once, whatever happens to disk, journals and process; and no past that looks like a surge."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from imagefilter.journal.follower import Follower
from imagefilter.relay import counters, counting
from imagefilter.relay.counted_file import CountedFile
from imagefilter.relay.counting import Counting, JournalCounter
from tests.relay.fakes import record, write
from tests.unit.fakes import mounted
from tests.unit.relay.fakes import count_once, counting_of
from tests.waiting import wait_until

ALLOWED = counters.REQUESTS.series(action="createImage", verdict="allow", rule="", mode="enforce")
TORN = counters.TORN.series()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(counting, "SAVE_SECONDS", 0.01)
    monkeypatch.setattr(counting, "_PAUSE", 0.01)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal that is counted, and is empty yet."""
    path = tmp_path / "audit.jsonl"
    count_once(path)
    return path


@contextlib.contextmanager
def running(*journals: Path) -> Iterator[Counting]:
    """Count in the background, and end that as a kill does."""
    with counting_of(*journals) as started:
        started.start()
        try:
            yield started
        finally:
            kill(started)


def kill(started: Counting) -> None:
    """End the threads: nothing more is counted, and nothing more is kept."""

    def end(*arguments: object) -> None:
        raise SystemExit

    started._file.write = end  # type: ignore[method-assign]
    for journal in started._journals:
        journal._follower.take = journal._follower.skip = end  # type: ignore[method-assign, assignment]
    with started._saving:
        pass


def allowed(running: Counting, journal: Path) -> float:
    """Return how many requests are exposed as allowed; -1 if the journal's counters are left out."""
    counts = running.counts().get(str(journal))
    if counts is None:
        return -1
    return counts.get(ALLOWED, 0)


# --- a first start, and a start after a night


def test_a_first_start_leaves_out_what_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "audit.jsonl"
    write(path, *map(record, range(3)))
    path.rename(f"{path}.1")
    write(path, *map(record, range(3)))
    assert count_once(path) == {}
    assert f"{path}: counting begins at its present end; older records are not counted" in caplog.text
    write(path, record(3))
    assert count_once(path)[ALLOWED] == 1
    assert caplog.text.count("present end") == 1


def test_a_journal_that_does_not_exist_yet_is_counted_from_its_first_record(journal: Path) -> None:
    write(journal, record(1))
    assert count_once(journal)[ALLOWED] == 1


def test_a_second_journal_begins_at_its_end_too(journal: Path, tmp_path: Path) -> None:
    second = tmp_path / "b.jsonl"
    write(journal, record(1))
    write(second, record(2))
    with counting_of(journal, second) as both:
        both.count_once()
        assert allowed(both, journal) == 1
        assert allowed(both, second) == 0


def test_a_journal_that_is_not_followed_for_a_while_keeps_its_place(journal: Path, tmp_path: Path) -> None:
    write(journal, record(1))
    count_once(journal)
    count_once(tmp_path / "b.jsonl")
    write(journal, record(2))
    assert count_once(journal)[ALLOWED] == 2


def test_counters_are_left_out_until_a_night_is_caught_up(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = record(0)
    old["eventTime"] = "2026-01-01T00:00:00.000000+00:00"
    write(journal, old, *map(record, range(1, 20)))
    slow = threading.Event()
    holding_back(monkeypatch, slow)
    with running(journal) as started:
        wait_until(lambda: started.behind()[str(journal)] > 86400)
        assert started.counts() == {}
        slow.set()
        wait_until(lambda: allowed(started, journal) == 20)
        assert started.behind()[str(journal)] < counting.MAX_BEHIND


def holding_back(monkeypatch: pytest.MonkeyPatch, event: threading.Event) -> None:
    """Let counting wait for an event behind its first record."""
    real = JournalCounter._add

    def add(self: JournalCounter, line: Any) -> None:
        real(self, line)
        event.wait(60)

    monkeypatch.setattr(JournalCounter, "_add", add)


@pytest.mark.parametrize(("seconds", "is_exposed"), [(0, True), (10, True), (10.5, False), (86400, False)])
def test_counters_are_left_out_while_more_than_ten_seconds_behind(
    journal: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, is_exposed: bool
) -> None:
    with counting_of(journal) as started:
        assert started.counts() == {}, "nothing was counted yet"
        started.count_once()
        counter = started._journals[0]
        reached = counter._reached_at or 0
        monkeypatch.setattr(counting.time, "monotonic", lambda: reached + seconds)
        assert counter.behind() == pytest.approx(seconds)
        assert counter.is_exposed() is is_exposed
        assert (str(journal) in started.counts()) is is_exposed


@contextlib.contextmanager
def holding(file: BinaryIO) -> Iterator[None]:
    """Hold the lock on a file, as a writer does."""
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


def test_a_rotated_file_that_is_held_is_not_the_end(journal: Path) -> None:
    """Otherwise counters would be shown before they are what they were, and go back."""
    write(journal, *map(record, range(3)))
    rotated = Path(f"{journal}.1")
    journal.rename(rotated)
    write(journal, *map(record, range(3, 6)))
    with open(rotated, "rb") as held, holding(held), running(journal) as started:
        counter = started._journals[0]
        wait_until(lambda: counter._counts[ALLOWED] == 3)
        time.sleep(0.2)
        assert allowed(started, journal) == -1
        fcntl.flock(held, fcntl.LOCK_UN)
        wait_until(lambda: allowed(started, journal) == 6)


# --- each record once


def test_counts_torn_lines_once(journal: Path) -> None:
    write(journal, record(1))
    with open(journal, "ab") as file:
        file.write(b'{"torn')
    for _ in range(2):
        assert TORN not in count_once(journal), "it may be finished yet"
    write(journal, record(2))
    for _ in range(2):
        counts = count_once(journal)
        assert counts[TORN] == 1
        assert counts[ALLOWED] == 2


def test_counts_each_record_once_through_restarts_and_rotation(journal: Path) -> None:
    total = 0
    for number in range(12):
        write(journal, *map(record, range(5)))
        total += 5
        with running(journal) as started:
            if number % 3 == 0:  # else it may be killed before anything was kept
                wait_for(started, journal, total)
            if number % 2:
                rotate(journal, number)
                write(journal, record(number))
                total += 1
            if number % 4 == 1:
                wait_for(started, journal, total)
    assert count_once(journal)[ALLOWED] == total


def wait_for(started: Counting, journal: Path, total: int) -> None:
    """Wait until so many requests are shown as allowed."""
    wait_until(lambda: allowed(started, journal) == total)


def rotate(journal: Path, number: int) -> None:
    """Rename the journal, and compress what was renamed before."""
    before = Path(f"{journal}.{number - 2}")
    if before.exists():
        subprocess.run(["gzip", before], check=True)
    journal.rename(f"{journal}.{number}")


def test_no_counter_is_shown_below_what_was_shown_before_a_kill(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown need not be kept: it is counted again before anything is shown."""
    highest = 0.0
    for number in range(10):
        write(journal, *map(record, range(100)))
        with monkeypatch.context() as patch, running(journal) as started:
            if number % 2:
                patch.setattr(CountedFile, "write", lambda file, state: None)
            wait_until(lambda: allowed(started, journal) >= 0)
            assert allowed(started, journal) >= highest
            highest = max(highest, allowed(started, journal))
    assert highest >= 900


# --- what must not hold it up


def test_a_full_disk_does_not_hold_it_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = tmp_path / "audit.jsonl"
    with mounted(tmp_path / "disk", "size=64k") as disk:
        file = CountedFile(f"{disk}/counted.json")
        started = Counting([str(journal)], file, file.read())
        started.count_once()
        started.start()
        with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as filler:
            while filler.write(b"x" * 4096):
                pass
        write(journal, *map(record, range(5)))
        wait_until(lambda: "No space left on device" in caplog.text)
        wait_until(lambda: allowed(started, journal) == 5)
        assert [f"the counts {file.path} can't be written: " in error for error in started.errors()] == [True]
        write(journal, record(5))
        wait_until(lambda: allowed(started, journal) == 6)
        assert caplog.text.count("can't be written") == 1, "it is logged once, not each second"
        (disk / "filler").unlink()
        wait_until(lambda: started.errors() == [])
        assert file.read()[str(journal)].counts[ALLOWED] == 6
        kill(started)
        file.close()


@pytest.mark.parametrize("number", [28, 5, 13, 30])
def test_a_file_that_can_not_be_written_does_not_hold_it_up(
    journal: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    with running(journal) as started, monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        write(journal, record(1))
        wait_until(lambda: allowed(started, journal) == 1)
        wait_until(lambda: os.strerror(number) in str(started.errors()))


def test_a_disk_that_hangs_does_not_hold_it_up(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, mended = threading.Event(), threading.Event()

    def hang(self: CountedFile, state: object) -> None:
        hanging.set()
        mended.wait(60)

    monkeypatch.setattr(CountedFile, "write", hang)
    monkeypatch.setattr(counting, "_LAST_SAVE_WAIT", 0.1)
    with running(journal) as started:
        write(journal, record(1))
        assert hanging.wait(30)
        write(journal, record(2))
        wait_until(lambda: allowed(started, journal) == 2)
        started.save()  # the end of the process does not wait for it either
        mended.set()


def test_an_unreadable_journal_holds_up_no_other(
    journal: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "MAX_BEHIND", 0.5)
    bad = tmp_path / "bad.jsonl"
    count_once(journal, bad)
    os.symlink(bad, bad)
    with running(journal, bad) as started:
        write(journal, record(1))
        wait_until(lambda: allowed(started, journal) == 1)
        assert allowed(started, bad) == -1
        wait_until(lambda: started.behind()[str(bad)] > 0.6)
        assert f"{bad}: it can't be counted: " in started.errors()[0]
        assert caplog.text.count("it can't be counted") == 1
        bad.unlink()
        write(bad, record(2))
        wait_until(lambda: allowed(started, bad) == 1)
        assert started.errors() == []
        bad.unlink()
        os.symlink(bad, bad)
        wait_until(lambda: allowed(started, bad) == -1)  # its counters stand still, and would leap
        assert allowed(started, journal) == 1


def test_a_journal_that_hangs_holds_up_no_other(journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "bad.jsonl"
    count_once(bad, journal)
    mended = threading.Event()
    real = Follower.take

    def take(self: Follower, *arguments: Any) -> Any:
        if self.path == str(bad):
            mended.wait(60)
        return real(self, *arguments)

    monkeypatch.setattr(Follower, "take", take)
    with running(bad, journal) as started:
        write(journal, record(1))
        wait_until(lambda: allowed(started, journal) == 1)
        assert allowed(started, bad) == -1
        mended.set()
        wait_until(lambda: allowed(started, bad) == 0)


def test_a_record_that_can_not_be_counted_is_left_out(
    journal: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = counters.count

    def count(found: dict[str, Any]) -> Any:
        if found["attachments"][0]["content"]["image_name"] == "2":
            raise RuntimeError("a defect")
        return real(found)

    monkeypatch.setattr(counters, "count", count)
    write(journal, *map(record, range(1, 4)))
    with running(journal) as started:
        wait_until(lambda: allowed(started, journal) == 2)
        assert f"{journal}: counting failed" in caplog.text
        wait_until(lambda: started.errors() == [])


# --- the file


def test_people_can_read_the_file(journal: Path) -> None:
    write(journal, record(1))
    count_once(journal)
    document = json.loads((journal.parent / "counted.json").read_bytes())
    assert document["version"] == 1
    [[path, counted]] = document["journals"].items()
    assert path == str(journal)
    assert counted["counts"] == [["requests", "createImage", "allow", "", "enforce", 1.0]]


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", "null", '{"version": 2}', '{"version": 1, "journals": 3}', "[" * 9000]
    + [f'{{"version": 1, "journals": {{"/j": {journal}}}}}' for journal in ("null", "{}", '{"position": null}')],
)
def test_a_damaged_file_begins_anew_and_keeps_nothing_from_the_bus(
    journal: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    file = journal.parent / "counted.json"
    write(journal, record(1))
    file.write_text(content)
    assert count_once(journal) == {}
    assert f"{file} holds no counts (" in caplog.text
    write(journal, record(2))
    assert count_once(journal)[ALLOWED] == 1


def test_two_processes_can_not_have_one_file(journal: Path) -> None:
    with counting_of(journal), pytest.raises(BlockingIOError, match="another relay uses the counts"):
        CountedFile(f"{journal.parent}/counted.json")

"""The relay with a bus in this process: what it publishes, retries, counts and gives up."""

from __future__ import annotations

import errno
import json
import os
import types
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tenacity", reason="no tenacity in this virtualenv")

from imagefilter.journal import files
from imagefilter.journal.position import Position
from imagefilter.relay import counters, loop
from imagefilter.relay.checkpoint import State
from imagefilter.relay.progress import Progress
from imagefilter.relay.publisher import Refused
from tests.relay.fakes import NO_BUS, Folder, record, write
from tests.unit.relay.fakes import FakePublisher, load_settings, read_counts, run_once


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(loop, "LONGEST_WAIT", 0.01)


# --- publishing


def test_publishes_each_record_once(folder: Folder) -> None:
    records = [record(number) for number in range(5)]
    write(folder.journal, *records[:3])
    assert run_once(folder, publisher := FakePublisher())[0]
    write(folder.journal, *records[3:])
    assert run_once(folder, publisher)[0]
    assert publisher.published == records


def test_retries_when_the_bus_fails_and_keeps_the_order(folder: Folder) -> None:
    records = [record(number) for number in range(3)]
    write(folder.journal, *records)
    publisher = FakePublisher(None, OSError("down"), RuntimeError("down"))
    assert run_once(folder, publisher)[0]
    assert publisher.published == records
    assert read_counts(folder)[counters.RETRIED.series()] == 2


def test_waits_longer_before_each_attempt(
    folder: Folder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "FIRST_WAIT", 0.25)
    monkeypatch.setattr(loop, "LONGEST_WAIT", 10.0)
    waits: list[float] = []
    # Not time.sleep itself, which other threads of this process call as well.
    monkeypatch.setattr("tenacity.nap.time", types.SimpleNamespace(sleep=waits.append))
    folder.set(NO_BUS, retries=8)
    write(folder.journal, record(1))
    assert not run_once(folder, FakePublisher(*[OSError("down")] * 8))[0]
    assert len(waits) == 7
    for attempt, seconds in enumerate(waits):
        longest = min(0.5 * 2**attempt, 10)
        assert longest / 2 <= seconds <= longest
    assert "failed (attempt 7): OSError: down; next attempt in " in caplog.text


def test_once_gives_up_and_loses_nothing(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    write(folder.journal, record(1))
    publisher = FakePublisher(*[OSError("down")] * 100)
    assert not run_once(folder, publisher)[0]
    assert len(publisher.failures) == 95
    assert "given up" in caplog.text
    assert run_once(folder, publisher := FakePublisher())[0]
    assert len(publisher.published) == 1


def test_sends_a_refused_record_to_the_dead_letters_and_from_there_to_the_bus(folder: Folder) -> None:
    records = [record(number) for number in range(3)]
    write(folder.journal, *records)
    publisher = FakePublisher(None, *[Refused("too large", again=True)] * 5)
    assert not run_once(folder, publisher)[0]
    assert publisher.published == [records[0], records[2]]
    assert read_counts(folder)[counters.DEAD_LETTERED.series(journal=str(folder.journal))] == 1
    folder.set(NO_BUS, journals=folder.dead_letters)
    assert run_once(folder, publisher)[0]
    assert publisher.published[-1] == records[1]


def test_publishes_nothing_more_while_the_dead_letters_can_not_be_written(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder.journal, record(1), record(2))
    failures = iter([OSError("full"), OSError("full")])
    append = loop.writer.append

    def fail_twice(path: str, line: bytes) -> None:
        for failure in failures:
            raise failure
        append(path, line)

    monkeypatch.setattr(loop.writer, "append", fail_twice)
    publisher = FakePublisher(Refused("no", again=False))
    assert not run_once(folder, publisher)[0]
    assert len(folder.dead_letters.read_bytes().splitlines()) == 1
    assert len(publisher.published) == 1


def test_leaves_an_unfinished_line_for_later(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    write(folder.journal, record(1))
    with open(folder.journal, "ab") as file:
        file.write(b'{"torn')
    for _ in range(2):
        assert run_once(folder, FakePublisher())[0]
        assert "the last line is unfinished: it is left for later" in caplog.text
        assert "torn line" not in caplog.text
    write(folder.journal, record(2))
    run_once(folder, publisher := FakePublisher())
    assert len(publisher.published) == 1
    assert "a torn line of 6 bytes; its writer died" in caplog.text


# --- several journals


def test_a_long_journal_keeps_no_other_waiting(folder: Folder, tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    folder.set(NO_BUS, journals=f"{first}, {second}")
    first.write_text("".join(json.dumps(record(number, which="first")) + "\n" for number in range(1000)))
    write(second, record(0, which="second"))
    run_once(folder, publisher := FakePublisher())
    order = [published["attachments"][0]["content"]["which"] for published in publisher.published]
    assert order.index("second") < 500
    assert len(order) == 1001


def test_logs_a_journal_that_does_not_exist_since_its_name_may_be_misspelt(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    assert run_once(folder, FakePublisher())[0]
    assert f"{folder.journal} does not exist yet" in caplog.text


def test_an_unreadable_journal_keeps_no_other_waiting(folder: Folder, tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    os.symlink(first, first)
    folder.set(NO_BUS, journals=f"{first}, {second}")
    write(second, record(0))
    is_done, relay = run_once(folder, publisher := FakePublisher())
    assert not is_done
    assert len(publisher.published) == 1
    assert "Too many levels of symbolic links" in relay.progress()[str(first)].last_error
    assert relay.progress()[str(second)].last_error == ""


def test_an_unreadable_rotated_file_holds_up_its_journal(
    folder: Folder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records come in order, and none is lost: which ones are in the file nobody knows before it can be read."""
    records = [record(number) for number in range(2)]
    write(folder.journal, records[0])
    rotated = Path(f"{folder.journal}-20261126")
    folder.journal.rename(rotated)
    write(folder.journal, records[1])
    open_file = files.open_file

    def refuse(path: str) -> Any:
        if path == str(rotated):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return open_file(path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "open_file", refuse)
        is_done, relay = run_once(folder, publisher := FakePublisher())
    assert (is_done, publisher.published) == (False, [])
    reason = f"it can't be read: [Errno 13] Permission denied: '{rotated}'"
    assert relay.progress()[str(folder.journal)].last_error == reason
    assert f"{folder.journal}: {reason}" in caplog.text
    assert run_once(folder, publisher)[0]
    assert publisher.published == records


def test_keeps_the_place_of_a_journal_that_is_not_followed_now(folder: Folder, tmp_path: Path) -> None:
    write(folder.journal, record(1))
    run_once(folder, FakePublisher())
    other = tmp_path / "b.jsonl"
    write(other, record(2))
    folder.set(NO_BUS, journals=other)
    run_once(folder, FakePublisher())
    folder.set(NO_BUS)
    run_once(folder, publisher := FakePublisher())
    assert publisher.published == []


# --- counters and lag


def test_counters_never_go_back_and_count_no_record_twice(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus takes a counter that is less than before for one that began at zero again."""
    published = counters.PUBLISHED.series(journal=str(folder.journal))
    write(folder.journal, *[record(number) for number in range(10)])
    with monkeypatch.context() as patch:
        patch.setattr(loop.Relay, "_save", lambda relay, **arguments: None)
        for _ in range(3):  # killed each time before its checkpoint
            relay = new_relay(folder, publisher := FakePublisher())
            relay.run(once=True)
            assert len(publisher.published) == 10
            assert relay.saved_counts() == {}, "only what is in the checkpoint is exposed"
    _, relay = run_once(folder, FakePublisher())
    assert relay.saved_counts()[published] == 10
    write(folder.journal, record(10))
    _, relay = run_once(folder, FakePublisher())
    assert relay.saved_counts()[published] == 11


def test_without_a_bus_nothing_counts_as_published(folder: Folder) -> None:
    folder.set("", listen_port=1)
    write(folder.journal, record(1))
    assert run_once(folder, FakePublisher())[0]
    assert read_counts(folder) == {}


def test_a_backlog_always_has_a_lag(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even between two records is it zero: an alert would begin anew each time that Prometheus came just then."""
    write(folder.journal, *[record(number) for number in range(20)])
    relay = new_relay(folder, FakePublisher())
    observed: list[float | None] = []

    def observe(**arguments: Any) -> None:
        observed.append(relay.progress()[str(folder.journal)].pending_since)

    monkeypatch.setattr(relay, "_save", observe)
    monkeypatch.setattr(relay, "_save_if_due", observe)
    relay.run(once=True)
    assert len(observed) > 20
    assert None not in observed[:20]
    assert observed[-1] is None


def new_relay(folder: Folder, publisher: FakePublisher) -> loop.Relay:
    """Return a relay without a checkpoint."""
    return loop.Relay(load_settings(folder), State({}, {}), publisher, None)  # type: ignore[arg-type]


def test_the_lag_is_the_age_of_what_is_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    assert Progress(Position(), None, "").lag_seconds == 0
    assert Progress(Position(), 990.0, "").lag_seconds == 10
    assert Progress(Position(), 1001.0, "").lag_seconds == 0, "a clock that was put back"

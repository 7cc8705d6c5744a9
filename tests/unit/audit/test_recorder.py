"""There is no image without a record, and what can't be recorded is counted and logged."""

from __future__ import annotations

import errno
import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from imagefilter import filter_factory
from imagefilter.journal import writer
from tests.cases import image
from tests.records import parse_requests
from tests.unit.fakes import AUTHENTICATED, FORK, PATH, Guarded, Journalled, get_content, read_lines
from tests.wsgi import build_environ, send

UNRECORDED = {"serviceUnavailable": {"message": "The request could not be recorded.", "code": 503}}


def get_errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelname == "ERROR"]


def fail(path: str, line: bytes) -> None:
    """Append nothing to a journal: the disk fails."""
    raise OSError(errno.EIO, "says the disk")


# --- what is recorded


def test_does_not_record_what_is_not_judged(guarded: Journalled) -> None:
    guarded.post({"shelve": None})
    guarded.post({"reboot": {"type": "HARD"}})
    guarded.send("GET", "/v2.1/servers", b"")
    assert guarded.records() == []


def test_does_not_record_a_bare_401(guarded: Journalled) -> None:
    """Otherwise strangers could fill the disk."""
    response = send(guarded.app, "POST", PATH, image())
    assert response.status_int == 401
    assert guarded.records() == []


def test_a_forked_filter_writes_on(guarded: Journalled) -> None:
    """Some servers load the application and then fork."""

    def post_twenty() -> None:
        for _ in range(20):
            guarded.post(image())

    processes = [FORK.Process(target=post_twenty) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    records = guarded.records()
    assert len(records) == 160
    assert len({record["id"] for record in records}) == 160


def test_records_are_lines_of_a_logger_without_a_journal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "imagefilter.audit")
    guarded = Guarded()
    assert "audit_journal is not set" in caplog.text
    guarded.post(image())
    lines = [record for record in caplog.records if record.name == "imagefilter.audit"]
    assert [json.loads(line.getMessage())["eventType"] for line in lines] == ["control", "control", "activity"]
    assert {line.levelname for line in lines} == {"INFO"}


# --- what can't be recorded


def test_refuses_what_cannot_be_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    guarded = Journalled(folder, audit_on_error="deny")
    guarded.post(image())
    folder.rename(tmp_path / "elsewhere")
    assert guarded.post(image()).json == UNRECORDED
    assert guarded.post({"createImage": {}}).json == UNRECORDED
    assert len(guarded.bodies) == 1, "nothing is forwarded without its record"
    assert "a record (verdict) could not be written to audit_journal" in caplog.text
    assert "audit_on_error is deny" in caplog.text
    (tmp_path / "elsewhere").rename(folder)
    guarded.post(image())
    assert [content.get("unrecorded") for content in guarded.contents()] == [None, None, 2, None]


def test_forwards_what_cannot_be_recorded_where_that_is_allowed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    guarded = Journalled(folder, audit_on_error="allow")
    guarded.post(image())
    folder.rename(tmp_path / "elsewhere")
    assert guarded.post(image()).status_int == 202
    assert guarded.post({"createImage": {}}).status_int == 400
    assert len(guarded.bodies) == 2
    assert "a record (verdict) could not be written to audit_journal" in caplog.text
    assert "audit_on_error is allow" in caplog.text
    (tmp_path / "elsewhere").rename(folder)
    guarded.post(image())
    unrecorded = [content.get("unrecorded") for content in guarded.contents()]
    assert unrecorded == [None, None, 3, None], "two verdicts and an outcome"


def test_an_outcome_that_cannot_be_recorded_changes_no_response(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        folder.rename(tmp_path / "elsewhere")
        start_response("202 Accepted", [("X", "y")])
        return [b"response"]

    guarded = filter_factory({}, audit_journal=str(folder / "audit.jsonl"))(app)
    started: list[Any] = []
    chunks = guarded(build_environ("POST", "/v2.1/x", image(), **AUTHENTICATED), lambda *args: started.append(args))
    assert b"".join(chunks) == b"response"
    assert started == [("202 Accepted", [("X", "y")])]
    assert len(parse_requests(read_lines(tmp_path / "elsewhere" / "audit.jsonl"))) == 1
    [error] = get_errors(caplog)
    assert "(outcome)" in error.getMessage()


@pytest.fixture
def _no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every event fail to be built."""
    monkeypatch.setattr("imagefilter.audit.event.describe_target", lambda *args: 1 / 0)


@pytest.mark.usefixtures("_no_target")
def test_a_record_that_cannot_be_built_is_like_one_that_cannot_be_written(
    guarded: Journalled, caplog: pytest.LogCaptureFixture
) -> None:
    assert guarded.post(image()).status_int == 503
    assert guarded.bodies == []
    [error] = get_errors(caplog)
    assert error.getMessage() == (
        f"a record (verdict) could not be written to audit_journal {guarded.path}: ZeroDivisionError: see the"
        " traceback; 1 so far; the request is refused (audit_on_error is deny)"
    )
    assert error.exc_info
    assert error.exc_info[0] is ZeroDivisionError


@pytest.mark.usefixtures("_no_target")
def test_an_outcome_without_a_verdict_is_not_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    guarded = Journalled(tmp_path, audit_on_error="allow")
    assert guarded.post(image()).status_int == 202
    assert len(get_errors(caplog)) == 1
    assert guarded.records() == []


def test_the_log_names_the_error_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = Journalled(tmp_path, audit_on_error="allow")
    monkeypatch.setattr(writer, "append", fail)
    assert guarded.post(image()).status_int == 202
    reason = f"could not be written to audit_journal {guarded.path}: OSError: [Errno 5] says the disk"
    verdict, outcome = get_errors(caplog)
    assert (
        verdict.getMessage()
        == f"a record (verdict) {reason}; 1 so far; the request is forwarded (audit_on_error is allow)"
    )
    assert (
        outcome.getMessage() == f"a record (outcome) {reason}; 2 so far; the response is sent (audit_on_error is allow)"
    )
    assert not verdict.exc_info
    assert not outcome.exc_info


def test_few_threads_wait_for_a_stopped_writer(guarded: Journalled, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others give up in a moment, so that threads are left for all that is no image action."""
    patience: list[float] = []
    all_are_there = threading.Barrier(9)

    def wait(path: str, line: bytes, seconds: float = writer.LOCK_SECONDS) -> None:
        patience.append(seconds)
        all_are_there.wait(20)

    guarded.post(image())
    monkeypatch.setattr(writer, "append", wait)
    threads = [threading.Thread(target=guarded.post, args=({"createImage": {"name": ""}},)) for _ in range(8)]
    for thread in threads:
        thread.start()
    all_are_there.wait(20)
    for thread in threads:
        thread.join()
    assert sorted(patience) == [0.05] * 4 + [1.0] * 4


def test_all_threads_wait_for_a_slow_disk(guarded: Journalled, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as records of this process are written, nobody is refused for the sake of a moment."""
    append = writer.append
    one_at_a_time = threading.Lock()

    def append_slowly(path: str, line: bytes, seconds: float = writer.LOCK_SECONDS) -> None:
        if not one_at_a_time.acquire(timeout=seconds):
            raise TimeoutError("another one writes")
        try:
            time.sleep(0.03)
            append(path, line)
        finally:
            one_at_a_time.release()

    guarded.post(image())
    monkeypatch.setattr(writer, "append", append_slowly)
    statuses: list[int] = []
    refused = {"createImage": {"name": ""}}
    threads = [threading.Thread(target=lambda: statuses.append(guarded.post(refused).status_int)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [400] * 12


def test_counts_records_that_are_lost_while_others_are_written(
    guarded: Journalled, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded.post(image())
    requests_meanwhile = iter([0, 2])

    def fail_slowly(path: str, line: bytes) -> None:
        for _ in range(next(requests_meanwhile, 0)):  # of another thread
            guarded.post(image())
        fail(path, line)

    with monkeypatch.context() as broken:
        broken.setattr(writer, "append", fail_slowly)
        guarded.post(image())
        guarded.post(image())
    guarded.post(image())
    assert get_content(guarded.records()[2])["unrecorded"] == 4


def test_the_log_of_a_loss_has_no_secrets(
    guarded: Journalled, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(writer, "append", fail)
    guarded.post(image("secret-name", {"k": "secret-value"}), HTTP_X_AUTH_TOKEN="secret-token")
    assert "could not be written" in caplog.text
    assert "secret" not in caplog.text

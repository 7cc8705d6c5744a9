"""``imagefilter audit follow``: records as they are written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

pytest.importorskip("cliff")

from imagefilter.cli.audit_follow import sentence
from tests.cases import image
from tests.unit.journal_fixtures import Writer

# A shell that runs these tests in the background ignores SIGINT, and its children inherit that.
HEED_SIGINT = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
FOLLOW = [sys.executable, "-c", HEED_SIGINT + "from imagefilter.cli import main; sys.exit(main())", "audit", "follow"]


@pytest.fixture
def follow(writer: Writer) -> Iterator[Any]:
    """Start the command, and wait until it follows the journal."""
    processes: list[subprocess.Popen[str]] = []
    timers: list[threading.Timer] = []

    def start(*args: object, expect: Sequence[str] = ()) -> subprocess.Popen[str]:
        command = [str(arg) for arg in (*FOLLOW, "--journal", writer.path, *args)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        timers.append(threading.Timer(90, process.kill))  # no test waits for a line for ever
        timers[-1].start()
        assert process.stderr
        for beginning in expect:
            assert process.stderr.readline().startswith(beginning)
        assert process.stderr.readline() == f"following {writer.path}; Ctrl-C ends it\n"
        return process

    yield start
    for process, timer in zip(processes, timers):
        timer.cancel()
        process.kill()
        process.communicate()


def read_lines(process: Any, count: int) -> list[str]:
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


@pytest.mark.slow
def test_follows_through_rotation(writer: Writer, follow: Any) -> None:
    old = writer.post(image("old"))
    process = follow("--all")
    policy, verdict, _ = read_lines(process, 3)
    assert policy.split("  ")[1].startswith("policy ")
    assert old in verdict
    new = writer.post(image("N0"))
    assert read_lines(process, 1)[0].split("  ")[1:3] == ["deny", "name-pattern"]
    writer.rotate(".1")
    after = writer.post(image("after"))
    verdict, outcome = read_lines(process, 2)
    assert (after in verdict, "allow" in verdict, "response  202" in outcome) == (True, True, True)
    assert new not in verdict + outcome
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


@pytest.mark.slow
def test_begins_at_the_end_and_filters(writer: Writer, ids: dict[str, str], follow: Any) -> None:
    process = follow("--json", "--verdict", "would_deny")
    writer.post(image("good"))
    writer.post(image("N0"))
    request = writer.post(image("warned", {"owner": "me"}))
    verdict, outcome = map(json.loads, read_lines(process, 2))
    assert verdict["initiator"]["request_id"] == request
    assert outcome["attachments"][0]["content"]["verdict_id"] == verdict["id"]


@pytest.mark.slow
def test_a_name_of_two_is_a_warning(writer: Writer, follow: Any) -> None:
    """As soon as the second of them asks."""
    process = follow("--user", "admin")
    writer.post(image("good"), user="admin")
    writer.post(image("good"), user="other", HTTP_X_USER_NAME="admin")
    read_lines(process, 4)
    warning = process.stderr.readline()
    assert warning == "warning: --user admin is 2 users: admin (admin-id), admin (other-id); choose one by its id\n"


@pytest.mark.slow
def test_says_what_it_left_out(writer: Writer, follow: Any) -> None:
    writer.path.write_text('{"id": \n{"id": "x"}\n{"id": "y", "attachments": []}\n')
    writer.path.with_name("audit-2026-W48.jsonl").write_text("{}\n")
    request = writer.post(image("good"))
    process = follow("--all", expect=[f"warning: {writer.path.with_name('audit-2026-W48.jsonl')}: not read: its name"])
    assert request in read_lines(process, 2)[1]
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 1
    err = process.stderr.read()  # not communicate(), which does not see what readline() has read ahead
    assert err.splitlines() == [
        f"warning: {writer.path}: not a JSON object: its writer may have died in the middle of it",
        f"warning: {writer.path}: not a record of imagefilter",
        f"warning: {writer.path}: not a record of imagefilter",
        "left out: files: 1, lines: 3",
    ]


def test_texts_of_clients_do_not_control_the_terminal(writer: Writer) -> None:
    writer.post(image("\x1b[2J\x07\u202egood\n"), HTTP_USER_AGENT="\x1b]0;x\x07")
    for record in writer.records():
        assert sentence(record).isprintable()

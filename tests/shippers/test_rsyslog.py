"""The shipped file for rsyslog, run by the real rsyslog: nothing is lost, and what comes twice has an id."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagefilter.journal.writer import append
from tests.paths import ETC
from tests.shippers.receiver import Receiver

RSYSLOG = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin:/sbin")
LOGROTATE = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin:/sbin")
SHIPPED = ETC / "shippers" / "rsyslog.conf"
LOGROTATE_FILE = ETC / "logrotate"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.servers,
    pytest.mark.skipif(not RSYSLOG, reason="rsyslog is not installed"),
    pytest.mark.skipif(not LOGROTATE, reason="logrotate is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may run rsyslog and logrotate as they are installed"),
]

# What Debian's rsyslog.conf says beside: local logs, and where state is kept.
MAIN = """
module(load="imuxsock" SysSock.Use="off")
global(workDirectory="{folder}/spool")
include(file="{folder}/imagefilter.conf")
*.* {folder}/syslog
"""


PADDING = "." * 1500  # a record is about this long


class Host:
    """A host with a journal, logrotate and rsyslog, as they are shipped but for paths, times and the receiver."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self.main = folder / "rsyslog.conf"
        self.journal = folder / "log" / "audit.jsonl"
        self.written: list[bytes] = []
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("log", "spool"):
            (folder / name).mkdir()
        self._write_config(port)

    def _write_config(self, port: int) -> None:
        logs = str(self._folder / "log")
        text = SHIPPED.read_text().replace("/var/log/imagefilter", logs)
        text = text.replace("siem.example.org", "127.0.0.1").replace('"6514"', f'"{port}"')
        (self._folder / "imagefilter.conf").write_text(text)
        self.main.write_text(MAIN.format(folder=self._folder))
        # One rotation a second, where the file says one a day.
        rotation = LOGROTATE_FILE.read_text().replace("/var/log/imagefilter", logs).replace("-%Y%m%d", "-%Y%m%d-%s")
        (self._folder / "logrotate.conf").write_text(rotation)

    def compress_nothing(self) -> None:
        """Let files stay as they are: a second after they were renamed is not a day, even for a busy machine."""
        path = self._folder / "logrotate.conf"
        path.write_text(path.read_text().replace("    compress\n", "    nocompress\n"))

    def start(self) -> None:
        command = [str(RSYSLOG), "-n", "-i", str(self._folder / "pid"), "-f", str(self.main)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process:
            self._process.send_signal(number)
            self._process.wait(30)
            (self._folder / "pid").unlink(missing_ok=True)
        self._process = None

    def write(self, count: int, pause: float = 0.002, **fields: Any) -> None:
        for _ in range(count):
            line = json.dumps({"id": f"{len(self.written)}", "padding": PADDING, **fields}).encode()
            append(str(self.journal), line)
            self.written.append(line)
            time.sleep(pause)

    def rotate(self) -> None:
        command = [str(LOGROTATE), "--force", "--state", str(self._folder / "state")]
        subprocess.run([*command, str(self._folder / "logrotate.conf")], check=True, capture_output=True)
        time.sleep(1.05)  # names of rotated files contain the second

    def local_log(self) -> str:
        path = self._folder / "syslog"
        if path.exists():
            return path.read_text()
        return ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.start()
    yield receiver
    receiver.stop()


@pytest.fixture
def host(public: Path, receiver: Receiver) -> Iterator[Host]:
    host = Host(public, receiver.port)
    yield host
    host.stop(signal.SIGKILL)


def test_the_file_is_right(host: Host) -> None:
    command = [str(RSYSLOG), "-N1", "-f", str(host.main)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "error" not in checked.stderr


def test_sends_each_record_once_and_as_it_is(host: Host, receiver: Receiver) -> None:
    host.write(200)
    host.start()
    host.write(200)
    host.write(1, text='%msg% $!x \\u0000 {"a": [1]} \u00e9')
    host.write(1, text="x" * 100_000)
    receiver.wait_for(set(host.written))
    assert receiver.lines == host.written
    assert "x" * 100 not in host.local_log()


def test_rotation_loses_nothing(host: Host, receiver: Receiver) -> None:
    host.start()
    writing = threading.Thread(target=host.write, args=(2000,))
    writing.start()
    while writing.is_alive():
        host.rotate()
    writing.join()
    receiver.wait_for(set(host.written))
    assert sorted(receiver.lines) == sorted(host.written)


def test_says_only_of_what_was_sent_that_it_is_done() -> None:
    """With an interval, rsyslog writes its state before it sends: a kill in between lost hundreds of records."""
    settings = [line for line in SHIPPED.read_text().splitlines() if not line.startswith("#")]
    assert "persiststateinterval" not in "".join(settings).lower()
    assert "".join(settings).count('persistStateAfterSubmission="on"') == 2


def test_a_kill_loses_nothing(host: Host, receiver: Receiver) -> None:
    """Also one with a rotation before the restart. What comes again is a whole record, with its id."""
    host.compress_nothing()
    host.start()
    writing = threading.Thread(target=host.write, args=(3000,))
    writing.start()
    kills = 0
    while writing.is_alive():
        time.sleep(0.7)
        host.stop(signal.SIGKILL)
        kills += 1
        if kills % 2:
            host.rotate()
        host.start()
    writing.join()
    receiver.wait_for(set(host.written))
    assert set(receiver.lines) == set(host.written)
    assert kills >= 3


def test_a_kill_at_rest_repeats_nothing(host: Host, receiver: Receiver) -> None:
    """In the middle of its work it may: then it begins a file anew."""
    host.compress_nothing()
    host.start()
    for _ in range(3):
        host.write(100)
        receiver.wait_for(set(host.written))
        time.sleep(0.5)
        host.stop(signal.SIGKILL)
        host.write(10)
        host.rotate()
        host.write(10)
        host.start()
    receiver.wait_for(set(host.written))
    assert receiver.lines == host.written


def test_a_restart_loses_nothing(host: Host, receiver: Receiver) -> None:
    host.compress_nothing()
    host.start()
    for _ in range(4):
        host.write(100)
        host.stop()
        host.write(50)
        host.rotate()
        host.write(50)
        host.start()
        time.sleep(1)
    receiver.wait_for(set(host.written))
    assert set(receiver.lines) == set(host.written)


def test_waits_for_a_receiver_that_is_away(host: Host, receiver: Receiver) -> None:
    receiver.stop()
    host.start()
    host.write(100)
    time.sleep(2)
    host.rotate()
    host.write(100)
    receiver.start()
    receiver.wait_for(set(host.written))
    assert set(receiver.lines) == set(host.written)

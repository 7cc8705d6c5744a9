"""Records as the filter writes them, a relay in a process of its own, and what a consumer got."""

from __future__ import annotations

import contextlib
import copy
import datetime
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

from imagefilter.cli import app
from imagefilter.journal import append
from tests.cases import image
from tests.unit.small import Guarded
from tests.unit.test_journal import FORK, ROOT

TOKEN = "the-token-of-alice"


@functools.cache
def templates() -> list[dict[str, Any]]:
    """An allow, its outcome, and a deny, as the filter itself records them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "audit.jsonl")
        guarded = Guarded(audit_journal=str(path))
        guarded.post(image("nightly", {"k": "secret-value"}), HTTP_X_AUTH_TOKEN=TOKEN)
        guarded.post({"createImage": {}}, HTTP_X_AUTH_TOKEN=TOKEN)
        return [json.loads(line) for line in path.read_bytes().splitlines()]


def record(n: int, kind: int = 0, **content: Any) -> dict[str, Any]:
    """A record of its own; ``n`` is where its image's name is."""
    made = copy.deepcopy(templates()[kind])
    made["id"] = str(uuid.uuid4())
    made["eventTime"] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")
    made["attachments"][0]["content"].update(image_name=str(n), **content)
    return made


def write(path: Path, *records: dict[str, Any]) -> None:
    for each in records:
        append(str(path), json.dumps(each, separators=(",", ":")).encode("ascii"))


class Folder:
    """A host's files: a journal, and a config file of the relay's."""

    def __init__(self, path: Path, url: str, **options: Any) -> None:
        self.path = path
        self.journal = path / "audit.jsonl"
        self.topic = f"t{uuid.uuid4().hex[:8]}"
        self.log = path / "relay.log"
        self.log.touch()
        self.config = path / "imagefilter.conf"
        self.checkpoint = Path(options.pop("checkpoint", path / "relay.json"))
        self.dead_letters = path / "dead-letters.jsonl"
        self.set(url, **options)

    def set(self, url: str, **options: Any) -> None:
        options = {
            "journals": self.journal,
            "transport_url": url,
            "topics": self.topic,
            "checkpoint": self.checkpoint,
            "dead_letters": self.dead_letters,
            "listen_port": 0,
            **options,
        }
        lines = "".join(f"{name} = {value}\n" for name, value in options.items())
        rabbit = "[oslo_messaging_rabbit]\nheartbeat_timeout_threshold = 4\n"
        self.config.write_text(f"[imagefilter]\nmode = warn\n[imagefilter_relay]\n{lines}{rabbit}")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command itself, until it ends."""
        command = [sys.executable, "-W", "ignore", "-m", "imagefilter.cli.app", "relay"]
        command += ["--config-file", str(self.config), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)

    def run(self, *arguments: str) -> tuple[int | None, str]:
        """The same in a forked process: its exit status, and what it said."""
        before = self.log.stat().st_size
        with relaying(self, *arguments) as running:
            status = running.wait(300)
        return status, self.log.read_text()[before:]


class Running:
    """A relay in a forked process: a hundred of them would take long to import what they need."""

    def __init__(self, folder: Folder, *arguments: str) -> None:
        self._process = FORK.Process(
            target=_main, args=(["relay", "--config-file", str(folder.config), *arguments], folder.log)
        )
        self._process.start()

    def signal(self, number: int) -> None:
        os.kill(self._process.pid or 0, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.join()

    def wait(self, seconds: float = 240) -> int | None:
        """Its exit status."""
        self._process.join(seconds)
        return self._process.exitcode

    def end(self) -> int | None:
        """End it as systemd does."""
        self.signal(signal.SIGTERM)
        return self.wait()


def _main(arguments: list[str], log: Path) -> None:
    sys.stdout = sys.stderr = open(log, "a", buffering=1)  # noqa: SIM115
    sys.exit(app.main(arguments))


@contextlib.contextmanager
def relaying(folder: Folder, *arguments: str) -> Iterator[Running]:
    running = Running(folder, *arguments)
    try:
        yield running
    finally:
        if running.wait(0) is None:
            running.kill()


class Consumer:
    """What a consumer in a process of its own was given."""

    def __init__(self, url: str, topic: str, path: Path) -> None:
        self._path = path
        path.touch()
        command = [sys.executable, "-W", "ignore", "-m", "tests.relay.consumer", url, topic, str(path)]
        with open(path.with_suffix(".log"), "ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def size(self) -> int:
        """In bytes, of what came."""
        return self._path.stat().st_size

    def all(self) -> list[dict[str, Any]]:
        """Every notification, in the order in which they came."""
        lines = self._path.read_bytes().split(b"\n")
        return [json.loads(line) for line in lines[:-1]]

    def firsts(self) -> list[str]:
        """The ids of records, each where it came first. What comes again must be the same."""
        first: dict[str, Any] = {}
        for each in self.all():
            payload = each["payload"]
            assert first.setdefault(payload["id"], payload) == payload
            assert each["metadata"]["message_id"] == payload["id"]
        return list(first)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def ids(journal: Path) -> list[str]:
    """The ids of the records in a journal, as it stands."""
    return [json.loads(line)["id"] for line in journal.read_bytes().splitlines()]


def until(condition: Callable[[], Any], seconds: float = 240) -> None:
    """Wait for something."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)

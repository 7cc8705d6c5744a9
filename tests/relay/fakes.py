"""Records as the filter writes them, a relay in a process of its own, and a consumer of its notifications."""

from __future__ import annotations

import contextlib
import copy
import datetime
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

from imagefilter.cli import app
from imagefilter.journal.writer import append
from tests.cases import image
from tests.paths import ROOT
from tests.records import parse_requests
from tests.unit.fakes import FORK, Guarded
from tests.waiting import wait_until

TOKEN = "the-token-of-alice"

#: A bus that nobody listens for.
NO_BUS = "rabbit://relay:broker-secret@127.0.0.1:1/"


@functools.cache
def templates() -> list[dict[str, Any]]:
    """Return an allow, its outcome, and a deny, as the filter itself records them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "audit.jsonl")
        guarded = Guarded(audit_journal=str(path))
        guarded.post(image("nightly", {"k": "secret-value"}), HTTP_X_AUTH_TOKEN=TOKEN)
        guarded.post({"createImage": {}}, HTTP_X_AUTH_TOKEN=TOKEN)
        return parse_requests(path.read_bytes().splitlines())


def record(number: int, template: int = 0, **content: Any) -> dict[str, Any]:
    """Return a record with an id of its own; ``number`` is the name of its image."""
    made = copy.deepcopy(templates()[template])
    made["id"] = str(uuid.uuid4())
    made["eventTime"] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")
    made["attachments"][0]["content"].update(image_name=str(number), **content)
    return made


def write(path: Path, *records: dict[str, Any]) -> None:
    """Append records to a journal."""
    for made in records:
        append(str(path), json.dumps(made, separators=(",", ":")).encode("ascii"))


def read_records(journal: Path) -> list[dict[str, Any]]:
    """Return the records in a journal, in order."""
    return [json.loads(line) for line in journal.read_bytes().splitlines()]


def read_ids(journal: Path) -> list[str]:
    """Return the ids of the records in a journal, in order."""
    return [found["id"] for found in read_records(journal)]


def read_image_name(found: dict[str, Any]) -> str:
    """Return the name of the image that a record is about."""
    name: str = found["attachments"][0]["content"]["image_name"]
    return name


class Folder:
    """The files of a host: a journal, and a config file of the relay's."""

    def __init__(self, path: Path, url: str, **options: Any) -> None:
        self.path = path
        self.journal = path / "audit.jsonl"
        self.topic = f"t{uuid.uuid4().hex[:8]}"
        self.log = path / "relay.log"
        self.log.touch()
        self.config = path / "imagefilter.conf"
        self.checkpoint = Path(options.pop("checkpoint", path / "relay.json"))
        self.counted = Path(f"{self.checkpoint}.counted")
        self.dead_letters = path / "dead-letters.jsonl"
        self.set(url, **options)

    def set(self, url: str, **options: Any) -> None:
        """Write the config file."""
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
        """Run the command in a new process until it ends."""
        command = [sys.executable, "-W", "ignore", "-m", "imagefilter.cli.app", "relay"]
        command += ["--config-file", str(self.config), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)

    def run(self, *arguments: str) -> tuple[int | None, str]:
        """Run it in a forked process; return its exit status and its output."""
        before = self.log.stat().st_size
        with relaying(self, *arguments) as running:
            status = running.wait(300)
        return status, self.log.read_text()[before:]


class Running:
    """A relay in a forked process: importing what it needs a hundred times would take long."""

    def __init__(self, folder: Folder, *arguments: str) -> None:
        command = ["relay", "--config-file", str(folder.config), *arguments]
        self._process = FORK.Process(target=_main, args=(command, folder.log))
        self._process.start()

    def signal(self, number: int) -> None:
        os.kill(self._process.pid or 0, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.join()

    def wait(self, seconds: float = 240) -> int | None:
        """Return its exit status."""
        self._process.join(seconds)
        return self._process.exitcode

    def end(self) -> int | None:
        """End it as systemd does; return its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()


def _main(arguments: list[str], log: Path) -> None:
    sys.stdout = sys.stderr = open(log, "a", buffering=1)  # noqa: SIM115
    sys.exit(app.main(arguments))


@contextlib.contextmanager
def relaying(folder: Folder, *arguments: str) -> Iterator[Running]:
    """Run a relay meanwhile."""
    running = Running(folder, *arguments)
    try:
        yield running
    finally:
        if running.wait(0) is None:
            running.kill()


class Consumer:
    """A consumer in a process of its own, and what it received."""

    def __init__(self, url: str, topic: str, path: Path) -> None:
        self._path = path
        path.touch()
        command = [sys.executable, "-W", "ignore", "-m", "tests.relay.consumer", url, topic, str(path)]
        with open(path.with_suffix(".log"), "ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def size(self) -> int:
        """Return how many bytes it has written of what it received."""
        return self._path.stat().st_size

    def all(self) -> list[dict[str, Any]]:
        """Return every notification, in the order of arrival."""
        lines = self._path.read_bytes().split(b"\n")
        return [json.loads(line) for line in lines[:-1]]

    def payloads(self) -> list[dict[str, Any]]:
        """Return the record in every notification."""
        return [notification["payload"] for notification in self.all()]

    def first_ids(self) -> list[str]:
        """Return the ids of records in the order of their first arrival. What arrives again must be the same."""
        first: dict[str, Any] = {}
        for notification in self.all():
            payload = notification["payload"]
            assert first.setdefault(payload["id"], payload) == payload
            assert notification["metadata"]["message_id"] == payload["id"]
        return list(first)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def free_port() -> int:
    """Return a port of loopback that nobody uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def get(port: int, path: str) -> tuple[int, str]:
    """Return status and body of a relay's response."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def scrape(port: int) -> dict[tuple[str, ...], float]:
    """Return a relay's metrics by name and values of labels; none while it does not listen yet."""
    from prometheus_client.parser import text_string_to_metric_families

    samples: dict[tuple[str, ...], float] = {}
    with contextlib.suppress(OSError):
        for family in text_string_to_metric_families(get(port, "/metrics")[1]):
            for sample in family.samples:
                samples[(sample.name, *sample.labels.values())] = sample.value
    return samples


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, as long as several processes on a busy machine may need."""
    wait_until(condition, seconds=240, interval=0.05)

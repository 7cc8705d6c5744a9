"""Faults of a real RabbitMQ, of the relay and of the disk: nothing is lost, the order is kept, and a record that comes
twice has the same id."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.relay.broker import MAX_MESSAGE_BYTES, PASSWORD, ROOM, SMALL, USER, Broker
from tests.relay.fakes import (
    TOKEN,
    Consumer,
    Folder,
    Running,
    free_port,
    read_ids,
    read_image_name,
    read_records,
    record,
    relaying,
    scrape,
    until,
    write,
)
from tests.unit.fakes import FORK, mounted
from tests.waiting import wait_until


def test_records_arrive_as_they_are_in_the_journal(broker: Broker, make: Any) -> None:
    folder, consumer = make(broker.url())
    write(folder.journal, record(1), record(2, 1), record(3, 2), record(4, verdict="would_deny"))
    write(folder.journal, record(5, verdict="exempt"), record(6, 2, action=None))
    done = folder.command("--once")
    assert done.returncode == 0, done.stderr
    until(lambda: len(consumer.all()) == 6)
    received = consumer.all()
    assert consumer.payloads() == read_records(folder.journal)
    assert [notification["event_type"] for notification in received] == [
        "imagefilter.createImage.allow",
        "imagefilter.createImage.outcome",
        "imagefilter.createImage.deny",
        "imagefilter.createImage.would_deny",
        "imagefilter.createImage.exempt",
        "imagefilter.unknown.deny",
    ]
    assert {notification["publisher_id"] for notification in received} == {f"imagefilter.{socket.gethostname()}"}
    # oslo.messaging adds this one by itself.
    assert [notification["context"] for notification in received] == [{"client_timeout": None}] * 6
    assert TOKEN not in json.dumps(received)
    write(folder.journal, record(7))
    assert folder.run("--once")[0] == 0
    until(lambda: len(consumer.all()) > 6)
    assert consumer.payloads() == read_records(folder.journal), "it publishes none again"


def test_a_broker_is_killed_and_started_again(broker: Broker, make: Any) -> None:
    folder, consumer = make(broker.url())
    with relaying(folder) as relay, writing(folder.journal) as written:
        until(lambda: len(consumer.all()) > 50)
        broker.kill()
        until(lambda: "failed (attempt" in folder.log.read_text())
        broker.start()
        before = len(consumer.all())
        until(lambda: len(consumer.all()) > before + 50)
        written()
        until(lambda: consumer.first_ids() == read_ids(folder.journal))
        assert relay.end() == 0
    assert_no_secrets(folder)


def test_a_broker_is_paused(broker: Broker, make: Any) -> None:
    folder, consumer = make(broker.url())
    with relaying(folder) as relay, writing(folder.journal) as written:
        until(lambda: len(consumer.all()) > 50)
        broker.pause()
        try:
            until(lambda: "failed (attempt" in folder.log.read_text())
        finally:
            broker.resume()
        before = len(consumer.all())
        until(lambda: len(consumer.all()) > before + 50)
        written()
        until(lambda: consumer.first_ids() == read_ids(folder.journal))
        assert relay.end() == 0


def test_a_relay_is_ended_while_its_broker_is_paused(broker: Broker, make: Any) -> None:
    port = free_port()
    folder, consumer = make(broker.url(), listen_port=port)
    lag = ("imagefilter_relay_lag_seconds", str(folder.journal))
    with relaying(folder) as relay:
        write(folder.journal, record(1))
        until(lambda: consumer.all() and scrape(port).get(lag) == 0)
        broker.pause()
        try:
            write(folder.journal, *map(record, range(2, 20)))
            until(lambda: scrape(port).get(lag, 0) > 0)
            assert relay.end() == 0
        finally:
            broker.resume()
    with relaying(folder):
        until(lambda: consumer.first_ids() == read_ids(folder.journal))


def test_a_full_queue(broker: Broker, tmp_path: Path) -> None:
    url = broker.url(SMALL)
    folder = Folder(tmp_path, url)
    write(folder.journal, *map(record, range(3 * ROOM)))
    with relaying(folder) as relay:
        until(lambda: broker.queue_length(SMALL, f"{folder.topic}.info") == ROOM)
        until(lambda: "failed (attempt 3)" in folder.log.read_text())
        consumer = Consumer(url, folder.topic, tmp_path / "consumed.jsonl")
        try:
            until(lambda: consumer.first_ids() == read_ids(folder.journal))
        finally:
            consumer.stop()
        assert relay.end() == 0
    assert not folder.dead_letters.exists(), "no record is given up for lack of room"


def test_refused_credentials(broker: Broker, make: Any) -> None:
    folder, consumer = make(broker.url())
    folder.set(broker.url(password="not-the-password"), retries=2)
    write(folder.journal, *map(record, range(10)))
    status, output = folder.run("--once")
    assert status == 1
    assert "ACCESS_REFUSED" in output
    with relaying(folder) as relay:
        until(lambda: "ACCESS_REFUSED" in folder.log.read_text()[len(output) :])
        assert relay.end() == 0
    assert not folder.dead_letters.exists(), "it is no record's fault"
    folder.set(broker.url())
    with relaying(folder) as relay:
        until(lambda: consumer.first_ids() == read_ids(folder.journal))
        assert relay.end() == 0
    assert "not-the-password" not in folder.log.read_text()
    assert_no_secrets(folder)


def test_a_record_is_refused_for_ever(broker: Broker, make: Any) -> None:
    folder, consumer = make(broker.url(), retries=2)
    large = record(1, filler="x" * MAX_MESSAGE_BYTES)
    write(folder.journal, record(0), large, {"no": "record of ours"}, record(2))
    status, output = folder.run("--once")
    assert status == 1
    assert "message size" in output
    until(lambda: len(consumer.all()) == 2)
    assert list(map(read_image_name, consumer.payloads())) == ["0", "2"]
    assert read_records(folder.dead_letters) == [large, {"no": "record of ours"}]
    assert folder.run("--once")[0] == 0, "they are not tried again"


def test_the_disk_of_the_checkpoint_is_full(broker: Broker, tmp_path: Path, make: Any) -> None:
    with mounted(tmp_path / "disk", "size=64k") as disk:
        folder, consumer = make(broker.url(), checkpoint=disk / "relay.json")
        with relaying(folder) as relay:
            write(folder.journal, record(0))
            until(lambda: consumer.all() and is_published(folder.checkpoint))
            before = folder.checkpoint.read_bytes()
            with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as filler:
                while filler.write(b"x" * 4096):
                    pass
            write(folder.journal, *map(record, range(1, 30)))
            until(lambda: failures(folder))
            assert folder.checkpoint.read_bytes() == before, "the old one, whole"
            write(folder.journal, last := record(30))
            before_last = failures(folder)
            until(lambda: failures(folder) > before_last + 2)
            assert last["id"] not in consumer.first_ids(), "nothing is published that can't be noted"
            relay.kill()
        (disk / "filler").unlink()
        with relaying(folder) as relay:
            until(lambda: consumer.first_ids() == read_ids(folder.journal))
            assert relay.end() == 0
        assert folder.run("--once")[0] == 0
        assert len(consumer.all()) <= 60


def is_published(checkpoint: Path) -> bool:
    """Return whether a checkpoint says that something was published; it may not be there yet."""
    return checkpoint.exists() and b"relay_published" in checkpoint.read_bytes()


def failures(folder: Folder) -> int:
    """Return how often the checkpoint could not be written; the counts, which lie beside it, can't either."""
    lines = folder.log.read_text().splitlines()
    return sum("can't be written" in line and "counts" not in line for line in lines)


def test_a_relay_is_killed_a_hundred_times_while_the_journal_rotates(broker: Broker, make: Any) -> None:
    folder, consumer = make(broker.url())
    rng = random.Random(7)
    rotations = 0
    with writing(folder.journal) as written:
        for _ in range(100):
            relay = Running(folder)
            wait_for_progress(folder, consumer, rng)
            if rng.random() < 0.3:
                rotate(folder.journal, rotations)
                rotations += 1
            time.sleep(rng.random() * 0.05)
            relay.kill()
        count = written()
    status, output = folder.run("--once")
    assert status == 0, output
    until(lambda: len(consumer.first_ids()) == count)
    names = {payload["id"]: read_image_name(payload) for payload in consumer.payloads()}
    assert [int(names[id_]) for id_ in consumer.first_ids()] == list(range(count)), "none is lost, and all are in order"
    duplicates = len(consumer.all()) - count
    assert duplicates > 0, "it was killed between a confirmation and its checkpoint"
    print(f"{count} records, {rotations} rotations, {duplicates} duplicates")


def wait_for_progress(folder: Folder, consumer: Consumer, rng: random.Random) -> None:
    """Wait for nothing, for some records, or for a checkpoint."""
    size = consumer.size() + rng.choice((0, 1, 2000, 10000))
    wait_until(lambda: consumer.size() >= size, seconds=240, interval=0.002)
    if rng.random() < 0.2:
        saved = read_inode(folder.checkpoint)
        wait_until(lambda: read_inode(folder.checkpoint) != saved, seconds=240, interval=0.002)


def read_inode(path: Path) -> int | None:
    """Return the inode number of a file, which is another one when it was replaced; None if there is no file."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_ino
    return None


def rotate(journal: Path, number: int) -> None:
    """Rename the journal and compress the one before, as logrotate does."""
    with contextlib.suppress(FileNotFoundError):
        journal.rename(f"{journal}.{number}")
    before = Path(f"{journal}.{number - 1}")
    if before.exists():
        subprocess.run(["gzip", before], check=True)


class writing:  # noqa: N801
    """A process that writes records, as an API does; calling it ends it, and returns how many it wrote."""

    def __init__(self, journal: Path) -> None:
        self._count = FORK.Value("l", 0)
        self._stop = FORK.Event()
        self._process = FORK.Process(target=self._write, args=(journal,))

    def _write(self, journal: Path) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while not self._stop.is_set():
            write(journal, record(self._count.value))
            self._count.value += 1
            time.sleep(0.01)

    def __call__(self) -> int:
        self._stop.set()
        self._process.join()
        return int(self._count.value)

    def __enter__(self) -> writing:
        self._process.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self()


def assert_no_secrets(folder: Folder) -> None:
    text = folder.log.read_text()
    assert PASSWORD not in text
    assert TOKEN not in text
    assert USER + ":" not in text
    assert "secret-value" not in text

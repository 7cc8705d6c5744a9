"""What happens to a real RabbitMQ, to the relay and to the disk: nothing is lost, order is kept, and what comes twice
comes with the same id."""

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
from tests.relay.small import TOKEN, Consumer, Folder, Running, ids, record, relaying, until, write
from tests.unit.test_journal import FORK, mounted


def test_records_arrive_as_they_stand_in_the_journal(broker: Broker, make: Any) -> None:
    folder, consumer = make(broker.url())
    write(folder.journal, record(1), record(2, 1), record(3, 2), record(4, verdict="would deny"))
    write(folder.journal, record(5, verdict="exempt"), record(6, 2, action=None))
    done = folder.command("--once")
    assert done.returncode == 0, done.stderr
    until(lambda: len(consumer.all()) == 6)
    seen = consumer.all()
    assert [each["payload"] for each in seen] == [json.loads(line) for line in folder.journal.open()]
    assert [each["event_type"] for each in seen] == [
        "imagefilter.createImage.allow",
        "imagefilter.createImage.outcome",
        "imagefilter.createImage.deny",
        "imagefilter.createImage.would_deny",
        "imagefilter.createImage.exempt",
        "imagefilter.unknown.deny",
    ]
    assert {each["publisher_id"] for each in seen} == {f"imagefilter.{socket.gethostname()}"}
    assert [each["context"] for each in seen] == [{"client_timeout": None}] * 6, (
        "its own alone; nothing but what is in the journal"
    )
    assert TOKEN not in json.dumps(seen)
    assert folder.run("--once")[0] == 0
    time.sleep(0.5)
    assert len(consumer.all()) == 6, "it knows what it has published"


def test_a_broker_that_is_killed_and_started_again(broker: Broker, make: Any) -> None:
    folder, consumer = make(broker.url())
    with relaying(folder) as relay, writing(folder.journal) as written:
        until(lambda: len(consumer.all()) > 50)
        broker.kill()
        time.sleep(1)
        broker.start()
        before = len(consumer.all())
        until(lambda: len(consumer.all()) > before + 50)
        written()
        until(lambda: consumer.firsts() == ids(folder.journal))
        assert relay.end() == 0
    assert_no_secrets(folder)


def test_a_broker_that_is_paused(broker: Broker, make: Any) -> None:
    folder, consumer = make(broker.url())
    with relaying(folder) as relay, writing(folder.journal) as written:
        until(lambda: len(consumer.all()) > 50)
        broker.pause()
        try:
            until(lambda: "publishing failed" in folder.log.read_text())
        finally:
            broker.resume()
        before = len(consumer.all())
        until(lambda: len(consumer.all()) > before + 50)
        written()
        until(lambda: consumer.firsts() == ids(folder.journal))
        assert relay.end() == 0


def test_a_relay_is_ended_while_its_broker_is_paused(broker: Broker, make: Any) -> None:
    folder, consumer = make(broker.url())
    with relaying(folder) as relay:
        write(folder.journal, record(1))
        until(consumer.all)
        broker.pause()
        try:
            write(folder.journal, *map(record, range(2, 20)))
            time.sleep(1.5)
            assert relay.end() == 0
        finally:
            broker.resume()
    with relaying(folder):
        until(lambda: consumer.firsts() == ids(folder.journal))


def test_a_queue_that_is_full(broker: Broker, tmp_path: Path) -> None:
    url = broker.url(SMALL)
    folder = Folder(tmp_path, url)
    write(folder.journal, *map(record, range(3 * ROOM)))
    with relaying(folder) as relay:
        until(lambda: broker.queue_length(SMALL, f"{folder.topic}.info") == ROOM)
        until(lambda: "publishing failed (try 3)" in folder.log.read_text())
        consumer = Consumer(url, folder.topic, tmp_path / "consumed.jsonl")
        try:
            until(lambda: consumer.firsts() == ids(folder.journal))
        finally:
            consumer.stop()
        assert relay.end() == 0
    assert not folder.dead_letters.exists(), "no room is no reason to give a record up"


def test_credentials_that_are_refused(broker: Broker, make: Any) -> None:
    folder, consumer = make(broker.url())
    folder.set(broker.url(password="not-the-password"), retries=2)
    write(folder.journal, *map(record, range(10)))
    status, said = folder.run("--once")
    assert status == 1
    assert "ACCESS_REFUSED" in said
    with relaying(folder) as relay:
        until(lambda: "ACCESS_REFUSED" in folder.log.read_text()[len(said) :])
        assert relay.end() == 0
    assert not folder.dead_letters.exists(), "it is no record's fault"
    folder.set(broker.url())
    with relaying(folder) as relay:
        until(lambda: consumer.firsts() == ids(folder.journal))
        assert relay.end() == 0
    assert "not-the-password" not in folder.log.read_text()
    assert_no_secrets(folder)


def test_a_record_that_the_bus_refuses_for_ever(broker: Broker, make: Any) -> None:
    folder, consumer = make(broker.url(), retries=2)
    large = record(1, filler="x" * MAX_MESSAGE_BYTES)
    write(folder.journal, record(0), large, {"no": "record of ours"}, record(2))
    status, said = folder.run("--once")
    assert status == 1
    assert "message size" in said
    until(lambda: len(consumer.all()) == 2)
    assert [each["payload"]["attachments"][0]["content"]["image_name"] for each in consumer.all()] == ["0", "2"]
    assert [json.loads(line) for line in folder.dead_letters.open()] == [large, {"no": "record of ours"}]
    assert folder.run("--once")[0] == 0, "they are not tried again"


def test_a_disk_that_is_full_under_the_checkpoint(broker: Broker, tmp_path: Path, make: Any) -> None:
    with mounted(tmp_path / "disk", "size=64k") as disk:
        folder, consumer = make(broker.url(), checkpoint=disk / "relay.json")
        with relaying(folder) as relay:
            write(folder.journal, record(0))
            until(lambda: consumer.all() and folder.checkpoint.exists())
            before = folder.checkpoint.read_bytes()
            with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as filler:
                while filler.write(b"x" * 4096):
                    pass
            write(folder.journal, *map(record, range(1, 30)))
            until(lambda: "No space left on device" in folder.log.read_text())
            assert folder.checkpoint.read_bytes() == before, "the old one, whole"
            write(folder.journal, last := record(30))
            time.sleep(2)
            assert last["id"] not in consumer.firsts(), "what can't be noted is not done"
            relay.kill()
        (disk / "filler").unlink()
        with relaying(folder) as relay:
            until(lambda: consumer.firsts() == ids(folder.journal))
            assert relay.end() == 0
        assert folder.run("--once")[0] == 0
        assert len(consumer.all()) <= 60


def test_a_relay_that_is_killed_a_hundred_times_while_the_journal_rotates(broker: Broker, make: Any) -> None:
    folder, consumer = make(broker.url())
    rng = random.Random(7)
    rotations = 0
    with writing(folder.journal) as written:
        for _ in range(100):
            relay = Running(folder)
            progress(consumer, rng)
            if rng.random() < 0.3:
                rotate(folder.journal, rotations)
                rotations += 1
            time.sleep(rng.random() * 0.05)
            relay.kill()
        count = written()
    status, said = folder.run("--once")
    assert status == 0, said
    until(lambda: len(consumer.firsts()) == count)
    names = {
        each["payload"]["id"]: each["payload"]["attachments"][0]["content"]["image_name"] for each in consumer.all()
    }
    assert [int(names[each]) for each in consumer.firsts()] == list(range(count)), "none lost, in order"
    duplicates = len(consumer.all()) - count
    assert duplicates > 0, "it was killed between a confirmation and its checkpoint"
    print(f"{count} records, {rotations} rotations, {duplicates} duplicates")


def progress(consumer: Consumer, rng: random.Random) -> None:
    """Wait until some records have come, or none, or for some time."""
    wanted = consumer.size() + rng.choice((0, 1, 2000, 10000))
    deadline = time.monotonic() + rng.random()
    while consumer.size() < wanted and time.monotonic() < deadline:
        time.sleep(0.005)


def rotate(journal: Path, number: int) -> None:
    """As logrotate does: rename the journal, compress the one before."""
    with contextlib.suppress(FileNotFoundError):
        journal.rename(f"{journal}.{number}")
    before = Path(f"{journal}.{number - 1}")
    if before.exists():
        subprocess.run(["gzip", before], check=True)


class writing:  # noqa: N801
    """A process that writes records, as an API does; called, it ends and says how many."""

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

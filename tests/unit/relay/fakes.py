"""A message bus in this process, and a relay that publishes to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imagefilter.relay import checkpoint, options
from imagefilter.relay.checkpoint import Checkpoint
from imagefilter.relay.counted_file import CountedFile
from imagefilter.relay.counters import Series
from imagefilter.relay.counting import Counting
from tests.relay.fakes import Folder

#: No records of imagefilter.
FOREIGN: list[dict[str, Any]] = [
    {},
    {"id": "x", "attachments": []},
    {"id": "x", "attachments": None},
    {"attachments": [{"name": "imagefilter", "content": {"verdict": "allow"}}]},
    {"id": "x", "attachments": [{"name": "imagefilter", "content": {"verdict": "perhaps"}}]},
    {"id": "x", "attachments": [{"name": "imagefilter", "content": []}]},
]


class FakePublisher:
    """Keeps what is published; each failure is raised once, None lets one record through."""

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)
        self.published: list[dict[str, Any]] = []

    def publish(self, record: dict[str, Any]) -> None:
        failure = None
        if self.failures:
            failure = self.failures.pop(0)
        if failure:
            raise failure
        self.published.append(record)


def load_settings(folder: Folder) -> options.Settings:
    return options.load(str(folder.config))


def run_once(folder: Folder, publisher: FakePublisher) -> tuple[bool, Any]:
    """Run a relay with ``--once``; return whether everything is published, and the relay."""
    from imagefilter.relay.loop import Relay

    locked = Checkpoint(str(folder.checkpoint))
    try:
        relay = Relay(load_settings(folder), checkpoint.read(str(folder.checkpoint)), publisher, locked)
        return relay.run(once=True), relay
    finally:
        locked.close()


def read_counts(folder: Folder) -> Mapping[Series, float]:
    """Return the counters of publishing in the checkpoint."""
    return checkpoint.read(str(folder.checkpoint)).counts


@contextlib.contextmanager
def counting_of(*journals: Path) -> Iterator[Counting]:
    """Count journals, of which the first one's folder keeps the counts."""
    file = CountedFile(f"{journals[0].parent}/counted.json")
    try:
        yield Counting([str(journal) for journal in journals], file, file.read())
    finally:
        file.close()


def count_once(*journals: Path) -> Mapping[Series, float]:
    """Count what there is, as a new process does; return the counters of the first journal."""
    with counting_of(*journals) as counting:
        counting.count_once()
        return counting.counts()[str(journals[0])]

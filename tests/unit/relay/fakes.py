"""A message bus in this process, and a relay that publishes to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagefilter.relay import checkpoint, options
from imagefilter.relay.checkpoint import Checkpoint
from imagefilter.relay.counters import Series
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
    """Return the counters in the checkpoint."""
    return checkpoint.read(str(folder.checkpoint)).counts

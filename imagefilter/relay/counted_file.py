"""The file that keeps how far each journal was counted, and the counts."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from imagefilter.journal.position import Position, decode_position
from imagefilter.journal.state_file import StateFile, read_state
from imagefilter.relay.counters import Series, decode_counts, encode_counts

LOG = logging.getLogger(__name__)

_VERSION = 1


class Counted(NamedTuple):
    """How far a journal was counted, and what was counted until there."""

    position: Position | None
    counts: Mapping[Series, float]


class CountedFile(StateFile):
    """The file, for one process at a time."""

    def __init__(self, path: str) -> None:
        """Lock the file.

        :raises OSError: if it can't be locked.
        """
        super().__init__(path, f"another relay uses the counts {path}")

    def read(self) -> dict[str, Counted]:
        """Return what was counted, by journal; nothing if there is no file, or if it is damaged.

        A damaged file must not keep records from the bus, and counters may begin at zero: Prometheus knows restarts.

        :raises OSError: if it can't be read.
        """
        content = read_state(self.path)
        if content is None:
            return {}
        try:
            return _decode(content)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            LOG.error(
                "%s holds no counts (%s: %s): counting begins anew, at the journals' present ends",
                self.path,
                type(error).__name__,
                error,
            )
            return {}

    def write(self, state: Mapping[str, Counted]) -> None:
        """Replace the file; when this returns, it is on disk.

        :raises OSError: if it can't be written. The file is then the old one or the new one, whole.
        """
        journals = {}
        for path, counted in state.items():
            journals[path] = {"position": counted.position, "counts": encode_counts(counted.counts)}
        self.replace(json.dumps({"version": _VERSION, "journals": journals}).encode())


def _decode(content: bytes) -> dict[str, Counted]:
    document = json.loads(content)
    if document["version"] != _VERSION:
        raise ValueError(f"version {document['version']} is unknown")
    return {path: _decode_journal(journal) for path, journal in document["journals"].items()}


def _decode_journal(document: Mapping[str, Any]) -> Counted:
    return Counted(decode_position(document["position"]), decode_counts(document["counts"]))

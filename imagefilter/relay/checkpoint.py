"""The relay's checkpoint: a file that holds what was published, replaced as a whole, and on disk before it counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from imagefilter.journal.position import Position, decode_position
from imagefilter.journal.state_file import StateFile, read_state
from imagefilter.relay.counters import Series, decode_counts, encode_counts

_VERSION = 1


class State(NamedTuple):
    """How far each journal was published, and the counters of publishing."""

    positions: Mapping[str, Position]
    counts: Mapping[Series, float]


class Checkpoint(StateFile):
    """A checkpoint file, for one process at a time."""

    def __init__(self, path: str) -> None:
        """Lock the file.

        :raises OSError: if it can't be locked.
        """
        super().__init__(path, f"another relay uses the checkpoint {path}")

    def write(self, state: State) -> None:
        """Replace the file; when this returns, it is on disk.

        :raises OSError: if it can't be written. The file is then the old one or the new one, whole.
        """
        self.replace(_encode(state))


def read(path: str) -> State:
    """Read the state in a checkpoint file; it is empty if there is no file.

    :raises OSError: if the file can't be read.
    :raises ValueError: if it is not a checkpoint.
    """
    content = read_state(path)
    if content is None:
        return State({}, {})
    try:
        return _decode(content)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{path} is not a checkpoint of the relay ({reason}); without it everything would be sent again"
        ) from None


def _encode(state: State) -> bytes:
    counts = encode_counts(state.counts)
    return json.dumps({"version": _VERSION, "positions": state.positions, "counts": counts}).encode()


def _decode(content: bytes) -> State:
    document = json.loads(content)
    if document["version"] != _VERSION:
        raise ValueError(f"version {document['version']} is unknown")
    positions = {path: decode_position(position) for path, position in document["positions"].items()}
    return State(positions, decode_counts(document["counts"]))

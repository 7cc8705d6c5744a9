"""What the relay has done, in a file: replaced as a whole, and on disk before it counts."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from imagefilter.follow import Position
from imagefilter.journal import sync_directory

_MODE = 0o640
_VERSION = 1

#: What is counted: a metric's name and its labels.
Count = tuple[str, ...]


class State(NamedTuple):
    """How far each journal was published, and what was counted until there."""

    positions: Mapping[str, Position]
    counts: Mapping[Count, float]


class Checkpoint:
    """A checkpoint file, for one process at a time."""

    def __init__(self, path: str) -> None:
        """Lock the file.

        :raises OSError: if that can't be had.
        """
        self.path = path
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise BlockingIOError(f"another relay uses the checkpoint {path}") from None

    def write(self, state: State) -> None:
        """Replace the file; when this returns, it is on disk.

        :raises OSError: if that can't be had. The file is then the old one or the new one, whole.
        """
        document = {
            "version": _VERSION,
            "positions": state.positions,
            "counts": [[*key, value] for key, value in state.counts.items()],
        }
        temporary = f"{self.path}.tmp"
        try:
            _write(temporary, json.dumps(document).encode())
            os.replace(temporary, self.path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        sync_directory(self.path)

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock)


def read(path: str) -> State:
    """The state in a checkpoint file; an empty one if there is none.

    :raises OSError: if it can't be read.
    :raises ValueError: if it is none.
    """
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read())
    except FileNotFoundError:
        return State({}, {})
    except ValueError as error:
        raise _unusable(path, error) from None
    try:
        return _state(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unusable(path, error) from None


def _state(document: Any) -> State:
    if document["version"] != _VERSION:
        raise ValueError(f"it is of version {document['version']}")
    positions = {
        str(path): Position(str(file), int(o), dict(d)) for path, (file, o, d) in document["positions"].items()
    }
    return State(positions, {tuple(map(str, key)): float(value) for *key, value in document["counts"]})


def _unusable(path: str, error: Exception) -> ValueError:
    reason = f"{type(error).__name__}: {error}"
    return ValueError(f"{path} is no checkpoint of the relay ({reason}); without it everything would be sent again")


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)

"""The checkpoint of an export: how far it read each journal, and what of its output counts."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from imagefilter.journal.position import Position, decode_position
from imagefilter.journal.state_file import StateFile, read_state

_VERSION = 1


class Mark(NamedTuple):
    """The end of what counts of an output file. What is behind it was written by an export that was killed."""

    inode: int
    size: int  # bytes


class State(NamedTuple):
    """What an export did. It belongs to one output: another one would miss what this one has."""

    format: str
    output: str  # "-", or an absolute path
    export_id: str  # in the names of Parquet files, so that exports of several hosts may share a folder
    batches: int  # how many were written
    mark: Mark | None
    positions: Mapping[str, Position]  # by journal
    waiting: Sequence[str]  # ids of the exported verdicts whose outcome is to come, if filters choose


def begin(format_name: str, output: str) -> State:
    """Return the state of an export that did nothing yet."""
    return State(
        format=format_name,
        output=output,
        export_id=uuid.uuid4().hex,
        batches=0,
        mark=None,
        positions={},
        waiting=(),
    )


class Checkpoint(StateFile):
    """A checkpoint file, for one export at a time."""

    def __init__(self, path: str) -> None:
        """Lock the file.

        :raises OSError: if it can't be locked.
        """
        super().__init__(path, f"another export uses the checkpoint {path}")

    def read(self, format_name: str, output: str) -> State:
        """Return the state in the file; if there is no file, that of an export that did nothing yet.

        :raises OSError: if it can't be read.
        :raises ValueError: if it is not a checkpoint, or one of an export to another output.
        """
        content = read_state(self.path)
        if content is None:
            return begin(format_name, output)
        state = self._decode(content)
        if (state.format, state.output) != (format_name, output):
            raise ValueError(
                f"the checkpoint {self.path} is of an export to {state.output} as {state.format}:"
                " another output needs another checkpoint"
            )
        return state

    def write(self, state: State) -> None:
        """Replace the file; when this returns, it is on disk.

        :raises OSError: if it can't be written.
        """
        self.replace(json.dumps({"version": _VERSION, **state._asdict()}).encode())

    def _decode(self, content: bytes) -> State:
        try:
            return _decode(json.loads(content))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{self.path} is not a checkpoint of an export ({type(error).__name__}: {error});"
                " without it everything would be exported again"
            ) from None


def _decode(document: Any) -> State:
    if document["version"] != _VERSION:
        raise ValueError(f"version {document['version']} is unknown")
    mark = None
    if document["mark"] is not None:
        inode, size = document["mark"]
        mark = Mark(int(inode), int(size))
    positions = {path: decode_position(position) for path, position in document["positions"].items()}
    return State(
        format=str(document["format"]),
        output=str(document["output"]),
        export_id=str(document["export_id"]),
        batches=int(document["batches"]),
        mark=mark,
        positions=positions,
        waiting=tuple(map(str, document["waiting"])),
    )

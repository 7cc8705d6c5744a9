"""Read journals from where a checkpoint says to their end, and write what was chosen, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Callable, NamedTuple

from imagefilter.export.checkpoint import Checkpoint, State
from imagefilter.export.outputs import Output
from imagefilter.journal.follow import follow
from imagefilter.journal.follower import Follower, Line
from imagefilter.journal.left_out import describe_problem

# A batch is in memory. It is a file of Parquet, or several, which should not be small.
_BATCH_BYTES = 64 << 20

#: Returns what to write of a record, or None.
Encode = Callable[[bytes, dict[str, Any]], "bytes | None"]


class OutputError(Exception):
    """The output or the checkpoint can't be written."""


class Source(NamedTuple):
    """What to read, and what of it to write."""

    journals: Sequence[str]
    includes: Callable[[dict[str, Any]], bool]
    encode: Encode  # raises ValueError for a record that can't be written in this format
    waiting: Callable[[], Sequence[str]]  # the ids of verdicts whose outcome is to come
    on_left_out: Callable[[str, str], None]  # gets a journal, and why a line of it is left out


class Exporter:
    """One export.

    :param checkpoint: None: nothing is kept, and the next export begins anew.
    """

    def __init__(self, source: Source, output: Output, state: State, checkpoint: Checkpoint | None) -> None:
        self.count = 0  # records that were written
        self._source = source
        self._output = output
        self._state = state
        self._checkpoint = checkpoint
        self._batch: list[bytes] = []

    def run(self) -> None:
        """Export everything that is in the journals now.

        :raises OSError: if a journal can't be read.
        :raises OutputError: if the output or the checkpoint can't be written. What was written before counts.
        """
        self._save(self._state._replace(mark=self._write(lambda: self._output.open(self._state.mark))))
        positions = dict(self._state.positions)
        size = 0
        for follower, line in self._read():
            positions[follower.path] = line.position
            encoded = self._encode(follower, line)
            if encoded is not None:
                self._batch.append(encoded)
                size += len(encoded)
            if size >= _BATCH_BYTES:
                self._commit(positions)
                size = 0
        self._commit(positions)
        self._write(self._output.finish)

    def _read(self) -> Iterator[tuple[Follower, Line]]:
        followers = [Follower(path, self._state.positions.get(path)) for path in self._source.journals]
        for item in follow(followers, interval=0, once=True):
            if item is not None:
                yield item

    def _encode(self, follower: Follower, line: Line) -> bytes | None:
        """Return what to write of a line, or None."""
        problem = describe_problem(line.raw)
        if problem or line.record is None:
            if not _may_be_finished(line):
                self._source.on_left_out(follower.path, problem or "not a record")
            return None
        if not self._source.includes(line.record):
            return None
        try:
            return self._source.encode(line.raw, line.record)
        except ValueError as error:
            self._source.on_left_out(follower.path, str(error))
            return None

    def _commit(self, positions: dict[str, Any]) -> None:
        """Write the batch; only then it is done."""
        state = self._state._replace(positions=dict(positions), waiting=tuple(self._source.waiting()))
        if self._batch:
            number = self._state.batches + 1
            mark = self._write(lambda: self._output.write(self._batch, number))
            state = state._replace(batches=number, mark=mark)
            self.count += len(self._batch)
            self._batch = []
        self._save(state)

    def _save(self, state: State) -> None:
        checkpoint = self._checkpoint
        if checkpoint:
            try:
                checkpoint.write(state)
            except OSError as error:
                raise OutputError(f"the checkpoint {checkpoint.path} can't be written: {_reason(error)}") from None
        self._state = state

    def _write(self, write: Callable[[], Any]) -> Any:
        try:
            return write()
        except OSError as error:
            raise OutputError(f"the output {self._state.output} can't be written: {_reason(error)}") from None


def _may_be_finished(line: Line) -> bool:
    """Return whether a writer may be at a line: then it is left for the next export."""
    return line.is_unfinished and line.raw.startswith(b"{") and b"\n" not in line.raw


def _reason(error: OSError) -> str:
    return error.strerror or str(error)

"""Follow a journal: every line once and in order, through rotation, compression, truncation and torn lines.

No lock is held while reading, so a reader keeps no writer waiting. Only the standard library is needed.

Two things can happen if a writer is stopped while it writes. If its file is then compressed and removed, it writes its
record again, so that the journal holds it twice, with one id. If its file is rotated twice, its record is read late.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from imagefilter.journal.files import File, Files, is_plain, parse
from imagefilter.journal.position import Position, next_step, unread_bytes
from imagefilter.journal.reader import Batch, Reader, find_last_line_end, read_start

LOG = logging.getLogger(__name__)

_MAX_TRIES = 10
_LOCK_WAIT = 0.01  # seconds
_LOCK_SECONDS = 5.0  # a writer needs microseconds for its last line, unless it was stopped
_MANY_FILES = 100  # so many are remembered before those that are gone are forgotten


class Line(NamedTuple):
    """A line of a journal."""

    position: Position  # behind it: where to go on after it
    raw: bytes  # without its end
    record: dict[str, Any] | None  # None: torn, by a writer that died
    is_unfinished: bool = False  # a writer may be at it; the position is before it


class Follower:
    """Reads one journal, which need not exist yet.

    ``position`` is behind the last line that was returned: reading may be given up at any line, and goes on behind it.
    """

    def __init__(self, path: str, position: Position | None = None) -> None:
        """Begin behind ``position``, or with the oldest file of the journal."""
        self.path = path
        self.position = position or Position()
        self.has_more = False  # the last take() ended before the end of the journal
        self.is_held = False  # so did the last reading: a writer is at a rotated file
        self._files = Files(path, partial(_warn_of_unread, path))
        self._lines: Iterator[Line] = iter(())
        self._current: Reader | None = None
        self._previous: Reader | None = None  # a writer that opened it before it was renamed may come late
        self._locked_since: float | None = None

    def read(self, once: bool = False) -> Iterator[Line]:
        """Return all lines that there are now; call it again for those that come later.

        :param once: nothing will be read later, so an unfinished last line is returned as torn; the position stays
            before it, since it may be finished later.
        :raises OSError: if a file of the journal can't be read; the position is good for another try.
        """
        self.is_held = False
        self._rewind()
        yield from self._late_lines()
        while reader := self._select():
            was_live = reader.is_at(self.path)
            was_locked = not was_live and reader.is_locked()
            rest = reader.rest
            yield from self._current_lines(reader)
            if was_live and reader.is_at(self.path):
                break
            if was_locked:
                self._wait_for_writer()
                if not once:
                    self.is_held = True
                    break
            elif not was_live and reader.rest == rest:  # no writer was at it, and nothing more came
                yield from self._finish(reader)
        if once:
            yield from self._unfinished_line()

    def take(self, count: int | None = None, once: bool = False) -> Iterator[Line]:
        """Return the next lines as :meth:`read` does, but at most ``count``; then ``has_more`` tells if there are more.

        :raises OSError: if a file of the journal can't be read.
        """
        if not self.has_more:
            self._lines = self.read(once)
        self.has_more = False  # after an error reading begins anew
        taken = 0
        for line in islice(self._lines, count):
            taken += 1
            yield line
        self.has_more = taken == count

    def skip(self) -> None:
        """Go to the end: what is there now will not be read."""
        self.close()
        done = {}
        live = None
        for file in self._files.all():
            if file.live:
                live = file
            else:
                done[file.digest] = file.size
        self.position = Position(done=done)
        if live:
            self.position = Position(live.digest, find_last_line_end(live), done)

    def unread(self) -> int:
        """Return how many bytes were not read yet (of compressed files: about)."""
        return unread_bytes(self._files.all(), self.position)

    def close(self) -> None:
        """Close all files."""
        self._close_current()
        self._close_previous()
        self.has_more = False

    def _close_current(self) -> None:
        if self._current:
            self._current.close()
        self._current = None

    def _close_previous(self) -> None:
        if self._previous:
            self._previous.close()
        self._previous = None

    def _rewind(self) -> None:
        """Go back to the position: the last reading may have been given up in the middle of a batch."""
        for reader in (self._current, self._previous):
            if reader:
                reader.rewind(self.position.offset_in(reader.digest))

    def _select(self) -> Reader | None:
        """Return the file that is being read, or else open the next one; None if there is nothing to read."""
        if self._current and self._current.is_truncated():
            LOG.warning(
                "%s was truncated: what was written after its last copy, if there is one, and was not read, is lost",
                self._current.path,
            )
            self._close_current()
        for _ in range(_MAX_TRIES):
            if self._current:
                break
            step = next_step(self._files.all(), self.position)
            self.position = step.position
            if step.is_lost:
                LOG.warning("%s: the file that was read last is gone; what was not read of it is lost", self.path)
            if step.file is None:
                break
            self._open(step.file)
        return self._current

    def _open(self, file: File) -> None:
        position = self.position.enter(file)
        try:
            reader = Reader(file, position.offset)
        except FileNotFoundError:  # renamed meanwhile, and another file may have got its name
            return
        if self._previous and self._previous.digest == file.digest:
            self._close_previous()
        self._current, self.position = reader, position

    def _current_lines(self, reader: Reader) -> Iterator[Line]:
        for batch in reader.batches():
            # The writer of these lines may have written into the previous file just before: that comes first.
            yield from self._late_lines()
            yield from self._lines_of(reader, batch)

    def _late_lines(self) -> Iterator[Line]:
        """Return what was written into the previous file after it was renamed."""
        previous = self._previous
        if previous is None:
            return
        for batch in previous.batches():
            yield from self._lines_of(previous, batch)
        if previous.is_removed():  # its writers will notice that; closing it frees the disk
            self._close_previous()

    def _lines_of(self, reader: Reader, batch: Batch) -> Iterator[Line]:
        digest = reader.digest
        for end, raw in batch:
            self.position = self.position.move(digest, end)
            yield Line(self.position, raw, parse(raw))

    def _finish(self, reader: Reader) -> Iterator[Line]:
        """Leave the current file, which was rotated away and read to its end."""
        rest = reader.take_rest()
        self.position = self.position.move(reader.digest, reader.offset)
        if rest:
            yield Line(self.position, rest, None)
        self.position = self.position.leave()
        self._forget_removed_files()
        self._locked_since = None
        self._close_previous()
        if is_plain(reader.path):
            self._current, self._previous = None, reader
        else:
            self._close_current()

    def _wait_for_writer(self) -> None:
        """Wait for the writer that holds the lock on a rotated file. It needs microseconds for its last line, unless
        it was stopped, or is not a writer at all.

        :raises TimeoutError: if the lock is held for too long.
        """
        now = time.monotonic()
        if self._locked_since is None:
            self._locked_since = now
        if now - self._locked_since > _LOCK_SECONDS:
            raise TimeoutError(f"a process has held the lock on a rotated {self.path} for over {_LOCK_SECONDS:g} s")
        time.sleep(_LOCK_WAIT)

    def _forget_removed_files(self) -> None:
        """Keep the position small. Not at once, since a listing may miss a file while it is renamed."""
        count = len(self.position.done)
        if count < _MANY_FILES:
            return
        digests = {file.digest for file in self._files.all()}
        if count >= 2 * len(digests):
            self.position = self.position.forget_others(digests)

    def _unfinished_line(self) -> Iterator[Line]:
        if self._current:
            rest = self._current.rest
        else:  # there may be a file that can't be told from others yet
            rest = read_start(self.path)
        if rest:
            yield Line(self.position, rest, None, is_unfinished=True)


def _warn_of_unread(path: str, name: str) -> None:
    LOG.warning("%s beside %s is not read: gzip is the only compression that can be read", name, path)

"""Follow a journal: every record once and in order, through rotation, compression, truncation and torn lines.

No lock is held while reading, so a reader keeps no writer waiting. Only the standard library is needed.

Two things need a writer that is stopped while it writes. If its file is compressed and removed meanwhile, it writes its
record again, which is then in the journal twice, with one id. If its file is rotated twice, it is read late.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from imagefilter.journal import LOCK_SECONDS
from imagefilter.reader import Reader
from imagefilter.rotated import LONGEST, File, Files, is_locked, is_plain, open_file, parse

LOG = logging.getLogger(__name__)

_TRIES = 10
_FEW = 100
_LOCK_WAIT = 0.01


class Position(NamedTuple):
    """A place behind a record. ``Position(*json.loads(json.dumps(position)))`` is the same one."""

    file: str = ""  # the identity of a file: it survives renaming and compressing
    offset: int = 0  # bytes, uncompressed
    done: Mapping[str, int] = {}  # the files that were read to their end, and where that was


class Line(NamedTuple):
    """A line of a journal."""

    position: Position  # behind it: where to go on after it
    raw: bytes  # without its end
    record: dict[str, Any] | None  # None: torn, by a writer that died


class Follower:
    """Reads one journal, which need not be there yet."""

    def __init__(self, path: str, position: Position | None = None) -> None:
        """Begin behind ``position``, or with the oldest file that is there."""
        self.path = path
        self.position = position or Position()
        self._files = Files(path)
        self._current: Reader | None = None
        self._previous: Reader | None = None  # a writer that opened it before it was renamed may come late
        self._locked_since: float | None = None

    def read(self, once: bool = False) -> Iterator[Line]:
        """All lines that are there now; call it again for what comes later.

        :param once: nothing will be read later, so an unfinished last line is told as torn; the position stays before
            it, since it may be finished later.
        It may be given up at any line; the next call then goes on behind that line.

        :raises OSError: if a file of the journal can't be read; the position is good for another try.
        """
        self._rewind()
        yield from self._late()
        while self._select():
            live = self._is_live()
            yield from self._lines()
            if live and self._is_live():
                break
            if not live:
                done = yield from self._finish()
                self._note_lock(held=not done)
                if not done and not once:
                    break
        if once:
            yield from self._unfinished()

    def skip(self) -> None:
        """Go to the end: what is there now will not be read."""
        self.close()
        files = self._files.all()
        done = {file.digest: file.size for file in files if not file.live}
        self.position = Position(done=done)
        for live in filter(lambda file: file.live, files):
            self.position = Position(live.digest, _last_line_end(live), done)

    def unread(self) -> int:
        """How many bytes there are that were not read yet (of compressed files: about)."""
        return unread_bytes(self._files.all(), self.position)

    def close(self) -> None:
        """Give back what is open."""
        self._use(None, None)

    def _use(self, current: Reader | None, previous: Reader | None) -> None:
        for reader in (self._current, self._previous):
            if reader and reader not in (current, previous):
                reader.stream.close()
        self._current, self._previous = current, previous

    def _rewind(self) -> None:
        """Go back to the position: whoever read last may have stopped in the middle."""
        if self._current:
            self._current.rewind(self.position.offset)
        if self._previous:
            self._previous.rewind(self.position.done[self._previous.digest])

    def _is_live(self) -> bool:
        """Whether the current file is still the one that is written to."""
        if self._current is None or not is_plain(self._current.path):
            return False
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._current.stream.fileno()))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _select(self) -> bool:
        """Have a current file, if there is one with something to read."""
        if self._current and self._current.is_truncated():
            LOG.warning(
                "%s was truncated: what was written after its last copy, if there is one, and was not read, is lost",
                self._current.path,
            )
            self._use(None, self._previous)
        for _ in range(_TRIES):
            file = None if self._current else self._next()
            if file is None:
                break
            self._open(file)
        return self._current is not None

    def _next(self) -> File | None:
        """The file to read now."""
        files = self._files.all()
        digest, offset, done = self.position
        last = next((file for file in files if file.digest == digest), None)
        if last and not last.live:
            return last
        # An older file may have grown since, by a late writer: that comes first.
        unread = next((file for file in files if self._is_unread(file)), None)
        if digest and unread is not last:
            self.position = Position(done={**done, digest: offset})
        if digest and not last:
            LOG.warning("%s: the file that was read last is gone; what was not read of it is lost", self.path)
        return unread

    def _is_unread(self, file: File) -> bool:
        end = self.position.done.get(file.digest)
        # The live one is always of interest; a plain one may have grown.
        return end is None or file.live or (is_plain(file.path) and file.size > end)

    def _open(self, file: File) -> None:
        digest, offset, done = self.position
        if file.digest != digest:
            offset = done.get(file.digest, 0)
        if is_plain(file.path):
            offset = min(offset, file.size)
        try:
            current = Reader(file, offset)
        except FileNotFoundError:  # renamed meanwhile, and another one may have got its name
            return
        same = self._previous and self._previous.digest == file.digest
        self._use(current, None if same else self._previous)
        self.position = Position(file.digest, offset, done)

    def _lines(self) -> Iterator[Line]:
        """What can be read of the current file now."""
        current = self._current
        assert current
        digest, _, done = self.position
        for batch in current.batches():
            # Who wrote here may have written into the file before, just ahead: that comes first.
            for late in self._late():
                yield late
                done = self.position.done
            for end, raw in batch:
                self.position = Position(digest, end, done)
                yield Line(self.position, raw, parse(raw))

    def _late(self) -> Iterator[Line]:
        """What was written into the file before after it was renamed."""
        previous = self._previous
        if previous is None:
            return
        for batch in previous.batches():
            for end, raw in batch:
                self.position = self.position._replace(done={**self.position.done, previous.digest: end})
                yield Line(self.position, raw, parse(raw))
        if not os.fstat(previous.stream.fileno()).st_nlink:  # removed: its writers will see that; give the disk back
            self._use(self._current, None)

    def _finish(self) -> Generator[Line, None, bool]:
        """Be done with the current file, which was rotated away and read to its end; false if a writer is at it."""
        current = self._current
        assert current
        rest = None
        while current.rest != rest:
            rest = current.rest
            if is_locked(current.stream.fileno()):
                return False
            yield from self._lines()  # what was written until the lock was given back
        digest = current.digest
        rest = current.take_rest()
        if rest:
            self.position = self.position._replace(offset=current.offset)
            yield Line(self.position, rest, None)
        self.position = Position(done=self._pruned({**self.position.done, digest: current.offset}))
        self._use(None, current if is_plain(current.path) else None)
        return True

    def _note_lock(self, held: bool) -> None:
        """A writer that is at its last line needs microseconds: it was stopped, or it is no writer."""
        if not held:
            self._locked_since = None
            return
        self._locked_since = self._locked_since or time.monotonic()
        if time.monotonic() - self._locked_since > LOCK_SECONDS:
            raise TimeoutError(f"a process has held the lock on a rotated {self.path} for over {LOCK_SECONDS:g} s")
        time.sleep(_LOCK_WAIT)

    def _pruned(self, done: dict[str, int]) -> dict[str, int]:
        """Without files that are gone; not at once, for a file may be missed by a listing while it is renamed."""
        if len(done) < _FEW:
            return done
        there = {file.digest for file in self._files.all()}
        return done if len(done) < 2 * len(there) else {digest: end for digest, end in done.items() if digest in there}

    def _unfinished(self) -> Iterator[Line]:
        # Without a current file there may be one that can't be told from others yet.
        rest = self._current.rest if self._current else _content(self.path)
        if rest:
            yield Line(self.position, rest, None)


def unread_bytes(files: Iterable[File], position: Position) -> int:
    """How many bytes of a journal's files are behind a position."""
    read = {**position.done, position.file: position.offset}
    return sum(max(0, file.size - read.get(file.digest, 0)) for file in files)


def _content(path: str) -> bytes:
    try:
        with open_file(path) as stream:
            return stream.read(LONGEST)
    except FileNotFoundError:
        return b""


def _last_line_end(file: File) -> int:
    with open_file(file.path) as stream:
        start = max(0, file.size - LONGEST)
        stream.seek(start)
        return start + stream.read(file.size - start).rfind(b"\n") + 1

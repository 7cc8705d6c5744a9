"""Read one file of a journal, line by line, as far as it goes now."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

from imagefilter.journal.files import BROKEN_GZIP, MAX_LINE_BYTES, File, compute_digest, is_locked, is_plain, open_file

LOG = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 18

#: Whole lines without their ends, each with the offset behind it.
Batch = list[tuple[int, bytes]]


class Reader:
    """Reads the lines of one file; it keeps no more than one chunk and one line."""

    def __init__(self, file: File, offset: int) -> None:
        """Open a file, and go to where a line begins.

        :raises FileNotFoundError: if the file is gone, or another one has got its name.
        """
        self.path = file.path
        self.digest = file.digest
        self.offset = offset  # behind the last whole line
        self.rest = b""  # what there is of the next line, as far as it is kept
        self._stream = open_file(file.path)
        self._head_length = file.head_length
        self._dropped = 0  # bytes of a line that is too long
        self._is_broken = False
        try:
            head = self._stream.read(file.head_length)
            self._stream.seek(offset)
        except BROKEN_GZIP as error:
            self._break(error)
        else:
            if compute_digest(head) != file.digest:
                self.close()
                raise FileNotFoundError(file.path)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def rewind(self, offset: int) -> None:
        """Go back to where a line ends."""
        if offset == self.offset:
            return
        self._stream.seek(offset)
        self.offset = offset
        self.rest = b""
        self._dropped = 0

    def is_at(self, path: str) -> bool:
        """Return whether a path leads to this very file."""
        if not is_plain(self.path):
            return False
        try:
            return os.path.samestat(os.stat(path), os.fstat(self._stream.fileno()))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def is_locked(self) -> bool:
        """Return whether a writer is at this file."""
        return is_locked(self._stream.fileno())

    def is_removed(self) -> bool:
        """Return whether no name leads to this file any more."""
        return os.fstat(self._stream.fileno()).st_nlink == 0

    def is_truncated(self) -> bool:
        """Return whether the file is not what it was: it is shorter, or has another start."""
        if not is_plain(self.path):
            return False
        descriptor = self._stream.fileno()
        if os.fstat(descriptor).st_size < self.offset + len(self.rest) + self._dropped:
            return True
        return compute_digest(os.pread(descriptor, self._head_length, 0)) != self.digest

    def batches(self) -> Iterator[Batch]:
        """Return the whole lines that there are now, some at a time."""
        while chunk := self._read():
            yield self._split(chunk)

    def take_rest(self) -> bytes:
        """Return the last line, which nobody will finish, and go behind it."""
        rest = self.rest
        self.offset += len(rest) + self._dropped
        self.rest = b""
        self._dropped = 0
        return rest

    def _split(self, chunk: bytes) -> Batch:
        lines = (self.rest + chunk).split(b"\n")
        if len(lines) > 1:
            self.offset += self._dropped
            self._dropped = 0
        self.rest = lines.pop()
        batch = []
        offset = self.offset
        for raw in lines:
            offset += len(raw) + 1
            if raw:  # an empty line closes one that was torn
                batch.append((offset, raw))
        self.offset = offset
        if len(self.rest) > MAX_LINE_BYTES:
            self._dropped += len(self.rest) - MAX_LINE_BYTES - 1
            self.rest = self.rest[: MAX_LINE_BYTES + 1]
        return batch

    def _read(self) -> bytes:
        if self._is_broken:
            return b""
        try:
            return self._stream.read(_CHUNK_BYTES)
        except BROKEN_GZIP as error:
            self._break(error)
            return b""

    def _break(self, error: Exception) -> None:
        self._is_broken = True
        LOG.error("%s is broken behind byte %d (%s); the rest of it is lost", self.path, self.offset, error)


def read_start(path: str) -> bytes:
    """Return the start of a file, as long as a line may be; it is empty if there is no file."""
    try:
        with open_file(path) as stream:
            return stream.read(MAX_LINE_BYTES)
    except FileNotFoundError:
        return b""


def find_last_line_end(file: File) -> int:
    """Return the offset behind the last whole line of a file."""
    with open_file(file.path) as stream:
        start = max(0, file.size - MAX_LINE_BYTES)
        stream.seek(start)
        return start + stream.read(file.size - start).rfind(b"\n") + 1

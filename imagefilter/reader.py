"""Reads one file of a journal, line by line, as far as it goes now."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

from imagefilter.rotated import BROKEN, LONGEST, File, digest_of, is_plain, open_file

LOG = logging.getLogger(__name__)

_CHUNK = 1 << 18


class Reader:
    """Reads the lines of one file; no more than one chunk and one line are kept."""

    def __init__(self, file: File, offset: int) -> None:
        """Open a file, and go to where a line begins.

        :raises FileNotFoundError: if it is not there any more, or another one has got its name.
        """
        self.path = file.path
        self.digest = file.digest
        self.stream = open_file(file.path)
        self.offset = offset  # behind the last whole line
        self.rest = b""  # what there is of the next one, as far as it is kept
        self._head = file.head
        self._dropped = 0  # bytes of a line that is too long
        self._broken = False
        try:
            same = digest_of(self.stream.read(file.head)) == file.digest
            self.stream.seek(offset)
        except BROKEN as error:
            same = True
            self._break(error)
        if not same:
            self.stream.close()
            raise FileNotFoundError(file.path)

    def rewind(self, offset: int) -> None:
        """Go back to where a line ends."""
        if offset != self.offset:
            self.stream.seek(offset)
            self.offset, self.rest, self._dropped = offset, b"", 0

    def is_truncated(self) -> bool:
        """Whether the file is not any more what it was: shorter, or with another start."""
        if not is_plain(self.path):
            return False
        descriptor = self.stream.fileno()
        if os.fstat(descriptor).st_size < self.offset + len(self.rest) + self._dropped:
            return True
        return digest_of(os.pread(descriptor, self._head, 0)) != self.digest

    def batches(self) -> Iterator[list[tuple[int, bytes]]]:
        """Whole lines that there are now, each with the offset behind it."""
        while True:
            chunk = self._read()
            if not chunk:
                return
            yield self._split(chunk)

    def take_rest(self) -> bytes:
        """The last line, which nobody will finish."""
        rest = self.rest
        self.offset += len(rest) + self._dropped
        self.rest, self._dropped = b"", 0
        return rest

    def _split(self, chunk: bytes) -> list[tuple[int, bytes]]:
        lines = (self.rest + chunk).split(b"\n")
        offset = self.offset
        if len(lines) > 1:
            offset, self._dropped = offset + self._dropped, 0
        self.rest = lines.pop()
        batch = []
        for raw in lines:
            offset += len(raw) + 1
            if raw:  # an empty line closes one that was torn
                batch.append((offset, raw))
        self.offset = offset
        if len(self.rest) > LONGEST:
            self._dropped += len(self.rest) - LONGEST - 1
            self.rest = self.rest[: LONGEST + 1]
        return batch

    def _read(self) -> bytes:
        if self._broken:
            return b""
        try:
            return self.stream.read(_CHUNK)
        except BROKEN as error:
            self._break(error)
            return b""

    def _break(self, error: Exception) -> None:
        self._broken = True
        LOG.error("%s is broken behind byte %d (%s); the rest of it is lost", self.path, self.offset, error)

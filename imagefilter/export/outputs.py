"""Where an export writes to: standard output, or a file. What was written is on disk before the checkpoint says so."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable, Sequence
from typing import IO, Callable, Protocol

from imagefilter.export.checkpoint import Mark
from imagefilter.journal.writer import sync_directory

_MODE = 0o640  # as a journal: a shipper's group may read it, if the directory says so

#: Turns a batch into the bytes to write; the flag says whether they are the first ones of the output.
Serialize = Callable[[Sequence[bytes], bool], Iterable[bytes]]


class Output(Protocol):
    """Where an export writes to."""

    def open(self, mark: Mark | None) -> Mark | None:
        """Prepare to write behind what counts.

        :returns: the mark to begin from.
        :raises OSError: if that is not possible.
        """

    def write(self, batch: Sequence[bytes], number: int) -> Mark | None:
        """Write a batch and wait until it is on disk.

        :param number: of the batch; one that was not completed is written again with the same number.
        :returns: the end of what counts now.
        :raises OSError: if it can't be written.
        """

    def finish(self) -> None:
        """End the output after its last batch.

        :raises OSError: if that is not possible.
        """

    def close(self) -> None:
        """Close what is open, and remove what was not finished."""


def write_lines(batch: Sequence[bytes], is_first: bool) -> Iterable[bytes]:
    """Yield a batch of which each item is a line already."""
    for line in batch:
        yield line + b"\n"


class StandardOutput:
    """Standard output. Whether its reader has got a batch can't be known: it may come again after a kill."""

    def __init__(self, stream: IO[bytes], serialize: Serialize) -> None:
        self._stream = stream
        self._serialize = serialize
        self._is_first = True

    def open(self, mark: Mark | None) -> Mark | None:
        """Open nothing."""
        return None

    def write(self, batch: Sequence[bytes], number: int) -> Mark | None:
        """Write a batch and flush it."""
        self._stream.writelines(self._serialize(batch, self._is_first))
        self._stream.flush()
        self._is_first = False
        return None

    def finish(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class NewFile:
    """A file that has its name only when it is complete. An existing one is not replaced."""

    def __init__(self, path: str, serialize: Serialize) -> None:
        self._path = path
        self._serialize = serialize
        self._temporary = ""
        self._file: IO[bytes] | None = None

    def open(self, mark: Mark | None) -> Mark | None:
        """Open the file under another name."""
        if os.path.lexists(self._path):
            raise FileExistsError("it exists already: remove it, or name another; with --checkpoint it is continued")
        folder = os.path.dirname(self._path)
        descriptor, self._temporary = tempfile.mkstemp(dir=folder, prefix=".imagefilter-")
        self._file = os.fdopen(descriptor, "wb")
        os.fchmod(descriptor, _MODE)
        self._file.writelines(self._serialize((), True))
        return None

    def write(self, batch: Sequence[bytes], number: int) -> Mark | None:
        """Write a batch."""
        assert self._file
        self._file.writelines(self._serialize(batch, False))
        return None

    def finish(self) -> None:
        """Give the file its name, once it is on disk."""
        assert self._file
        self._file.flush()
        os.fsync(self._file.fileno())
        os.rename(self._temporary, self._path)
        self._temporary = ""
        sync_directory(self._path)

    def close(self) -> None:
        """Close the file, and remove it if it is not complete."""
        if self._file:
            with contextlib.suppress(OSError):
                self._file.close()
        if self._temporary:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)


class ContinuedFile:
    """A file that each export continues, and that others may rotate away. A checkpoint says what of it counts."""

    def __init__(self, path: str, serialize: Serialize) -> None:
        self._path = path
        self._serialize = serialize
        self._file: IO[bytes] | None = None

    def open(self, mark: Mark | None) -> Mark | None:
        """Open the file, and cut off what a killed export left behind the mark."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, _MODE)
        self._file = os.fdopen(descriptor, "ab")
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileExistsError("it is not a regular file")
        size = status.st_size
        if mark is None or mark.inode != status.st_ino:
            if size:
                raise FileExistsError("it exists already, and the checkpoint does not know it: name another")
        elif size > mark.size:
            os.ftruncate(descriptor, mark.size)
            size = mark.size
        sync_directory(self._path)
        return Mark(status.st_ino, size)

    def write(self, batch: Sequence[bytes], number: int) -> Mark | None:
        """Append a batch."""
        assert self._file
        is_first = os.fstat(self._file.fileno()).st_size == 0
        self._file.writelines(self._serialize(batch, is_first))
        self._file.flush()
        os.fsync(self._file.fileno())
        status = os.fstat(self._file.fileno())
        return Mark(status.st_ino, status.st_size)

    def finish(self) -> None:
        """Do nothing: each batch counts already."""

    def close(self) -> None:
        """Close the file."""
        if self._file:
            with contextlib.suppress(OSError):
                self._file.close()

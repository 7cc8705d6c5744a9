"""A file that holds how far a reader of journals came: replaced as a whole, and on disk before it counts."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat

from imagefilter.journal.writer import sync_directory

_MODE = 0o640


class StateFile:
    """A file with a state, for one process at a time."""

    def __init__(self, path: str, refusal: str) -> None:
        """Lock the file.

        :param path: absolute.
        :param refusal: what to say if another process has locked it.
        :raises OSError: if it can't be locked.
        """
        self.path = path
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise BlockingIOError(refusal) from None

    def replace(self, content: bytes) -> None:
        """Replace the content; when this returns, it is on disk.

        :raises OSError: if it can't be written. The file is then the old one or the new one, whole.
        """
        temporary = f"{self.path}.tmp"
        try:
            _write(temporary, content)
            os.replace(temporary, self.path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        sync_directory(self.path)

    def close(self) -> None:
        """Unlock the file."""
        os.close(self._lock)


def read_state(path: str) -> bytes | None:
    """Return the content of a file with a state; None if there is no file.

    :raises OSError: if it can't be read.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # of a FIFO the content would be waited for
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)

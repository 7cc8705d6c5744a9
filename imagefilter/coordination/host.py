"""The host's own locks: one byte of one file for each key.

By open-file-description locks (fcntl(2), F_OFD_SETLK): they exclude threads, instances and processes alike, and the
kernel frees them when their holder ends. (POSIX locks belong to a process, and closing any of its descriptors of the
file loses them.)
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator

from imagefilter.coordination.backend import BackendFailed

# struct flock: type, whence, start, length, and a pid, which must be 0.
_FLOCK = struct.Struct("hhqqi0q")

_HELD_BY_OTHERS = (errno.EACCES, errno.EAGAIN)

# The byte that guards what is written into the file: the keys of those who left their lock to run out.
_GUARD = 0
_GUARD_SECONDS = 1.0
_PAUSE = 0.01

# Of this start of the host, for all its containers: the clock begins anew with each.
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class HostBackend:
    """Locks of this host.

    :param path: of a file that is made when it is needed; its directory must be there.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def acquire(self, key: str, seconds: int) -> HostLease | None:
        """See :class:`imagefilter.coordination.backend.Backend`."""
        try:
            return self._acquire(1 + int(key[:15], 16), seconds)
        except OSError as error:
            raise BackendFailed(f"{self._path}: {error.strerror}") from error

    def _acquire(self, place: int, seconds: int) -> HostLease | None:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with contextlib.ExitStack() as opened:
                opened.callback(os.close, descriptor)
                if not _lock(descriptor, place):
                    return None
                if not _is_at(descriptor, self._path):  # somebody removed the file meanwhile: the others have a new one
                    continue
                with _guarded(descriptor, fcntl.F_RDLCK):  # otherwise the file may just be truncated
                    abandoned = _read_abandoned(descriptor)
                if place in abandoned:
                    return None
                opened.pop_all()
                return HostLease(self._path, descriptor, place, seconds)


class HostLease:
    """A byte of the file that is locked."""

    def __init__(self, path: str, descriptor: int, place: int, seconds: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._place = place
        self._seconds = seconds

    def release(self) -> bool:
        """Give the lock back. Explicitly: a child of this process may have the descriptor too.

        It was lost if somebody removed the file meanwhile: the others have a new one.
        """
        try:
            is_held = _is_at(self._descriptor, self._path)
            _lock(self._descriptor, self._place, fcntl.F_UNLCK)
        finally:
            os.close(self._descriptor)
        return is_held

    def abandon(self) -> None:
        """Write into the file until when the key is locked, for this process may do nothing more with it."""
        try:
            _add_abandoned(self._descriptor, self._place, self._seconds)
        finally:
            self.release()


def _lock(descriptor: int, place: int, kind: int = fcntl.F_WRLCK) -> bool:
    """Lock or unlock a byte; return False if somebody else has locked it. Never waits."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, place, 1, 0))
    except OSError as error:
        if error.errno in _HELD_BY_OTHERS:
            return False
        raise
    return True


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _read_abandoned(descriptor: int) -> dict[int, float]:
    """Return the places that are locked without a holder, and until when, by :func:`_now`."""
    if not os.fstat(descriptor).st_size:
        return {}
    now, boot_id = _now(), _read_boot_id()
    abandoned = {}
    for line in os.pread(descriptor, 1 << 20, 0).decode("ascii", "replace").splitlines():
        with contextlib.suppress(ValueError):
            place, until, written_in = line.split()
            if written_in == boot_id and now < float(until):
                abandoned[int(place)] = float(until)
    return abandoned


def _add_abandoned(descriptor: int, place: int, seconds: int) -> None:
    with _guarded(descriptor, fcntl.F_WRLCK):
        abandoned = _read_abandoned(descriptor)
        abandoned[place] = _now() + seconds
        boot_id = _read_boot_id()
        lines = "".join(f"{key} {until} {boot_id}\n" for key, until in abandoned.items())
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, lines.encode("ascii"), 0)


def _now() -> float:
    """Return the seconds since the host was started: by a clock that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _read_boot_id() -> str:
    with open(_BOOT_ID, encoding="ascii") as file:
        return file.read().strip()


@contextlib.contextmanager
def _guarded(descriptor: int, kind: int) -> Iterator[None]:
    """Keep others from writing what is in the file, and with F_WRLCK from reading it."""
    deadline = time.monotonic() + _GUARD_SECONDS
    while not _lock(descriptor, _GUARD, kind):
        if time.monotonic() > deadline:
            raise OSError(errno.EAGAIN, "the file's guard is locked")
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        _lock(descriptor, _GUARD, fcntl.F_UNLCK)

"""Append records to the audit journal: one line of JSON each, on disk before the writer goes on.

For each record the file is opened, locked, repaired, written to, unlocked, synced and closed. So it is safe for many
processes, for a fork, and for log rotation by renaming, and no process keeps anything between two records.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import stat
import time

#: How long a writer waits for another one, in seconds. One needs microseconds, unless it was stopped.
LOCK_SECONDS = 5.0

_MODE = 0o640
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK  # a FIFO without a reader is an error, not a wait
_MAX_TRIES = 5

# Seconds between two attempts at the lock. 32 threads that try each 0.5 ms keep the writer itself from the processor.
_FIRST_WAIT = 0.0005
_LONGEST_WAIT = 0.01


def append(path: str, line: bytes) -> None:
    """Append a record and wait until it is on disk.

    :param line: without its end.
    :raises OSError: if it could not be written. Part of the line may then be in the file; the next writer ends it.
    """
    for _ in range(_MAX_TRIES):
        descriptor = _open(path)
        try:
            _lock(descriptor)
            _write(descriptor, path, line)
            # Unlocked before it is synced: the syncs of several writers become one to the disk.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.fdatasync(descriptor)
            if os.fstat(descriptor).st_nlink:  # otherwise it was removed meanwhile, and the record with it
                return
        finally:
            os.close(descriptor)
    raise FileNotFoundError(f"{path} was removed again and again while it was written to")


def why_unusable(path: str) -> str | None:
    """Return why this process can't keep a journal at a path, or None."""
    directory = os.path.dirname(path)
    if not os.path.isabs(path):
        return "it is not an absolute path"
    if not os.path.isdir(directory):
        return f"the directory {directory} does not exist (for {_user()})"
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):  # read: to sync it
        return f"the directory {directory} is not readable and writable by {_user()}"
    if os.path.exists(path) and not os.path.isfile(path):
        return f"{path} is not a regular file"
    if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        return f"the file {path} is not readable and writable by {_user()}"
    return None


def sync_directory(path: str) -> None:
    """Sync the directory of a file: until its name is on disk, nothing in it is."""
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open(path: str) -> int:
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, _FLAGS)
    try:
        descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE)
    except FileExistsError:  # another process was faster
        return os.open(path, _FLAGS)
    os.fchmod(descriptor, _MODE)  # whatever the umask: the relay's group reads it
    return descriptor


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    wait = _FIRST_WAIT
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"another process has held the lock for {LOCK_SECONDS:g} s") from None
        time.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)


def _write(descriptor: int, path: str, line: bytes) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is not a regular file")
    if not status.st_size:  # a new file
        sync_directory(path)
    elif os.pread(descriptor, 1, status.st_size - 1) != b"\n":  # cut off by a writer that died
        line = b"\n" + line
    rest = memoryview(line + b"\n")
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _user() -> str:
    number = os.geteuid()
    try:
        return f"user {pwd.getpwuid(number).pw_name} (uid {number})"
    except KeyError:
        return f"uid {number}"

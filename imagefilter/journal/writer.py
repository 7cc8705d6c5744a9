"""Append records to the audit journal: one line of JSON each, on disk before the writer goes on.

For each record the file is opened, locked, repaired, written to, unlocked, synced and closed. So it is safe for many
processes, for a fork, and for log rotation by renaming, and no process keeps anything between two records.

Writers lock a file of their own, ``.NAME.lock``, which nobody else can open: who may read the journal could otherwise
keep all image actions waiting (``flock -s``).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import stat
import time

#: How long a writer waits for another one, in seconds. One needs microseconds, unless it was stopped.
LOCK_SECONDS = 1.0

_MODE = 0o640
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | os.O_NOFOLLOW  # a FIFO without a reader is an error, not a wait
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW
_MAX_TRIES = 5

# Seconds between two attempts at the lock. 32 threads that try each 0.5 ms keep the writer itself from the processor.
_FIRST_WAIT = 0.0005
_LONGEST_WAIT = 0.01

# Readers look for a lock on the journal itself, for microseconds; another program may hold one for as long as it likes.
_READER_SECONDS = 0.005

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def append(path: str, line: bytes, patience: float = LOCK_SECONDS) -> None:
    """Append a record and wait until it is on disk.

    :param line: without its end.
    :param patience: how long to wait for other writers, in seconds.
    :raises OSError: if it could not be written. Part of the line may then be in the file; the next writer ends it.
    """
    for _ in range(_MAX_TRIES):
        descriptor = _open(path)
        try:
            # Unlocked before it is synced: the syncs of several writers become one to the disk.
            lock = _lock(path, patience)
            try:
                _write(descriptor, path, line)
            finally:
                os.close(lock)
            os.fdatasync(descriptor)
            if os.fstat(descriptor).st_nlink:  # otherwise it was removed meanwhile, and the record with it
                return
        finally:
            os.close(descriptor)
    raise FileNotFoundError(f"{path} was removed again and again while it was written to")


def why_unusable(path: str) -> str | None:
    """Return why this process can't keep a journal at a path, or None; nothing is created.

    Some servers load as root and become another user then: to root it is the directory's owner who will write.
    """
    directory = os.path.dirname(path)
    if not os.path.isabs(path):
        return "it is not an absolute path"
    if not os.path.isdir(directory):
        return f"the directory {directory} does not exist (for {_user(os.geteuid())})"
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):  # read: to sync it
        return f"the directory {directory} is not readable and writable by {_user(os.geteuid())}"
    status = os.stat(directory)
    user = os.geteuid() or status.st_uid
    return _why_unsafe(directory, status, user) or _why_file_is_unusable(path, user)


def sync_directory(path: str) -> None:
    """Sync the directory of a file: until its name is on disk, nothing in it is."""
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _why_file_is_unusable(path: str, user: int) -> str | None:
    try:
        os.close(_open_existing(path, user))
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            return f"the file {path} is not readable and writable by {_user(os.geteuid())}"
        return str(error.strerror or error)
    return None


def _open(path: str) -> int:
    user = os.geteuid()
    with contextlib.suppress(FileNotFoundError):
        return _open_existing(path, user)
    _check(os.path.dirname(path), os.stat(os.path.dirname(path)), user)
    try:
        descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE)
    except FileExistsError:  # another process was faster
        return _open_existing(path, user)
    os.fchmod(descriptor, _MODE)  # whatever the umask: the relay's group reads it
    return descriptor


def _open_existing(path: str, user: int) -> int:
    """Open a journal if nobody but its writers can write to it.

    :param user: who writes, beside root.
    :raises OSError: if it is a link, or somebody else may write to it or replace it.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(f"{path} is a symbolic link") from error
        if error.errno in (errno.EISDIR, errno.ENXIO):
            raise OSError(f"{path} is not a regular file") from error
        raise
    folder = os.path.dirname(path)
    try:
        _check(path, os.fstat(descriptor), user)
        _check(folder, os.stat(folder), user)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check(path: str, status: os.stat_result, user: int) -> None:
    reason = _why_unsafe(path, status, user)
    if reason:
        raise OSError(reason)


def _why_unsafe(path: str, status: os.stat_result, user: int) -> str | None:
    """Return why a journal or its directory is not the writers' alone, or None."""
    if stat.S_ISREG(status.st_mode):
        if status.st_nlink > 1:
            return f"{path} has another name as well (a hard link)"
    elif not stat.S_ISDIR(status.st_mode):
        return f"{path} is not a regular file"
    if status.st_uid not in (user, 0):
        return f"{path} belongs to {_user(status.st_uid)}, not to {_user(user)}"
    if status.st_mode & _WRITABLE_BY_OTHERS:
        return f"{path} is writable by others than its owner (mode {stat.S_IMODE(status.st_mode):o})"
    return None


def _lock(path: str, patience: float) -> int:
    """Take the lock of the writers of a journal; return its descriptor: to close it is to release the lock.

    :raises TimeoutError: if another one holds it for too long.
    """
    folder, base = os.path.split(path)
    descriptor = os.open(f"{folder}/.{base}.lock", _LOCK_FLAGS, 0o600)
    if _try_lock(descriptor, patience):
        return descriptor
    os.close(descriptor)
    raise TimeoutError(f"another process has held the lock for {patience:g} s")


def _try_lock(descriptor: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    wait = _FIRST_WAIT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
        else:
            return True
        time.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)


def _write(descriptor: int, path: str, line: bytes) -> None:
    # For readers, who can't see the writers' own lock. Without it a line may be read late, but none is lost.
    _try_lock(descriptor, _READER_SECONDS)
    status = os.fstat(descriptor)
    if not status.st_size:  # a new file
        sync_directory(path)
    elif os.pread(descriptor, 1, status.st_size - 1) != b"\n":  # cut off by a writer that died
        line = b"\n" + line
    rest = memoryview(line + b"\n")
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _user(number: int) -> str:
    try:
        return f"user {pwd.getpwuid(number).pw_name} (uid {number})"
    except KeyError:
        return f"uid {number}"

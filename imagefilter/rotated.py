"""The files of a journal: the one that is written to, and those that were rotated away, told apart by their content.

Names and inode numbers are no identity: logrotate renames each file again and again, and compressing makes a new one.
A file is known by a digest of its start up to its first record, which has a UUID of its own.
"""

from __future__ import annotations

import datetime
import fcntl
import gzip
import hashlib
import json
import logging
import os
import re
import stat
import zlib
from typing import Any, BinaryIO, NamedTuple, cast

LOG = logging.getLogger(__name__)

#: Longest line that is looked at, in bytes; a record is some tens of KiB at most (see :mod:`imagefilter.event`).
LONGEST = 1 << 20

#: What a broken gzip file raises.
BROKEN = (EOFError, zlib.error, gzip.BadGzipFile)

# As logrotate names them: by number or date (dateformat may add a time). Not what people leave behind: .bak, .swp, ~
_SUFFIX = re.compile(r"[-.]\d[\d.:_T-]*(\.[a-z][a-z0-9]*)?")
_LISTINGS = 10

Key = tuple[int, int, int, int]


class File(NamedTuple):
    """A file of a journal."""

    path: str
    digest: str
    head: int  # how many bytes the digest is of
    started: str  # eventTime of the first record
    size: int  # bytes, uncompressed (as gzip says)
    live: bool  # it is the one that is written to


class Files:
    """The files of one journal; what was learnt about each is kept as long as it does not change."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._known: dict[Key, File | None] = {}
        self._warned: set[str] = set()

    def all(self) -> list[File]:
        """All files in the order in which they were begun; of copies the live one, the plain one, or the longest.

        :raises OSError: if one can't be read.
        """
        before = self._names()
        for _ in range(_LISTINGS):
            found = self._look(before)
            after = self._names()
            if after == before:  # else something was renamed meanwhile, and may be in the list twice, or not at all
                break
            before = after
        best: dict[str, File] = {}
        for file in sorted(found, key=lambda file: (file.live, is_plain(file.path), file.size)):
            best[file.digest] = file
        return sorted(best.values(), key=lambda file: (file.live, file.started))

    def _names(self) -> list[tuple[str, int]]:
        folder, name = os.path.split(self.path)
        try:
            with os.scandir(folder or ".") as entries:
                return sorted((e.path, e.inode()) for e in entries if e.name == name or self._is_rotated(e.name, name))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _is_rotated(self, name: str, base: str) -> bool:
        suffix = _SUFFIX.fullmatch(name, len(base)) if name.startswith(base) else None
        if suffix and suffix.group(1) not in (None, ".gz"):
            if name not in self._warned:
                LOG.warning("%s beside %s is not read: of compressed files only those of gzip are", name, self.path)
            self._warned.add(name)
            return False
        return bool(suffix)

    def _look(self, names: list[tuple[str, int]]) -> list[File]:
        known: dict[Key, File | None] = {}
        for path, _ in names:
            try:
                status = os.stat(path)
                key = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
                if stat.S_ISREG(status.st_mode) and key not in known:  # it may have two names: the live one came first
                    known[key] = self._identify(path, self._known.get(key))
            except FileNotFoundError:  # renamed or compressed meanwhile: it is in the next listing
                continue
        self._known = known
        return [file for file in known.values() if file]

    def _identify(self, path: str, known: File | None) -> File | None:
        live = os.path.basename(path) == os.path.basename(self.path)
        if known and not known.live and not live:
            return known._replace(path=path)
        return identify(path, live)


def is_plain(path: str) -> bool:
    """Whether a file is not compressed."""
    return not path.endswith(".gz")


def open_file(path: str) -> BinaryIO:
    """Open a file of a journal to read what is in it, uncompressed."""
    return open(path, "rb") if is_plain(path) else cast("BinaryIO", gzip.open(path))


def parse(raw: bytes) -> dict[str, Any] | None:
    """The record in a line; None if there is none: a writer died in mid-line."""
    if len(raw) > LONGEST:
        return None
    try:
        record = json.loads(raw.decode())
    except (ValueError, RecursionError):
        return None
    return record if type(record) is dict else None


def is_locked(descriptor: int) -> bool:
    """Whether a writer is at this very file: writers hold a lock while they write."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def identify(path: str, live: bool) -> File | None:
    """What is known about a file; None as long as it can't be told from others, since it holds no record yet."""
    with open_file(path) as stream:
        status = os.fstat(stream.fileno())
        try:
            head = _head(stream, live)
        except BROKEN:  # it is being compressed: then the original is still there. Or it is no gzip file
            return None
    if head is None:
        return None
    digest, length, started = head
    size = status.st_size if is_plain(path) else _uncompressed_size(path)
    modified = datetime.datetime.fromtimestamp(status.st_mtime, datetime.timezone.utc)
    return File(path, digest, length, started or modified.isoformat(timespec="microseconds"), size, live)


def digest_of(head: bytes) -> str:
    """The identity of a file that begins like this."""
    return hashlib.sha256(head).hexdigest()[:32]


def _head(stream: BinaryIO, live: bool) -> tuple[str, int, str] | None:
    """Digest and length of a file's start up to its first record, and that record's time."""
    head = b""
    while len(head) < LONGEST:
        line = stream.readline(LONGEST - len(head))
        head += line
        if not line.endswith(b"\n"):
            break
        record = parse(line)
        if record is not None:
            started = record.get("eventTime")
            return digest_of(head), len(head), started if isinstance(started, str) else ""
    # Without a record two files may begin alike, so one that still grows has to wait for its first.
    unfinished = len(head) < LONGEST and (live or is_locked(stream.fileno()))
    return None if unfinished or not head else (digest_of(head), len(head), "")


def _uncompressed_size(path: str) -> int:
    """What gzip noted at the end of a file, in bytes modulo 4 GiB."""
    with open(path, "rb") as file:
        file.seek(-4, os.SEEK_END)
        return int.from_bytes(file.read(4), "little")

"""The files of a journal: the one that is written to, and those that were rotated away.

Names and inode numbers don't identify a file: logrotate renames each file again and again, and compressing makes a new
one. A file is identified by a digest of its start, up to and with its first record, which has a UUID of its own.
"""

from __future__ import annotations

import datetime
import fcntl
import gzip
import hashlib
import json
import os
import re
import stat
import zlib
from typing import Any, BinaryIO, Callable, NamedTuple, cast

#: Longest line that is read, in bytes; a record is some tens of KiB at most (see :mod:`imagefilter.audit.event`).
MAX_LINE_BYTES = 1 << 20

#: What reading a broken gzip file raises.
BROKEN_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)

# As logrotate names them: by number or date (dateformat may add a time). Not what people leave behind: .bak, .swp, ~
_SUFFIX = re.compile(r"[-.]\d[\d.:_T-]*(?P<compression>\.[A-Za-z][A-Za-z0-9]*)?")
_MAX_LISTINGS = 10


class File(NamedTuple):
    """A file of a journal."""

    path: str
    digest: str
    head_length: int  # how many bytes the digest is of
    started: str  # eventTime of the first record
    size: int  # bytes, uncompressed (as gzip says)
    live: bool  # it is the one that is written to


class _Name(NamedTuple):
    path: str
    inode: int


class _Status(NamedTuple):
    """Changes when a file does."""

    device: int
    inode: int
    mtime_ns: int
    size: int


class Files:
    """The files of one journal. Each is read for its identity once, and again when it changes."""

    def __init__(self, path: str, on_unread: Callable[[str], None] | None = None) -> None:
        """Name the journal.

        :param on_unread: gets the name of each rotated file that is not read, once: only gzip is.
        """
        self.path = path
        self._on_unread = on_unread
        self._known: dict[_Status, File | None] = {}
        self._unread: set[str] = set()

    def all(self) -> list[File]:
        """Return all files in the order in which they were begun; of copies the live, the plain, or the longest one.

        :raises OSError: if one can't be read.
        """
        names = self._list()
        for _ in range(_MAX_LISTINGS):
            files = self._identify_all(names)
            names_before, names = names, self._list()
            if names == names_before:  # otherwise a file was renamed meanwhile, and may be missing or there twice
                break
        best: dict[str, File] = {}
        for file in sorted(files, key=lambda file: (file.live, is_plain(file.path), file.size)):
            best[file.digest] = file
        return sorted(best.values(), key=lambda file: (file.live, file.started))

    def _list(self) -> list[_Name]:
        folder, base = os.path.split(self.path)
        try:
            with os.scandir(folder or ".") as entries:
                names = [_Name(entry.path, entry.inode()) for entry in entries if self._is_read(entry.name, base)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(names)

    def _is_read(self, name: str, base: str) -> bool:
        if is_read(name, base):
            return True
        if self._on_unread and _is_rotated(name, base) and name not in self._unread:
            self._unread.add(name)
            self._on_unread(name)
        return False

    def _identify_all(self, names: list[_Name]) -> list[File]:
        known: dict[_Status, File | None] = {}
        for name in names:
            try:
                found = os.stat(name.path)
                status = _Status(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
                # A file may have two names: the live one comes first.
                if stat.S_ISREG(found.st_mode) and status not in known:
                    known[status] = self._identify(name.path, self._known.get(status))
            except FileNotFoundError:  # renamed or compressed meanwhile: it is in the next listing
                continue
        self._known = known
        return [file for file in known.values() if file]

    def _identify(self, path: str, known: File | None) -> File | None:
        live = os.path.basename(path) == os.path.basename(self.path)
        if known and not known.live and not live:
            return known._replace(path=path)
        return identify(path, live)


def is_read(name: str, base: str) -> bool:
    """Return whether a name is a journal's or that of a rotated file of it that can be read.

    :param base: the name of the journal.
    """
    suffix = _SUFFIX.fullmatch(name, len(base))
    is_readable = suffix is not None and suffix["compression"] in (None, ".gz")
    return name == base or (name.startswith(base) and is_readable)


def is_plain(path: str) -> bool:
    """Return whether a file is not compressed, by its name."""
    return not path.endswith(".gz")


def open_file(path: str) -> BinaryIO:
    """Open a file of a journal to read its content, uncompressed."""
    if is_plain(path):
        return open(path, "rb")
    return cast("BinaryIO", gzip.open(path))


def parse(raw: bytes) -> dict[str, Any] | None:
    """Return the record in a line; None if the line is torn: its writer died in the middle of it."""
    if len(raw) > MAX_LINE_BYTES:
        return None
    try:
        record = json.loads(raw.decode())
    except (ValueError, RecursionError):
        return None
    if type(record) is dict:
        return record
    return None


def is_locked(descriptor: int) -> bool:
    """Return whether a writer is at an open file: writers hold a lock while they write."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def identify(path: str, live: bool) -> File | None:
    """Read the identity of a file; None as long as it has none, since it holds no record yet."""
    with open_file(path) as stream:
        status = os.fstat(stream.fileno())
        try:
            head = _read_head(stream, live)
        except BROKEN_GZIP:  # either it is being compressed, and the original is still there, or it is not gzip
            return None
    if head is None:
        return None
    size = status.st_size
    if not is_plain(path):
        size = _read_uncompressed_size(path)
    started = head.started
    if not started:
        modified = datetime.datetime.fromtimestamp(status.st_mtime, datetime.timezone.utc)
        started = modified.isoformat(timespec="microseconds")
    return File(
        path=path,
        digest=compute_digest(head.content),
        head_length=len(head.content),
        started=started,
        size=size,
        live=live,
    )


def compute_digest(head: bytes) -> str:
    """Return the identity of a file that begins like this."""
    return hashlib.sha256(head).hexdigest()[:32]


def _is_rotated(name: str, base: str) -> bool:
    return name.startswith(base) and _SUFFIX.fullmatch(name, len(base)) is not None


class _Head(NamedTuple):
    """The start of a file, up to and with its first record."""

    content: bytes
    started: str  # that record's time; empty if there is none


def _read_head(stream: BinaryIO, live: bool) -> _Head | None:
    content = b""
    while len(content) < MAX_LINE_BYTES:
        line = stream.readline(MAX_LINE_BYTES - len(content))
        content += line
        if not line.endswith(b"\n"):
            break
        record = parse(line)
        if record is not None:
            return _Head(content, _read_started(record))
    # Without a record two files may begin alike, so one that still grows has to wait for its first.
    is_unfinished = len(content) < MAX_LINE_BYTES and (live or is_locked(stream.fileno()))
    if is_unfinished or not content:
        return None
    return _Head(content, "")


def _read_started(record: dict[str, Any]) -> str:
    started = record.get("eventTime")
    if isinstance(started, str):
        return started
    return ""


def _read_uncompressed_size(path: str) -> int:
    """Return what gzip noted at the end of a file: the size of its content in bytes, modulo 4 GiB."""
    with open(path, "rb") as file:
        file.seek(-4, os.SEEK_END)
        return int.from_bytes(file.read(4), "little")

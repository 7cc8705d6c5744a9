"""The newest requests of journals, without reading all that is older."""

from __future__ import annotations

import datetime
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Callable, NamedTuple

from imagefilter.journal.files import BROKEN_GZIP, is_plain, open_file, parse
from imagefilter.journal.history import History

#: How much of a journal's end is searched, in bytes; reading all of it with DuckDB is faster than a longer search.
MAX_BYTES = 64 << 20

_CHUNK = 1 << 16
_GZIP_RATIO = 10  # an unpacked file is about so many times as long

# A record may come after records that are this much younger: its writer waited for the lock while others wrote.
_LATENESS = datetime.timedelta(seconds=10)

# A quote in a client's text is escaped, so this is the record's own time.
_TIME = re.compile(rb'"eventTime": ?"([0-9T:.+-]+)"')


class Query(NamedTuple):
    """Which requests to return, and what of them."""

    select: Sequence[str]  # SQL, for each column of a row
    columns: Sequence[str]  # the columns of a verdict in it and in the condition, see imagefilter.journal.history
    where: str  # the condition, as SQL in which $name stands for a value
    values: Mapping[str, Any]
    matches: Callable[[dict[str, Any]], bool]  # the same condition, on a record
    since: str  # only requests from this time on match; "" for no limit
    limit: int  # 0: all


class Newest(NamedTuple):
    """Requests, oldest first."""

    rows: list[tuple[Any, ...]]
    torn: dict[str, int]  # lines, by file
    has_more: bool  # there are older ones


class _Part(NamedTuple):
    """A file to read: a journal's file, or a copy of its end."""

    path: str
    file: str  # of the journal


def read_newest(journals: Sequence[Sequence[str]], query: Query) -> Newest:
    """Return the newest requests of all journals.

    :param journals: the files of each, oldest first.
    :raises OSError: if a journal can't be read.
    """
    with tempfile.TemporaryDirectory(prefix="imagefilter-") as folder:
        parts: list[_Part] = []
        for files in journals:
            parts += _find_parts(files, query, folder)
        return _select(parts, query)


def _select(parts: Sequence[_Part], query: Query) -> Newest:
    history = History([part.path for part in parts])
    torn = history.load(["time", *query.columns], query.where, query.values)
    statement = f"SELECT {', '.join(query.select)} FROM requests ORDER BY time DESC"
    has_more = False
    if query.limit:
        rows = history.rows(f"{statement} LIMIT {query.limit + 1}")
        has_more = len(rows) > query.limit
        rows = rows[: query.limit]
    else:
        rows = history.rows(statement)
    rows.reverse()
    return Newest(rows, {part.file: torn[part.path] for part in parts if part.path in torn}, has_more)


def _find_parts(files: Sequence[str], query: Query, folder: str) -> list[_Part]:
    """Return the parts of a journal that can hold one of its newest requests: everything, if they are too far back."""
    everything = [_Part(file, file) for file in files]
    if not query.limit:
        return everything
    search = _Search(query, folder)
    parts: list[_Part] = []
    unread = list(files)
    while unread and not search.is_complete:
        part = search.read(unread.pop())
        if part is None:
            return everything
        parts.append(part)
    # Where a clock was put back, what is older in the file may be younger in time.
    if search.is_complete and (search.has_younger_before or _have_younger(unread, search.since)):
        return everything
    return parts


def _have_younger(files: Sequence[str], time: str) -> bool:
    """Return whether one of the newest of some files, of as much as is ever searched, has a record after a time."""
    room = MAX_BYTES
    for file in reversed(files):
        try:
            with open_file(file) as stream:
                if is_plain(file):  # its end is the newest; to find that of a compressed one is to read all of it
                    stream.seek(max(0, os.path.getsize(file) - room))
                content = stream.read(room)
        except BROKEN_GZIP:  # DuckDB reports it
            return True
        if _has_younger(content, time):
            return True
        room -= len(content)
        if room <= 0:
            break
    return False


def _has_younger(content: bytes, time: str) -> bool:
    limit = time.encode()
    return any(found[1] >= limit for found in _TIME.finditer(content))


class _Search:
    """Reads a journal backwards until no record that is still unread can be among its newest requests.

    It looks for one request more than the limit, which shows that there are more.
    """

    def __init__(self, query: Query, folder: str) -> None:
        self.is_complete = False
        self.since = query.since  # no request before this time is among the newest
        self.has_younger_before = False  # of the file that was read last, the part that is not needed has one, though
        self._query = query
        self._folder = folder  # for copies
        self._room = MAX_BYTES
        self._times: dict[str, str] = {}  # of the matching verdicts, by id: a record may be in two files
        self._stop_before = ""  # behind a record before this time there is none that was only late
        if query.since:
            self._stop_before = _subtract_lateness(query.since)

    def read(self, file: str) -> _Part | None:
        """Read the next older file; return the part of it that is needed, or None if the search is too long."""
        stream = self._open(file)
        if stream is None:
            return None
        with stream:
            start = self._find_start(stream)
            if start is None:
                return None
            if start == 0:
                return _Part(file, file)
            return _Part(_copy(stream, start, self._folder), file)

    def _open(self, file: str) -> BinaryIO | None:
        """Open a file to be read backwards: a compressed one is unpacked into memory."""
        if is_plain(file):
            return open(file, "rb")
        if _GZIP_RATIO * os.path.getsize(file) > self._room:
            return None
        try:
            with open_file(file) as stream:
                content = stream.read(self._room + 1)
        except BROKEN_GZIP:  # DuckDB reports it
            return None
        if len(content) > self._room:
            return None
        return io.BytesIO(content)

    def _find_start(self, stream: BinaryIO) -> int | None:
        """Return the offset from which on a file is needed, or None if the search is too long."""
        for start, line in _read_backwards(stream):
            self._room -= len(line) + 1
            if self._room < 0:
                return None
            record = parse(line)
            if record is None or not isinstance(record.get("eventTime"), str):
                continue
            if record["eventTime"] < self._stop_before:
                self.is_complete = True
                self.has_younger_before = self._is_younger_before(stream, start)
                return start
            if self._query.matches(record):
                self._add(record)
        return 0

    def _add(self, record: dict[str, Any]) -> None:
        self._times[record["id"]] = record["eventTime"]
        if len(self._times) == self._query.limit + 1:
            oldest = min(self._times.values())
            self.since = max(self.since, oldest)
            self._stop_before = _subtract_lateness(self.since)

    def _is_younger_before(self, stream: BinaryIO, end: int) -> bool:
        start = max(0, end - MAX_BYTES)
        stream.seek(start)
        return _has_younger(stream.read(end - start), self.since)


def _read_backwards(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file, the last one first, each with the offset at which it begins."""
    position = stream.seek(0, os.SEEK_END)
    rest = b""  # the end of a line that begins further ahead
    while position:
        size = min(_CHUNK, position)
        position -= size
        stream.seek(position)
        block = stream.read(size) + rest
        rest, *lines = block.split(b"\n")
        end = position + len(block)
        for line in reversed(lines):
            start = end - len(line)
            yield start, line
            end = start - 1
    if rest:
        yield 0, rest


def _copy(stream: BinaryIO, start: int, folder: str) -> str:
    """Copy the end of a file; return the path of the copy."""
    descriptor, path = tempfile.mkstemp(dir=folder)
    with open(descriptor, "wb") as copy:
        stream.seek(start)
        shutil.copyfileobj(stream, copy)
    return path


def _subtract_lateness(time: str) -> str:
    earlier = datetime.datetime.fromisoformat(time) - _LATENESS
    return earlier.isoformat(timespec="microseconds")

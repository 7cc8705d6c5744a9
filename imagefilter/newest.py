"""The newest requests of journals, without reading all that is older."""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from imagefilter.history import History
from imagefilter.journal import LOCK_SECONDS
from imagefilter.rotated import is_plain, open_file, parse

# So many bytes of each journal's end are tried, one after the other, before all of it is read.
_TAILS = (4 << 20, 64 << 20)
_GZIPPED = 10  # times as long when it is unpacked, or so
_NEVER = "9"


class Found(NamedTuple):
    """Requests, oldest first."""

    rows: list[tuple[Any, ...]]
    torn: dict[str, int]  # lines, by file
    more: bool  # there are older ones


class _Tail(NamedTuple):
    """The end of a journal."""

    paths: dict[str, str]  # what is read, and the file it is of
    since: str  # from then on it is complete; "" is from the beginning


class Wanted(NamedTuple):
    """What is wanted of which requests."""

    shown: Sequence[str]  # SQL, for each column
    needed: Sequence[str]  # the columns of :mod:`imagefilter.history` in it
    where: str  # SQL with values; the one named since is the time to begin at
    values: Mapping[str, str]
    limit: int  # 0: all


def newest(journals: Sequence[Sequence[str]], wanted: Wanted) -> Found:
    """The newest requests of all journals.

    :param journals: the files of each, oldest first.
    """
    for size in _TAILS if wanted.limit else ():
        with tempfile.TemporaryDirectory(prefix="imagefilter-") as folder:
            tails = [_tail_of(files, size, folder) for files in journals]
            paths = {path: file for tail in tails for path, file in tail.paths.items()}
            since = max((tail.since for tail in tails), default="")
            if since < _NEVER:
                found, times = _query(paths, wanted)
                if since <= wanted.values.get("since", "") or (found.more and times[0] > since):
                    return found
    return _query({file: file for files in journals for file in files}, wanted)[0]


def _query(paths: Mapping[str, str], wanted: Wanted) -> tuple[Found, list[str]]:
    limit = wanted.limit
    history = History(list(paths))
    torn = history.load(["time", *wanted.needed], wanted.where, wanted.values)
    order = f"ORDER BY time DESC LIMIT {limit + 1}" if limit else "ORDER BY time DESC"
    rows = history.rows(f"SELECT time, {', '.join(wanted.shown)} FROM found {order}")
    more = bool(limit) and len(rows) > limit
    kept = rows[: limit or None][::-1]
    return Found([row[1:] for row in kept], {paths[path]: n for path, n in torn.items()}, more), [
        row[0] for row in kept
    ]


def _tail_of(files: Sequence[str], size: int, folder: str) -> _Tail:
    paths: dict[str, str] = {}
    for file in reversed(files):
        length = os.path.getsize(file) * (1 if is_plain(file) else _GZIPPED)
        if length > size:
            if is_plain(file):
                paths[_end_of(file, size, folder)] = file
            return _Tail(paths, _complete_since(list(paths)[-1]) if paths else _NEVER)
        paths[file] = file
        size -= length
    return _Tail(paths, "")


def _end_of(file: str, size: int, folder: str) -> str:
    """A copy of the last lines of a file."""
    descriptor, path = tempfile.mkstemp(dir=folder)
    with open(file, "rb") as source, open(descriptor, "wb") as copy:
        source.seek(-size, os.SEEK_END)
        source.readline()
        shutil.copyfileobj(source, copy)
    return path


def _complete_since(path: str) -> str:
    """When the records of what is left out of a journal have ended, if it goes on with this file."""
    with open_file(path) as lines:
        for line in lines:
            record = parse(line.rstrip(b"\n"))
            if record:
                # A writer may have waited for the lock so long, while others wrote records that are younger.
                wait = datetime.timedelta(seconds=2 * LOCK_SECONDS)
                time = datetime.datetime.fromisoformat(record["eventTime"]) + wait
                return time.isoformat(timespec="microseconds")
    return _NEVER

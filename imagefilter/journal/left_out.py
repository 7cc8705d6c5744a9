"""What readers of a journal leave out: files beside it that they can't read, and lines that they don't understand.

An audit tool must not answer "nothing" where it has not looked.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from typing import Any, BinaryIO

from imagefilter.journal.files import BROKEN_GZIP, MAX_LINE_BYTES, is_plain, is_read, open_file, parse
from imagefilter.journal.record import is_configuration, read_content, read_time

# Between a journal's stem and its extension where logrotate's "extension" was set: audit-20261125.jsonl
_DATED = re.compile(r"[-._]?\d.*")

_OTHER_COMPRESSIONS = (".xz", ".bz2", ".zst", ".lz4", ".lzma", ".Z", ".zip")

_CHUNK_BYTES = 1 << 18


def find_unread_files(path: str, read: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield each file beside a journal that begins like it and is not read, with the reason.

    :param read: the paths that are read.
    """
    folder, base = os.path.split(path)
    names_read = {os.path.basename(file) for file in read}
    try:
        names = sorted(os.listdir(folder or "."))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if name in names_read or not _begins_like(name, base):
            continue
        reason = _why_unread(os.path.join(folder, name), base)
        if reason:
            yield os.path.join(folder, name), reason


def find_broken_gzip(path: str) -> str | None:
    """Return why a compressed file can't be read to its end, or None."""
    if is_plain(path):
        return None
    try:
        with open_file(path) as stream:
            while stream.read(_CHUNK_BYTES):
                pass
    except BROKEN_GZIP as error:
        return f"it is no gzip file, or was cut: {error}"
    return None


def find_bad_lines(path: str) -> Iterator[tuple[int, str]]:
    """Yield the number of each line that holds no record, with the reason; a writer may be at the last one."""
    number = 0
    with open_file(path) as stream:
        try:
            for line in _read_lines(stream):
                number += 1
                reason = describe_problem(line)
                if reason:
                    yield number, reason
        except BROKEN_GZIP as error:
            yield number + 1, f"the rest of the file can't be read: {error}"


def describe_problem(line: bytes) -> str | None:
    """Return why a line holds no record of imagefilter, or None."""
    if not line.strip():
        return None  # it closes one that was torn
    if len(line) > MAX_LINE_BYTES:
        return f"longer than {MAX_LINE_BYTES} bytes"
    record = parse(line)
    if record is None:
        return "not a JSON object: its writer may have died in the middle of it"
    return _describe_problem_of(record)


def _describe_problem_of(record: Mapping[str, Any]) -> str | None:
    texts = {field: record.get(field) for field in ("id", "eventTime", "eventType")}
    try:
        content = read_content(dict(record))
    except ValueError as error:
        return str(error)
    field = "verdict_id"
    if is_configuration(record):
        field = "policy_digest"
    elif record.get("eventType") == "control":
        field = "verdict"
    texts[field] = content.get(field)
    for name, value in texts.items():
        if not isinstance(value, str):
            return f"not a record: {name} is not a text"
    if read_time(dict(record)) is None:
        return "not a record: eventTime is not a time"
    return None


def _read_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the whole lines of a file, each with as much of it as a line may be long."""
    while line := stream.readline(MAX_LINE_BYTES + 1):
        rest = line
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE_BYTES + 1)
        # A writer may be at the last line; but not at one that is no record's beginning.
        if rest.endswith(b"\n") or len(line) > MAX_LINE_BYTES or not line.startswith(b"{"):
            yield line


def _begins_like(name: str, base: str) -> bool:
    """Return whether a file may hold records of the journal, by its name."""
    if name.startswith(base):
        return name != base
    stem, extension = os.path.splitext(base)
    if not name.startswith(stem) or not extension:
        return False
    date, found, rest = name[len(stem) :].partition(extension)
    return bool(found and _DATED.fullmatch(date) and (not rest or rest.startswith(".")))


def _why_unread(path: str, base: str) -> str | None:
    try:
        status = os.stat(path)
    except OSError as error:
        return str(error.strerror)
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    is_being_compressed = path.endswith(".gz") and os.path.exists(path[: -len(".gz")])
    if is_being_compressed or not status.st_size:
        return None
    return _why_unread_file(path, base)


def _why_unread_file(path: str, base: str) -> str | None:
    if path.endswith(_OTHER_COMPRESSIONS):
        return "gzip is the only compression that can be read"
    if not is_read(os.path.basename(path), base):
        return f"its name is not one that is read ({base}.1, {base}-20261125, with or without .gz)"
    return find_broken_gzip(path)

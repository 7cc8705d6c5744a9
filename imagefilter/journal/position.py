"""How far a journal was read, and which of its files comes next: pure, without I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from imagefilter.journal.files import File, is_plain


class Position(NamedTuple):
    """A place behind a line. ``Position(*json.loads(json.dumps(position)))`` is the same one."""

    file: str = ""  # the digest of the file that is being read: it survives renaming and compressing
    offset: int = 0  # bytes, uncompressed
    done: Mapping[str, int] = {}  # the digests of files that were read to their end, and where that was

    def offset_in(self, digest: str) -> int:
        """Return how far a file was read."""
        if digest == self.file:
            return self.offset
        return self.done.get(digest, 0)

    def enter(self, file: File) -> Position:
        """Return the place in a file where reading goes on."""
        offset = self.offset_in(file.digest)
        if is_plain(file.path):  # of a compressed file the size is only known modulo 4 GiB
            offset = min(offset, file.size)
        return Position(file.digest, offset, self.done)

    def move(self, digest: str, offset: int) -> Position:
        """Return the place behind the next line: of the file that is being read, or of one that had ended."""
        if digest == self.file:
            return Position(digest, offset, self.done)
        return Position(self.file, self.offset, {**self.done, digest: offset})

    def leave(self) -> Position:
        """Return the place behind the file that was being read."""
        return Position(done={**self.done, self.file: self.offset})

    def forget_others(self, digests: Collection[str]) -> Position:
        """Return the same place without the files that are not among these."""
        done = {digest: end for digest, end in self.done.items() if digest in digests}
        return Position(self.file, self.offset, done)


def decode_position(values: Any) -> Position:
    """Return the position that JSON has made a list of.

    :raises TypeError: if it is not one.
    :raises ValueError: if it is not one.
    """
    file, offset, done = values
    return Position(str(file), int(offset), dict(done))


class Step(NamedTuple):
    """What a reader does next."""

    file: File | None  # read this one; None: there is nothing to read
    position: Position  # before that file is entered
    is_lost: bool = False  # the file that was being read is gone, and with it what was not read of it


def next_step(files: Sequence[File], position: Position) -> Step:
    """Decide which file to read when none is open.

    :param files: all files of the journal, in the order in which they were begun.
    """
    last = None
    for file in files:
        if file.digest == position.file:
            last = file
    if last and not last.live:
        return Step(last, position)
    # An older file may have grown since, by a late writer: that comes first.
    unread = next((file for file in files if _is_unread(file, position)), None)
    if not position.file or unread is last:
        return Step(unread, position)
    return Step(unread, position.leave(), is_lost=last is None)


def unread_bytes(files: Iterable[File], position: Position) -> int:
    """Return how many bytes of a journal's files are behind a position (of compressed files: about)."""
    return sum(max(0, file.size - position.offset_in(file.digest)) for file in files)


def _is_unread(file: File, position: Position) -> bool:
    """Return whether a file may hold lines behind a position: the live one may always, a plain one may have grown."""
    if file.digest not in position.done or file.live:
        return True
    return is_plain(file.path) and file.size > position.done[file.digest]

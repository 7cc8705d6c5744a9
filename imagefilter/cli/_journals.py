"""Read the journals that an ``audit`` command is about, and say what of them was left out."""

from __future__ import annotations

import argparse
import collections
import os
import sys
from collections.abc import Collection, Iterable
from typing import Callable, TypeVar

from imagefilter.cli._filters import Filters
from imagefilter.cli._options import find_journals
from imagefilter.cli._output import fail, printable
from imagefilter.cli._same_names import SameNames
from imagefilter.journal.files import Files
from imagefilter.journal.history import History
from imagefilter.journal.left_out import find_bad_lines, find_broken_gzip, find_unread_files

#: The files of each journal, oldest first.
Journals = list[list[str]]

Result = TypeVar("Result")

# Bad lines of a file that are named; the others are counted.
_MAX_NAMED_LINES = 20


class LeftOut:
    """What was left out: each file and each line is a warning, and all of them are counted."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._lines: collections.Counter[str] = collections.Counter()

    @property
    def status(self) -> int:
        """The exit status: 1 if something was left out."""
        return int(bool(self._files or self._lines))

    def add_file(self, path: str, reason: str) -> None:
        """Warn of a file that is not read, once."""
        if path not in self._files:
            self._files.add(path)
            _warn(f"{path}: not read: {reason}")

    def add_unread_files(self, path: str, read: Collection[str]) -> None:
        """Warn of each file beside a journal that is not among those that are read."""
        for file, reason in find_unread_files(path, read):
            self.add_file(file, reason)

    def add_line(self, path: str, place: str, reason: str) -> None:
        """Warn of a line that is not understood; of the first ones of a file only."""
        self._lines[path] += 1
        if self._lines[path] <= _MAX_NAMED_LINES:
            _warn(f"{place}: {reason}")

    def add_lines(self, paths: Iterable[str]) -> None:
        """Warn of the lines of some files that hold no record."""
        for path in paths:
            for number, reason in find_bad_lines(path):
                self.add_line(path, f"{path}:{number}", reason)

    def describe(self) -> str:
        """Return how many files and lines were left out; empty if none was."""
        if not self.status:
            return ""
        return f"left out: files: {len(self._files)}, lines: {sum(self._lines.values())}"

    def finish(self) -> int:
        """Print a last line that counts what was left out; return the exit status."""
        if self.status:
            sys.stderr.write(f"{self.describe()}\n")
        return self.status


def find_files(args: argparse.Namespace, left_out: LeftOut) -> Journals:
    """Return the files of each journal, oldest first; end the program with exit status 2 if one can't be read."""
    return [_files_of(path, left_out) for path in find_journals(args)]


def load_history(args: argparse.Namespace, columns: Iterable[str], left_out: LeftOut) -> History:
    """Load the requests that the filter options choose; end the program with exit status 2 if that fails."""

    names = SameNames(args)

    def load(journals: Journals) -> History:
        history = History(flatten(journals))
        left_out.add_lines(history.load([*columns, *names.columns], *Filters(args).condition()))
        return history

    history = read(find_files(args, left_out), left_out, load)
    if names.columns:
        for values in history.rows(f"SELECT DISTINCT {', '.join(names.columns)} FROM requests"):
            names.add(dict(zip(names.columns, values)))
    names.warn()
    return history


def read(journals: Journals, left_out: LeftOut, function: Callable[[Journals], Result]) -> Result:
    """Read journals, if need be without the compressed files that are broken, which reading alone shows.

    End the program with exit status 2 if that fails.
    """
    try:
        return function(journals)
    except OSError as error:
        readable = [_without_broken_files(files, left_out) for files in journals]
        if readable == journals or not flatten(readable):
            fail(f"the journal can't be read: {error}")
    try:
        return function(readable)
    except OSError as error:
        fail(f"the journal can't be read: {error}")


def flatten(journals: Journals) -> list[str]:
    """Return the files of all journals."""
    paths = []
    for files in journals:
        paths += files
    return paths


def _files_of(path: str, left_out: LeftOut) -> list[str]:
    if os.path.exists(path) and not os.path.isfile(path):  # a FIFO would be waited for
        fail(f"the journal {path} can't be read: it is not a regular file")
    try:
        files = [file.path for file in Files(path).all()]
        if path not in files and os.path.exists(path):  # it is empty, or holds nothing but a torn line
            files.append(path)
        for file in files:
            with open(file, "rb"):
                pass
    except OSError as error:
        fail(f"the journal {path} can't be read: {error.strerror}: {error.filename}")
    left_out.add_unread_files(path, files)
    if not files:
        fail(f"journal {path} does not exist")
    return files


def _without_broken_files(files: Collection[str], left_out: LeftOut) -> list[str]:
    readable = []
    for file in files:
        reason = find_broken_gzip(file)
        if reason:
            left_out.add_file(file, reason)
        else:
            readable.append(file)
    return readable


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {printable(text)}\n")

"""Read the journals that an ``audit`` command is about."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from imagefilter.cli._filters import Filters
from imagefilter.cli._options import find_journals
from imagefilter.cli._output import fail
from imagefilter.journal.files import Files
from imagefilter.journal.history import History


def find_files(args: argparse.Namespace) -> list[list[str]]:
    """Return the files of each journal, oldest first; end the program with exit status 2 if one can't be read."""
    return [_files_of(path) for path in find_journals(args)]


def open_history(args: argparse.Namespace) -> History:
    """Open the journals, without reading them yet."""
    paths = []
    for files in find_files(args):
        paths += files
    return History(paths)


def load_history(args: argparse.Namespace, columns: Iterable[str]) -> History:
    """Load the requests that the filter options choose; end the program with exit status 2 if that fails."""
    history = open_history(args)
    with reading():
        torn = history.load(columns, *Filters(args).condition())
    warn_of_torn_lines(torn)
    return history


@contextmanager
def reading() -> Iterator[None]:
    """End the program with exit status 2 if journals can't be read."""
    try:
        yield
    except OSError as error:
        fail(f"the journal can't be read: {error}")


def warn_of_torn_lines(torn: Mapping[str, int]) -> None:
    """Report lines that hold no record.

    :param torn: their number, by file.
    """
    for path, count in torn.items():
        lines = f"{count} lines are"
        if count == 1:
            lines = "1 line is"
        sys.stderr.write(f"warning: {path}: {lines} torn and left out (a writer died there, or is still writing)\n")


def _files_of(path: str) -> list[str]:
    try:
        files = [file.path for file in Files(path).all()]
        if path not in files and os.path.exists(path):  # it is empty, or holds nothing but a torn line
            files.append(path)
        for file in files:
            with open(file, "rb"):
                pass
    except OSError as error:
        fail(f"the journal {path} can't be read: {error.strerror}: {error.filename}")
    if not files:
        fail(f"journal {path} does not exist")
    return files

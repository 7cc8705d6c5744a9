"""A folder of Parquet files, with a folder for each day as Hive names them: ``day=2026-11-26``.

Trino, Spark, ClickHouse and DuckDB read it as one table with a column ``day``.
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterable, Sequence

from imagefilter.export.checkpoint import Mark
from imagefilter.export.table import DAY, Table
from imagefilter.journal.writer import sync_directory

_UNFINISHED = ".unfinished"  # behind the name of a file, so that no reader takes it for one
_FOLDER_MODE = 0o750
_FILE_MODE = 0o640


class ParquetFolder:
    """Writes a file for each batch and day. The name tells the export and the batch, so a batch that is written again
    replaces what a killed export left of it.

    :param is_continued: the folder may hold files already: a checkpoint says where to go on.
    """

    def __init__(self, path: str, export_id: str, is_continued: bool) -> None:
        self._path = path
        self._export_id = export_id
        self._is_continued = is_continued
        self._table = Table()
        self._unfinished: list[str] = []

    def open(self, mark: Mark | None) -> Mark | None:
        """Make the folder, if it is not there."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._path, _FOLDER_MODE)
            sync_directory(self._path)
        if os.listdir(self._path) and not self._is_continued:
            raise FileExistsError("it is not empty: name another; with --checkpoint it is continued")
        return None

    def write(self, batch: Sequence[bytes], number: int) -> Mark | None:
        """Write the files of a batch; they get their names when all of them are on disk."""
        name = f"{self._export_id}-{number:06}.parquet"
        self._remove(f"{name}*")
        self._table.load(batch)
        self._unfinished = [self._write_day(day, name) for day in self._table.days()]
        for path in self._unfinished:
            os.rename(path, path[: -len(_UNFINISHED)])
            sync_directory(path)
        self._unfinished = []
        return None

    def finish(self) -> None:
        """Do nothing: each batch counts already."""

    def close(self) -> None:
        """Remove what is not finished."""
        for path in self._unfinished:
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._table.close()

    def _write_day(self, day: str, name: str) -> str:
        folder = os.path.join(self._path, f"{DAY}={day}")
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, _FOLDER_MODE)
            sync_directory(folder)
        path = os.path.join(folder, name + _UNFINISHED)
        self._table.write_day(day, path)
        _sync(path)
        return path

    def _remove(self, pattern: str) -> None:
        """Remove what a killed export left of a batch."""
        for path in _find(self._path, pattern):
            os.unlink(path)


def _find(folder: str, pattern: str) -> Iterable[str]:
    return glob.iglob(os.path.join(glob.escape(folder), f"{DAY}=*", pattern))


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, _FILE_MODE)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

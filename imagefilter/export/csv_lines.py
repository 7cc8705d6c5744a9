"""A batch of rows as CSV, with a line of names at the start of an output."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any, Callable

from imagefilter.export.table import Table, columns

_LEFT_OUT = ("cadf",)  # the whole record, which the other columns repeat


class CsvLines:
    """Turns batches into CSV.

    :param cell: returns a text so that no spreadsheet takes it for a formula.
    """

    def __init__(self, cell: Callable[[Any], Any]) -> None:
        self._cell = cell
        self._table = Table()
        self._names = [name for name in columns() if name not in _LEFT_OUT]

    def __call__(self, batch: Sequence[bytes], is_first: bool) -> Iterable[bytes]:
        """Yield the lines of a batch, behind the names if it is the first one."""
        if is_first:
            yield _encode(self._names)
        if batch:
            yield from self._rows(batch)

    def _rows(self, batch: Sequence[bytes]) -> Iterable[bytes]:
        self._table.load(batch)
        for row in self._table.read(self._names):
            yield _encode([self._cell(_simplify(value)) for value in row])


def _simplify(value: Any) -> Any:
    """Return lists, objects and truth values as JSON has them."""
    if isinstance(value, (bool, dict, list)):
        return json.dumps(value)
    return value


def _encode(row: Sequence[Any]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(row)
    return line.getvalue().encode()

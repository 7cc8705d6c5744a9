"""Records as rows: a batch of them is written to a file, and read from there by DuckDB, which knows their types."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb

from imagefilter.journal.columns import FIELDS, OUTCOME_COLUMNS, VERDICT_COLUMNS

#: The column of the day (UTC), by which folders of Parquet are partitioned.
DAY = "day"

_READ_ROWS = 10_000

# Beside those of imagefilter.journal.history. An outcome has no refusal: its status is that of the response.
_OWN_COLUMNS = {
    "id": "id",
    "record": "CASE eventType WHEN 'control' THEN 'verdict' ELSE 'outcome' END",
    "verdict_id": "coalesce(content.verdict_id, id)",
}
_LEFT_OUT = ("refusal_status",)
_LAST_COLUMNS = {"lost_lock": "content.lost_lock", "cadf": "cadf"}

# Hive's name for a row without a value of the column that is partitioned by.
_NO_DAY = "__HIVE_DEFAULT_PARTITION__"

_TABLE = """
CREATE OR REPLACE TABLE rows AS
SELECT
    {columns},
    coalesce(strftime(make_timestamp(epoch_us(TRY_CAST(eventTime AS TIMESTAMPTZ))), '%Y-%m-%d'), '{no_day}') AS {day}
FROM (
    SELECT *, attachments[1].content AS content
    FROM read_json(
        '{file}', format = 'newline_delimited', ignore_errors = true, columns = {{{fields}, cadf: 'VARCHAR'}}
    )
)
"""


def columns() -> dict[str, str]:
    """Return the columns of a record, by name, as SQL."""
    merged = {**_OWN_COLUMNS, **VERDICT_COLUMNS, **OUTCOME_COLUMNS, **_LAST_COLUMNS}
    return {name: sql for name, sql in merged.items() if name not in _LEFT_OUT}


def encode_row(raw: bytes) -> bytes:
    """Return a record with its own text in a field of its own, so that a row has it too.

    :raises UnicodeDecodeError: if it is not in UTF-8.
    """
    text = json.dumps(raw.decode()).encode()
    return raw.rstrip()[:-1] + b',"cadf":' + text + b"}"


class Table:
    """The rows of one batch after the other."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="imagefilter-")
        self._sql = duckdb.connect()
        self._sql.execute("SET threads = 1")

    def load(self, batch: Sequence[bytes]) -> None:
        """Take the rows of a batch, and forget those of the last one.

        :param batch: what :func:`encode_row` returned.
        :raises OSError: if not all of them could be read.
        """
        path = os.path.join(self._folder.name, "batch")
        with open(path, "wb") as file:
            for line in batch:
                file.write(line + b"\n")
        selected = [f"{sql} AS {name}" for name, sql in columns().items()]
        self._execute(
            _TABLE.format(columns=", ".join(selected), fields=FIELDS, file=_escape(path), day=DAY, no_day=_NO_DAY)
        )
        [(count,)] = self._execute("SELECT count(*) FROM rows").fetchall()
        if count != len(batch):
            raise OSError(f"DuckDB read {count} of {len(batch)} records")

    def days(self) -> list[str]:
        """Return the days (UTC) of which there are rows, each as YYYY-MM-DD."""
        return [day for (day,) in self._execute(f"SELECT DISTINCT {DAY} FROM rows ORDER BY 1").fetchall()]

    def write_day(self, day: str, path: str) -> None:
        """Write the rows of a day as a file of Parquet; the day is not in it, but in the name of its folder.

        :raises OSError: if it can't be written.
        """
        select = f"SELECT * EXCLUDE ({DAY}) REPLACE (TRY_CAST(time AS TIMESTAMPTZ) AS time) FROM rows"
        query = f"{select} WHERE {DAY} = '{_escape(day)}' ORDER BY time"
        self._execute(f"COPY ({query}) TO '{_escape(path)}' (FORMAT parquet, COMPRESSION zstd)")

    def read(self, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows, with these columns, in the order in which they were recorded."""
        result = self._execute(f"SELECT {', '.join(names)} FROM rows ORDER BY rowid")
        while rows := result.fetchmany(_READ_ROWS):
            yield from rows

    def close(self) -> None:
        """Remove the file."""
        self._sql.close()
        self._folder.cleanup()

    def _execute(self, query: str) -> duckdb.DuckDBPyConnection:
        try:
            return self._sql.execute(query)
        except duckdb.Error as error:
            raise OSError(str(error).partition("\n")[0]) from None


def _escape(text: str) -> str:
    return text.replace("'", "''")

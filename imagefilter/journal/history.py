"""Journals as a table for SQL (DuckDB): a row for each image action, its verdict and its outcome together.

The rotated files of a journal are read with it, and the journals of several hosts as one. A line that holds no record
(torn by a writer that died) is left out and counted.
"""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import duckdb

from imagefilter.journal.columns import FIELDS, OUTCOME_COLUMNS, VERDICT_COLUMNS
from imagefilter.journal.left_out import find_broken_gzip

# More goes to disk.
_MEMORY = "600MB"

_BATCH = 10_000

_NO_VALUES: Mapping[str, Any] = MappingProxyType({})

# All records in the files, one a row. A line that holds no record is known by what it lacks.
_RECORDS = """
CREATE VIEW all_records AS
SELECT *, attachments[1].content AS content
FROM read_json(
    [{files}],
    format = 'newline_delimited', ignore_errors = true, filename = true, columns = {{{fields}}}
);
CREATE VIEW records AS
SELECT
    coalesce(content.verdict_id, id) AS id,
    eventType = 'control' AS is_verdict,
    CASE
        WHEN id IS NULL OR eventTime IS NULL OR eventType IS NULL THEN filename
        WHEN eventTime NOT LIKE '____-__-__T__:__:__%' THEN filename
        WHEN eventType = 'control' AND content.verdict IS NULL THEN filename
        WHEN eventType <> 'control' AND content.verdict_id IS NULL THEN filename
    END AS torn_in,
    {columns}
FROM all_records
WHERE NOT (coalesce("action", '') = 'configure' AND content.policy_digest IS NOT NULL)
"""

_REQUESTS = """
CREATE OR REPLACE VIEW requests AS
SELECT
    verdicts.*,
    outcomes.* EXCLUDE (id),
    CASE
        WHEN verdict = 'deny' THEN 'refused'
        WHEN outcomes.id IS NULL THEN 'outcome unknown'
        ELSE coalesce(error, status::VARCHAR, 'no response')
    END AS outcome
FROM (
    SELECT * EXCLUDE (is_verdict, torn_in, status, image_id, error, seconds)
    FROM loaded WHERE is_verdict AND torn_in IS NULL
) AS verdicts
LEFT JOIN (
    SELECT
        id,
        any_value(status) AS status,
        any_value(image_id) AS image_id,
        any_value(error) AS error,
        any_value(seconds) AS seconds
    FROM loaded WHERE NOT is_verdict AND torn_in IS NULL GROUP BY id
) AS outcomes USING (id)
"""


class History:
    """The image actions that journals record.

    After :meth:`load` the view ``requests`` holds a row for each verdict: the columns that were loaded, and the columns
    ``status``, ``image_id``, ``error``, ``seconds`` and ``outcome`` of what the compute API responded.

    :param paths: files of journals.
    :raises OSError: if a compressed one can't be read to its end.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        for path in paths:  # some versions of DuckDB read a file that was cut without a word
            reason = find_broken_gzip(path)
            if reason:
                raise OSError(f"{path}: {reason}")
        self._folder = tempfile.TemporaryDirectory(prefix="imagefilter-")  # for what does not fit into memory
        self._sql = duckdb.connect()
        self._sql.execute(f"SET memory_limit = {_quote(_MEMORY)}")
        self._sql.execute(f"SET temp_directory = {_quote(self._folder.name)}")
        self._sql.execute("SET preserve_insertion_order = false")  # queries sort where it matters
        columns = [f"{expression} AS {name}" for name, expression in VERDICT_COLUMNS.items()]
        columns += [f"{expression} AS {name}" for name, expression in OUTCOME_COLUMNS.items()]
        files = [_quote(glob.escape(path)) for path in paths]
        self._sql.execute(_RECORDS.format(columns=", ".join(columns), files=", ".join(files), fields=FIELDS))

    def find_ids(self, where: str, values: Mapping[str, Any] = _NO_VALUES) -> list[str]:
        """Return the ids of the verdicts for which a condition holds, or for whose outcome it does.

        :param where: SQL in which ``$name`` stands for a value.
        :raises OSError: if a journal can't be read.
        """
        rows = self._read(f"SELECT DISTINCT id FROM records WHERE {where}", values).fetchall()
        return [row[0] for row in rows]

    def load(
        self, columns: Iterable[str], where: str = "true", values: Mapping[str, Any] = _NO_VALUES
    ) -> dict[str, int]:
        """Read the journals, once, into the view ``requests``.

        :param columns: which columns of the verdict to load; those of the outcome are always loaded.
        :param where: which verdicts to load, as SQL in which ``$name`` stands for a value.
        :returns: the number of torn lines, by file.
        :raises OSError: if a journal can't be read.
        """
        loaded = ["id", "is_verdict", "torn_in", *OUTCOME_COLUMNS]
        for name in dict.fromkeys(columns):
            if name in VERDICT_COLUMNS:  # an outcome repeats many of them: no need to keep them twice
                loaded.append(f"CASE WHEN is_verdict THEN {name} END AS {name}")
        condition = f"torn_in IS NOT NULL OR NOT is_verdict OR ({where})"
        self._read(
            f"CREATE OR REPLACE TABLE loaded AS SELECT {', '.join(loaded)} FROM records WHERE {condition}", values
        )
        self._remove_copies()
        self._sql.execute(_REQUESTS)
        return dict(self.rows("SELECT torn_in, count(*) FROM loaded WHERE torn_in IS NOT NULL GROUP BY torn_in"))

    def read(self, query: str, values: Mapping[str, Any] = _NO_VALUES) -> list[tuple[Any, ...]]:
        """Return the rows of a query on ``all_records``: each line of the files, also what is about no request.

        :raises OSError: if a journal can't be read.
        """
        return self._read(query, values).fetchall()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query on ``requests``."""
        return self._sql.execute(query).fetchall()

    def iterate(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query on ``requests``, without holding all of them in memory."""
        result = self._sql.execute(query)
        while rows := result.fetchmany(_BATCH):
            yield from rows

    def _remove_copies(self) -> None:
        """Keep each verdict once: it may be in two files, one of them a copy, or just being compressed."""
        by_id = "FROM loaded WHERE is_verdict GROUP BY id"
        if self.rows(f"SELECT 1 {by_id} HAVING count(*) > 1 LIMIT 1"):
            self._sql.execute(f"DELETE FROM loaded WHERE is_verdict AND rowid NOT IN (SELECT min(rowid) {by_id})")

    def _read(self, query: str, values: Mapping[str, Any]) -> duckdb.DuckDBPyConnection:
        try:
            return self._sql.execute(query, dict(values))
        except duckdb.Error as error:
            raise OSError(str(error)) from None


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

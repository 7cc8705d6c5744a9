"""Journals read back: each image action once, its verdict and its outcome together, as a table for SQL (DuckDB).

The rotated files of a journal are read with it, and the journals of several hosts as one. A line that holds no record
(torn by a writer that died) is left out and counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import duckdb

# More goes to disk.
_MEMORY = "600MB"

_BATCH = 10_000

_NOTHING: Mapping[str, str] = MappingProxyType({})

# What is read of a record; all else in it is passed over, and what is of another type than here is null.
_TEXTS = ("id", "name", "domain", "project_id", "project_name", "request_id", "global_request_id", "forwarded_for")
_HOST = {"address": "VARCHAR", "agent": "VARCHAR"}
_INITIATOR = {**dict.fromkeys(_TEXTS, "VARCHAR"), "roles": "VARCHAR[]", "vouched": "BOOLEAN", "host": _HOST}
_CONTENT = {
    **dict.fromkeys(("verdict", "action", "project_id", "rule", "message", "mode", "method", "path"), "VARCHAR"),
    **dict.fromkeys(("media_type", "image_name", "image_name_type", "metadata_type"), "VARCHAR"),
    **dict.fromkeys(("verdict_id", "image_id", "error"), "VARCHAR"),
    **dict.fromkeys(("status", "limit", "usage", "metadata_count", "unrecorded"), "BIGINT"),
    **{"metadata": "JSON", "metadata_keys": "VARCHAR[]", "cut": "VARCHAR[]", "seconds": "DOUBLE"},
}
_RECORD = {
    **{"id": "VARCHAR", "eventType": "VARCHAR", "eventTime": "VARCHAR"},
    **{"observer": {"host": _HOST}, "initiator": _INITIATOR, "target": {"id": "VARCHAR"}},
    "attachments": [{"content": _CONTENT}],
}

# Columns of a verdict, and of its outcome. Times are all of one form, in UTC, so that they compare as texts.
_VERDICT = {
    **{"time": "eventTime", "refusal_status": "c.status", "quota_limit": 'c."limit"', "quota_usage": "c.usage"},
    **{name: f"c.{name}" for name in ("verdict", "action", "rule", "message", "mode", "project_id", "method", "path")},
    **{name: f"c.{name}" for name in ("media_type", "image_name", "image_name_type", "metadata", "metadata_keys")},
    **{name: f"c.{name}" for name in ("metadata_count", "metadata_type", "cut")},
    **{"user_id": "initiator.id", "user_name": "initiator.name", "user_domain": "initiator.domain"},
    **{"caller_project_id": "initiator.project_id", "address": "initiator.host.address"},
    **{name: f"initiator.{name}" for name in ("project_name", "vouched", "roles", "forwarded_for", "request_id")},
    **{"global_request_id": "initiator.global_request_id", "agent": "initiator.host.agent"},
    **{"host": "observer.host.address", "server_id": "target.id"},
}
_OUTCOME = {name: f"c.{name}" for name in ("status", "image_id", "error", "seconds")}

# A line that holds no record is known by what it lacks.
_RECORDS = f"""
CREATE VIEW records AS SELECT coalesce(c.verdict_id, id) AS id, eventType = 'control' AS decides,
    CASE WHEN id IS NULL OR eventTime IS NULL OR eventType IS NULL THEN filename END AS torn_in,
    {", ".join(f"{expression} AS {name}" for name, expression in {**_VERDICT, **_OUTCOME}.items())}
    FROM (SELECT *, attachments[1].content AS c FROM lines);
"""
_FOUND = """
CREATE OR REPLACE VIEW found AS SELECT verdicts.*, outcomes.* EXCLUDE (id),
    CASE WHEN verdict = 'deny' THEN 'refused'
         WHEN outcomes.id IS NULL THEN 'outcome unknown'
         ELSE coalesce(error, status::VARCHAR, 'no answer') END AS outcome
    FROM (SELECT * EXCLUDE (decides, torn_in, status, image_id, error, seconds) FROM kept WHERE decides) AS verdicts
    LEFT JOIN (SELECT id, any_value(status) AS status, any_value(image_id) AS image_id, any_value(error) AS error,
               any_value(seconds) AS seconds FROM kept WHERE NOT decides GROUP BY id) AS outcomes USING (id);
"""
# A record may stand in two files: a copy, or one that is just being compressed.
_COPIES = "FROM kept WHERE decides GROUP BY id"


class History:
    """The requests that journals tell of.

    :param paths: files of journals.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="imagefilter-")  # of what does not fit into memory
        self._sql = duckdb.connect()
        self._sql.execute(f"SET memory_limit = {_quoted(_MEMORY)}; SET temp_directory = {_quoted(self._folder.name)}")
        self._sql.execute("SET preserve_insertion_order = false")  # rows are sorted where it matters
        names = ", ".join(_quoted(_literal(path)) for path in paths)
        columns = ", ".join(f"{name}: {_quoted(_type(kind))}" for name, kind in _RECORD.items())
        options = f"format = 'newline_delimited', ignore_errors = true, filename = true, columns = {{{columns}}}"
        self._sql.execute(f"CREATE VIEW lines AS SELECT * FROM read_json([{names}], {options})")
        self._sql.execute(_RECORDS)

    def ids(self, where: str, values: Mapping[str, str]) -> list[str]:
        """The ids of verdicts to which, or to the outcome of which, a condition applies.

        :raises OSError: if a journal can't be read.
        """
        return [row[0] for row in self._query(f"SELECT DISTINCT id FROM records WHERE {where}", values).fetchall()]

    def load(self, columns: Iterable[str], where: str = "true", values: Mapping[str, Any] = _NOTHING) -> dict[str, int]:
        """Read the journals, once, into the view ``found``: a row a verdict, with its outcome.

        :param columns: those of the verdict that are wanted; those of the outcome are always there.
        :param where: which verdicts, as SQL in which ``$name`` stands for a value.
        :returns: the number of torn lines of each file that has some.
        :raises OSError: if a journal can't be read.
        """
        wanted = [name for name in dict.fromkeys(columns) if name in _VERDICT]
        # An outcome repeats who and what: no need to keep it twice.
        names = ", ".join((*(f"CASE WHEN decides THEN {name} END AS {name}" for name in wanted), *_OUTCOME))
        chosen = f"torn_in IS NOT NULL OR NOT decides OR ({where})"
        self._query(
            f"CREATE OR REPLACE TABLE kept AS SELECT id, decides, torn_in, {names} FROM records WHERE {chosen}", values
        )
        if self.rows(f"SELECT 1 {_COPIES} HAVING count(*) > 1 LIMIT 1"):
            self._sql.execute(f"DELETE FROM kept WHERE decides AND rowid NOT IN (SELECT min(rowid) {_COPIES})")
        self._sql.execute(_FOUND)
        return dict(self.rows("SELECT torn_in, count(*) FROM kept WHERE torn_in IS NOT NULL GROUP BY 1"))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The answer to a query on ``found``."""
        return self._sql.execute(query).fetchall()

    def each(self, query: str) -> Iterator[tuple[Any, ...]]:
        """The same, a few at a time."""
        answer = self._sql.execute(query)
        while rows := answer.fetchmany(_BATCH):
            yield from rows

    def _query(self, query: str, values: Mapping[str, Any]) -> duckdb.DuckDBPyConnection:
        try:
            return self._sql.execute(query, dict(values))
        except duckdb.Error as error:
            raise OSError(str(error)) from None


def _type(kind: Any) -> str:
    """A type in DuckDB's words."""
    if isinstance(kind, list):
        return f"{_type(kind[0])}[]"
    if isinstance(kind, dict):
        return f"STRUCT({', '.join(f'{chr(34)}{name}{chr(34)} {_type(inner)}' for name, inner in kind.items())})"
    return str(kind)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _literal(path: str) -> str:
    """A path that is no pattern to DuckDB."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in path)

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

from imagefilter.journal.left_out import find_broken_gzip

# More goes to disk.
_MEMORY = "600MB"

_BATCH = 10_000

_NO_VALUES: Mapping[str, Any] = MappingProxyType({})

# The fields that are read of a record. DuckDB skips all others, and reads a value of another type as NULL.
_FIELDS = """
    id: 'VARCHAR',
    eventType: 'VARCHAR',
    eventTime: 'VARCHAR',
    observer: 'STRUCT(host STRUCT(address VARCHAR))',
    initiator: 'STRUCT(
        id VARCHAR,
        name VARCHAR,
        "domain" VARCHAR,
        authenticated BOOLEAN,
        project_id VARCHAR,
        project_name VARCHAR,
        roles VARCHAR[],
        audit_ids VARCHAR[],
        trust STRUCT(id VARCHAR, trustee_id VARCHAR, trustor_id VARCHAR),
        application_credential STRUCT(id VARCHAR, name VARCHAR),
        service_user STRUCT(id VARCHAR, name VARCHAR),
        request_id VARCHAR,
        global_request_id VARCHAR,
        forwarded_for VARCHAR,
        host STRUCT(address VARCHAR, agent VARCHAR)
    )',
    target: 'STRUCT(id VARCHAR)',
    attachments: 'STRUCT(content STRUCT(
        verdict_id VARCHAR,
        verdict VARCHAR,
        "action" VARCHAR,
        project_id VARCHAR,
        rule VARCHAR,
        message VARCHAR,
        mode VARCHAR,
        "limit" BIGINT,
        usage BIGINT,
        method VARCHAR,
        path VARCHAR,
        media_type VARCHAR,
        image_name VARCHAR,
        image_name_type VARCHAR,
        metadata STRUCT("key" VARCHAR, "value" VARCHAR, "type" VARCHAR)[],
        backup_type VARCHAR,
        rotation BIGINT,
        metadata_keys VARCHAR[],
        metadata_count BIGINT,
        metadata_type VARCHAR,
        truncated STRUCT(field VARCHAR, "length" BIGINT)[],
        status BIGINT,
        image_id VARCHAR,
        seconds DOUBLE,
        error VARCHAR
    ))[]'
"""

# Columns that come from the record of a verdict. Times are all of one form, in UTC, so they compare as texts.
_VERDICT_COLUMNS = {
    "time": "eventTime",
    "verdict": "content.verdict",
    "action": 'content."action"',
    "project_id": "content.project_id",
    "rule": "content.rule",
    "refusal_status": "content.status",
    "message": "content.message",
    "mode": "content.mode",
    "quota_limit": 'content."limit"',
    "quota_usage": "content.usage",
    "method": "content.method",
    "path": "content.path",
    "media_type": "content.media_type",
    "image_name": "content.image_name",
    "image_name_type": "content.image_name_type",
    "backup_type": "content.backup_type",
    "rotation": "content.rotation",
    "metadata": "content.metadata",
    "metadata_keys": "content.metadata_keys",
    "metadata_count": "content.metadata_count",
    "metadata_type": "content.metadata_type",
    "truncated": "content.truncated",
    "user_id": "initiator.id",
    "user_name": "initiator.name",
    "user_domain": 'initiator."domain"',
    "authenticated": "initiator.authenticated",
    "caller_project_id": "initiator.project_id",
    "project_name": "initiator.project_name",
    "roles": "initiator.roles",
    "audit_ids": "initiator.audit_ids",
    "trust_id": "initiator.trust.id",
    "trustee_id": "initiator.trust.trustee_id",
    "trustor_id": "initiator.trust.trustor_id",
    "application_credential_id": "initiator.application_credential.id",
    "application_credential_name": "initiator.application_credential.name",
    "service_user_id": "initiator.service_user.id",
    "service_user_name": "initiator.service_user.name",
    "request_id": "initiator.request_id",
    "global_request_id": "initiator.global_request_id",
    "forwarded_for": "initiator.forwarded_for",
    "address": "initiator.host.address",
    "agent": "initiator.host.agent",
    "server_id": "target.id",
    "host": "observer.host.address",
}

# Columns that come from the record of its outcome.
_OUTCOME_COLUMNS = {
    "status": "content.status",
    "image_id": "content.image_id",
    "error": "content.error",
    "seconds": "content.seconds",
}

# All records in the files, one a row. A line that holds no record is known by what it lacks.
_RECORDS = """
CREATE VIEW records AS
SELECT
    coalesce(content.verdict_id, id) AS id,
    eventType = 'control' AS is_verdict,
    CASE
        WHEN id IS NULL OR eventTime IS NULL OR eventType IS NULL THEN filename
        WHEN eventType = 'control' AND content.verdict IS NULL THEN filename
        WHEN eventType <> 'control' AND content.verdict_id IS NULL THEN filename
    END AS torn_in,
    {columns}
FROM (
    SELECT *, attachments[1].content AS content
    FROM read_json(
        [{files}],
        format = 'newline_delimited', ignore_errors = true, filename = true, columns = {{{fields}}}
    )
)
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
        columns = [f"{expression} AS {name}" for name, expression in _VERDICT_COLUMNS.items()]
        columns += [f"{expression} AS {name}" for name, expression in _OUTCOME_COLUMNS.items()]
        files = [_quote(glob.escape(path)) for path in paths]
        self._sql.execute(_RECORDS.format(columns=", ".join(columns), files=", ".join(files), fields=_FIELDS))

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
        loaded = ["id", "is_verdict", "torn_in", *_OUTCOME_COLUMNS]
        for name in dict.fromkeys(columns):
            if name in _VERDICT_COLUMNS:  # an outcome repeats many of them: no need to keep them twice
                loaded.append(f"CASE WHEN is_verdict THEN {name} END AS {name}")
        condition = f"torn_in IS NOT NULL OR NOT is_verdict OR ({where})"
        self._read(
            f"CREATE OR REPLACE TABLE loaded AS SELECT {', '.join(loaded)} FROM records WHERE {condition}", values
        )
        self._remove_copies()
        self._sql.execute(_REQUESTS)
        return dict(self.rows("SELECT torn_in, count(*) FROM loaded WHERE torn_in IS NOT NULL GROUP BY torn_in"))

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

"""The processes that write a journal: by which policy each of them judges, and what it recorded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from imagefilter.journal.history import History
from imagefilter.journal.process import Process

# The latest load of each filter in each process, and what that process recorded. A container gives the same ids to the
# processes of each start: a process that came later with the same id has replaced the other.
_PROCESSES = """
WITH loads AS (
    SELECT
        observer.host.address AS host,
        content.pid AS pid,
        content.configuration.process_started AS started,
        content.configuration.process_namespace AS namespace,
        content.configuration."section" AS "section",
        arg_max(content, content.configuration.serial) AS latest,
        arg_max(eventTime, content.configuration.serial) AS loaded_at,
        min(eventTime) AS first_at
    FROM all_records
    WHERE "action" = 'configure' AND content.configuration.serial IS NOT NULL AND eventTime IS NOT NULL
    GROUP BY ALL
),
lives AS (
    SELECT *, lead(first_at) OVER (PARTITION BY host, pid, "section" ORDER BY first_at) AS replaced_at FROM loads
)
SELECT
    lives.host,
    lives.pid,
    any_value(started),
    any_value(namespace),
    any_value(latest),
    any_value(loaded_at),
    max(eventTime),
    count(*) FILTER (content.verdict = 'deny' AND eventTime >= $since),
    coalesce(sum(content.unrecorded), 0)
FROM lives LEFT JOIN all_records ON
    lives.host = observer.host.address AND lives.pid = content.pid AND eventTime >= first_at
WHERE replaced_at IS NULL
GROUP BY lives.host, lives.pid, "section"
ORDER BY lives.host, lives.pid, "section"
"""

# Its columns.
_NAMES = ("host", "pid", "started", "namespace", "latest", "loaded_at", "last", "refused", "unrecorded")


class FilterState(NamedTuple):
    """What a journal tells of one filter in one process. Times are texts in ISO 8601, in UTC."""

    host: str
    process: Process
    section: str  # of the paste file
    paste: dict[str, str]  # the options in it
    digest: str
    mode: str
    stays_on: list[str]
    files: list[str]
    coordination: str | None  # where its locks are
    loaded: str
    failure: str | None  # of the latest reload
    failed_at: str | None
    last: str  # record of the process
    refused: int  # requests since a time
    unrecorded: int  # records that the process could not write


def read_processes(paths: Iterable[str], since: str) -> list[FilterState]:
    """Return the filters that files of journals tell of, by host and process.

    :param since: requests that were refused before then are not counted.
    :raises OSError: if a journal can't be read.
    """
    return [_build_state(dict(zip(_NAMES, row))) for row in History(list(paths)).read(_PROCESSES, {"since": since})]


def _build_state(row: dict[str, Any]) -> FilterState:
    configuration = row["latest"]["configuration"]
    failed_at = None
    if configuration["failure"]:
        failed_at = row["loaded_at"]
    return FilterState(
        host=row["host"],
        process=Process(row["pid"], row["started"], row["namespace"]),
        section=configuration["section"] or "",
        paste={item["key"]: item["value"] for item in configuration["paste"] or ()},
        digest=row["latest"]["policy_digest"],
        mode=configuration["mode"] or "",
        stays_on=configuration["stays_on"] or [],
        files=configuration["files"] or [],
        coordination=configuration["coordination"],
        loaded=configuration["loaded"] or "",
        failure=configuration["failure"],
        failed_at=failed_at,
        last=row["last"],
        refused=row["refused"],
        unrecorded=int(row["unrecorded"]),
    )

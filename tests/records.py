"""Read audit records in tests, without the code under test."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def content(record: Record) -> dict[str, Any]:
    """Return imagefilter's own part of a record."""
    own_part: dict[str, Any] = record["attachments"][0]["content"]
    return own_part


def verdicts(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return imagefilter's own part of each record of a verdict."""
    return [content(record) for record in records if record["eventType"] == "control"]


def outcomes(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return imagefilter's own part of each record of an outcome."""
    return [content(record) for record in records if record["eventType"] == "activity"]


def parse_requests(lines: Iterable[str | bytes]) -> list[Record]:
    """Return the records in lines of a journal that are about requests: no configurations."""
    records: list[Record] = [json.loads(line) for line in lines]
    return [record for record in records if record["action"] != "configure"]


def parse_configurations(lines: Iterable[str | bytes]) -> list[Record]:
    """Return the records in lines of a journal that say by which policy a process judges."""
    records: list[Record] = [json.loads(line) for line in lines]
    return [record for record in records if record["action"] == "configure"]


def remove_configurations(path: Path) -> None:
    """Leave only the lines about requests in a journal, so that a test can choose its lines by number."""
    lines = [line for line in path.read_bytes().splitlines(keepends=True) if b'"action":"configure"' not in line]
    path.write_bytes(b"".join(lines))

"""Read audit records in tests, without the code under test."""

from __future__ import annotations

from collections.abc import Iterable
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

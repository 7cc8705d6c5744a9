"""What all records of a journal have in common, for those who read them (see :mod:`imagefilter.audit.event`)."""

from __future__ import annotations

import datetime
from typing import Any

#: The name of the attachment that holds what CADF has no place for.
ATTACHMENT = "imagefilter"


def read_content(record: dict[str, Any]) -> dict[str, Any]:
    """Return imagefilter's own part of a record.

    :raises ValueError: if it is not a record of imagefilter.
    """
    try:
        for attachment in record["attachments"]:
            content = attachment["content"]
            if attachment["name"] == ATTACHMENT and type(content) is dict and type(record["id"]) is str:
                return content
    except (KeyError, TypeError):
        pass
    raise ValueError("not a record of imagefilter")


def read_time(record: dict[str, Any]) -> float | None:
    """Return when a record was made, in seconds since 1970; None if it does not say."""
    try:
        return datetime.datetime.fromisoformat(record["eventTime"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None

"""What is in a record of the journal (see :mod:`imagefilter.event`), for who reads it."""

from __future__ import annotations

import datetime
from typing import Any

from imagefilter.event import ATTACHMENT
from imagefilter.options import ACTIONS

VERDICTS = ("allow", "deny", "would deny", "exempt")


def content_of(record: dict[str, Any]) -> dict[str, Any]:
    """What is ours in a record.

    :raises ValueError: if it is no record of imagefilter's.
    """
    try:
        for attachment in record["attachments"]:
            content = attachment["content"]
            if attachment["name"] == ATTACHMENT and type(content) is dict and type(record["id"]) is str:
                return content
    except (KeyError, TypeError):
        pass
    raise ValueError("it is no record of imagefilter's")


def event_type(record: dict[str, Any]) -> str:
    """What to call a record on a message bus: ``imagefilter.<action>.allow|deny|would_deny|exempt|outcome``.

    :raises ValueError: if it is no record of imagefilter's.
    """
    content = content_of(record)
    what = "outcome" if "verdict_id" in content else content.get("verdict")
    if what not in (*VERDICTS, "outcome"):
        raise ValueError("it is neither a verdict nor an outcome")
    return f"imagefilter.{action_of(content)}.{what.replace(' ', '_')}"


def action_of(content: dict[str, Any]) -> str:
    """The action that a record is about; ``unknown`` if none could be read."""
    action = content.get("action")
    return action if action in ACTIONS else "unknown"


def time_of(record: dict[str, Any]) -> float | None:
    """When a record was made, in seconds since 1970."""
    try:
        return datetime.datetime.fromisoformat(record["eventTime"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None

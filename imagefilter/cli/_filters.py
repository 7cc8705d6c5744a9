"""Options that choose requests, applied to journals as SQL and to single records."""

from __future__ import annotations

import argparse
import datetime
import re
from collections.abc import Mapping
from typing import Any

from imagefilter.journal.record import label, read_content
from imagefilter.request.action import ACTIONS
from imagefilter.rules import table
from imagefilter.rules.engine import Decision

VERDICTS = tuple(decision.value for decision in Decision)

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

# The columns of imagefilter.journal.history that each option is compared with; one equal column is enough.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "project": ("project_id", "project_name", "project_label"),
    "user": ("user_id", "user_name", "user_label", "trustee_id"),
    "server": ("server_id",),
    "verdict": ("verdict",),
    "rule": ("rule",),
    "action": ("action",),
}


def add_filters(parser: argparse.ArgumentParser, times: bool = True) -> None:
    """Add the options that choose requests."""
    if times:
        forms = "24h (s, m, h, d, w) ago, a date, or a time in ISO 8601 (UTC unless it has an offset)"
        parser.add_argument("--since", metavar="TIME", type=parse_time, help=f"requests since then: {forms}")
        parser.add_argument("--until", metavar="TIME", type=parse_time, help="requests before then")
    parser.add_argument("--project", metavar="ID|NAME[@DOMAIN]", help="requests judged by the policy of this project")
    parser.add_argument("--user", metavar="ID|NAME[@DOMAIN]", help="requests of this user, also by a trust")
    parser.add_argument("--server", metavar="ID", help="requests to make an image of this server")
    parser.add_argument("--verdict", choices=VERDICTS, help="requests with this verdict")
    parser.add_argument("--rule", choices=table.rule_names(), metavar="RULE", help="requests that broke this rule")
    parser.add_argument("--action", choices=ACTIONS, help="requests for this action")


def parse_time(text: str) -> str:
    """Return a time in the form that records have.

    :param text: how long ago it was, or a time in ISO 8601.
    """
    text = text.strip()
    ago = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    try:
        if ago:
            number, unit = ago.groups()
            time = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**{_UNITS[unit]: int(number)})
        else:
            time = datetime.datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"'{text}' is not a time: try 24h, 2026-11-24 or 2026-11-24T13:30") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.timezone.utc)
    return time.astimezone(datetime.timezone.utc).isoformat(timespec="microseconds")


class Filters:
    """The requests that the options of a command choose."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.since: str = getattr(args, "since", None) or ""
        self.until: str = getattr(args, "until", None) or ""
        self._texts: dict[str, str] = {}
        for name in _COLUMNS:
            text = getattr(args, name)
            if text:
                self._texts[name] = text

    def condition(self) -> tuple[str, dict[str, str]]:
        """Return an SQL condition on the columns of :mod:`imagefilter.journal.history`, and its values."""
        terms = []
        values = dict(self._texts)
        if self.since:
            terms.append("time >= $since")
            values["since"] = self.since
        if self.until:
            terms.append("time < $until")
            values["until"] = self.until
        for name in self._texts:
            alternatives = " OR ".join(f"{column} = ${name}" for column in _COLUMNS[name])
            terms.append(f"({alternatives})")
        return " AND ".join(terms) or "true", values

    def match(self, record: dict[str, Any]) -> bool:
        """Return whether a record is a verdict on one of the requests."""
        try:
            columns = _read_columns(record)
        except (KeyError, TypeError, AttributeError, ValueError):  # not a record of imagefilter
            return False
        if columns["type"] != "control" or columns["time"] < self.since:
            return False
        if self.until and columns["time"] >= self.until:
            return False
        return all(_has_text(columns, name, text) for name, text in self._texts.items())


def _has_text(columns: Mapping[str, Any], option: str, text: str) -> bool:
    return any(columns[column] == text for column in _COLUMNS[option])


def _read_columns(record: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a record that the options are compared with, by column."""
    content = read_content(record)
    initiator = record["initiator"]
    return {
        "type": record["eventType"],
        "time": record["eventTime"],
        "verdict": content.get("verdict"),
        "rule": content.get("rule"),
        "action": content.get("action"),
        "project_id": content.get("project_id"),
        "project_name": initiator.get("project_name"),
        "project_label": label(initiator, "project", initiator.get("project_name")),
        "user_id": initiator.get("id"),
        "user_name": initiator.get("name"),
        "user_label": label(initiator, "user", initiator.get("name")),
        "trustee_id": initiator.get("trust", {}).get("trustee_id"),
        "server_id": record["target"].get("id"),
    }

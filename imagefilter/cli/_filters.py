"""Options that choose requests, applied to journals as SQL and to single records."""

from __future__ import annotations

import argparse
import datetime
import re
import zoneinfo
from collections.abc import Mapping
from typing import Any

from imagefilter.cli._output import fail
from imagefilter.journal.record import is_configuration, label, read_content
from imagefilter.policy.own_rules import is_rule_name
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


def add_filters(parser: argparse.ArgumentParser, times: bool = True, image_id: bool = True) -> None:
    """Add the options that choose requests.

    :param image_id: one of them is the id of the image, which a verdict does not have.
    """
    if times:
        help_text = (
            "only requests since then: an age such as 24h (s, m, h, d or w), a date, or a time in ISO 8601; in UTC"
            " unless a zone follows (+02:00, Europe/Paris)"
        )
        parser.add_argument("--since", metavar="TIME", type=parse_time, help=help_text)
        parser.add_argument("--until", metavar="TIME", type=parse_time, help="only requests before then")
    if times and image_id:
        parser.add_argument("--image-id", metavar="ID", help="only the request that made this image")
    help_text = "only requests judged by the policy of this project"
    parser.add_argument("--project", metavar="ID|NAME[@DOMAIN]", help=help_text)
    parser.add_argument("--user", metavar="ID|NAME[@DOMAIN]", help="only requests of this user, also through a trust")
    parser.add_argument("--server", metavar="ID", help="only requests to make an image of this server")
    help_text = "only requests for images of this name; a * stands for any text"
    parser.add_argument("--image", metavar="NAME", help=help_text)
    parser.add_argument("--verdict", choices=VERDICTS, help="only requests with this verdict")
    parser.add_argument("--rule", type=_parse_rule, metavar="RULE", help="only requests that broke this rule")
    parser.add_argument("--action", choices=ACTIONS, help="only requests for this action")


def _parse_rule(text: str) -> str:
    """Return the name of a rule: a built-in one, or one of the operator's own."""
    if text not in table.rule_names() and not is_rule_name(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not the name of a rule")
    return text


def parse_time(text: str) -> str:
    """Return a time in the form that records have.

    :param text: how long ago it was, or a time in ISO 8601.
    """
    text = text.strip()
    try:
        time = _parse_ago(text) or _parse_zoned(text)
        return time.astimezone(datetime.timezone.utc).isoformat(timespec="microseconds")
    except (ValueError, OverflowError, LookupError, OSError):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a time: try 24h, 2026-11-24, 2026-11-24T13:30+01:00 or '2026-11-24 13:30 Europe/Paris'"
        ) from None


def _parse_ago(text: str) -> datetime.datetime | None:
    ago = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if ago is None:
        return None
    number, unit = ago.groups()
    return datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**{_UNITS[unit]: int(number)})


def _parse_zoned(text: str) -> datetime.datetime:
    """Return a time in ISO 8601, in the zone whose name follows it, if there is one.

    :raises ValueError: if it is no time.
    :raises LookupError: if there is no such zone.
    """
    zone: datetime.tzinfo = datetime.timezone.utc
    named = re.fullmatch(r"(.+) ([A-Z]\w*(?:/[\w/+-]+)?)", text)
    if named:
        text, zone = named[1], zoneinfo.ZoneInfo(named[2])
    time = datetime.datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
    if time.tzinfo is None:
        return time.replace(tzinfo=zone)
    if named:
        raise ValueError("an offset and a zone")
    return time


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
        self._image: str = args.image or ""
        self._image_id: str = getattr(args, "image_id", None) or ""
        if self.since and self.until and self.since >= self.until:
            fail("--since is not before --until: no request can be between them")

    @property
    def choose_all(self) -> bool:
        """Whether no option was given."""
        return not (self._texts or self._image or self._image_id or self.since or self.until)

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
        if self._image:
            terms.append("image_name LIKE $image ESCAPE '!'")
            values["image"] = re.sub("([!%_])", r"!\1", self._image).replace("*", "%")
        if self._image_id:  # it is in the outcome alone
            terms.append("id IN (SELECT id FROM records WHERE image_id = $image_id)")
            values["image_id"] = self._image_id
        return " AND ".join(terms) or "true", values

    def match(self, record: dict[str, Any]) -> bool:
        """Return whether a record is a verdict on one of the requests."""
        try:
            columns = read_columns(record)
        except (KeyError, TypeError, AttributeError, ValueError):  # not a record of imagefilter
            return False
        if columns["type"] != "control" or is_configuration(record) or columns["time"] < self.since:
            return False
        if self.until and columns["time"] >= self.until:
            return False
        if self._image and not _is_like(columns["image_name"], self._image):
            return False
        return all(_has_text(columns, name, text) for name, text in self._texts.items())


def _is_like(name: str | None, wanted: str) -> bool:
    """Return whether a name is like another one, in which a ``*`` stands for any text."""
    pattern = ".*".join(re.escape(part) for part in wanted.split("*"))
    return name is not None and re.fullmatch(pattern, name, re.DOTALL) is not None


def _has_text(columns: Mapping[str, Any], option: str, text: str) -> bool:
    return any(columns[column] == text for column in _COLUMNS[option])


def read_columns(record: dict[str, Any]) -> dict[str, Any]:
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
        "image_name": content.get("image_name"),
    }

"""``imagefilter audit report``: what the journal says, as one page to look at."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import string
import sys
import tempfile
from pathlib import Path
from typing import Any

from cliff.command import Command

from imagefilter.cli import journals
from imagefilter.history import History

_COUNTS = ", ".join(f"count(*) FILTER (verdict = '{verdict}')" for verdict in ("allow", "exempt", "would deny", "deny"))
_PROJECT = "coalesce(project_name, project_id, 'unknown')"
# Projects of several domains may have one name.
_BAR = "coalesce(any_value(project_name) || ' (' || left(project_id, 8) || ')', project_id, 'unknown')"

# The table of the page.
_COLUMNS = {
    "Time": "replace(left(time, 19), 'T', ' ')",
    "Verdict": "verdict",
    "Rule": "rule",
    "Message": "message",
    "Action": "action",
    "Project": _PROJECT,
    "User": "coalesce(user_name, user_id)",
    "Server": "server_id",
    "Image name": "image_name",
    "Request id": "request_id",
}
_NEEDED = ("time", "verdict", "rule", "message", "action", "project_id", "project_name", "user_id", "user_name")
_MORE_NEEDED = ("server_id", "image_name", "request_id", "host")

_MOST_ROWS = 10_000
_MOST_BARS = 12
_BY_HOUR = datetime.timedelta(days=7)


class AuditReport(Command):
    """Write a page about image actions: one HTML file that needs no network.

    Verdicts over time, the projects that ask most, the rules that refuse most, and each request that was refused, or
    would have been, in a table that filters and sorts. It holds names and ids of users and projects: it is written with
    mode 0600. Exit status: 0, or 2 if a journal can't be read or the page not written.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        journals.add_journal(parser)
        journals.add_filters(parser)
        parser.add_argument("--html", metavar="FILE", required=True, help="where to write the page")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        history = journals.load(parsed_args, (*_NEEDED, *_MORE_NEEDED))
        try:
            _write(parsed_args.html, page(content(history)))
        except OSError as error:
            journals.fail(f"the page can't be written: {error.strerror}: {parsed_args.html}")
        sys.stderr.write(f"wrote {parsed_args.html}\n")
        return 0


def content(history: History) -> dict[str, Any]:
    """What the page shows."""
    [(total, first, last)] = history.rows("SELECT count(*), min(time), max(time) FROM found")
    hours = history.rows(f"SELECT left(time, 13) || ':00', {_COUNTS} FROM found GROUP BY 1 ORDER BY 1")
    days = history.rows(f"SELECT left(time, 10), {_COUNTS} FROM found GROUP BY 1 ORDER BY 1")
    by_hour = not last or _day(last) - _day(first) < _BY_HOUR
    refused = "FROM found WHERE verdict IN ('deny', 'would deny')"
    rules = history.rows(f"SELECT rule, {_COUNTS} {refused} GROUP BY 1 ORDER BY count(*) DESC, 1")
    rows = history.rows(f"SELECT {', '.join(_COLUMNS.values())} {refused} ORDER BY time DESC LIMIT {_MOST_ROWS}")
    left_out = sum(map(sum, (rule[1:] for rule in rules))) - len(rows)
    return {
        "about": _about(history, total, first, last),
        "figures": _figures(history),
        "times": hours if by_hour else days,
        "step": "hour" if by_hour else "day",
        "projects": history.rows(
            f"SELECT {_BAR}, {_COUNTS} FROM found GROUP BY project_id ORDER BY count(*) DESC, 1 LIMIT {_MOST_BARS}"
        ),
        "rules": rules[:_MOST_BARS],
        "refusing": [rule for rule, *_ in rules],
        "columns": list(_COLUMNS),
        "rows": [["" if value is None else value for value in row] for row in rows],
        "left_out": f"; {left_out:,} older ones are left out" if left_out else "",
    }


def page(told: dict[str, Any]) -> str:
    """The page; clients chose many of the words in it, so they stand in it as data, never as HTML."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415  # takes a while, and only this command needs it

    data = json.dumps(told).replace("<", "\\u003c")  # no "</script>" ends it
    template = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    return string.Template(template).substitute(plotly=get_plotlyjs(), data=data)


def _about(history: History, total: int, first: str | None, last: str | None) -> str:
    hosts = ", ".join(str(row[0]) for row in history.rows("SELECT DISTINCT host FROM found ORDER BY 1"))
    now = datetime.datetime.now(datetime.timezone.utc)
    span = f"from {_short(first)} to {_short(last)}, recorded on {hosts}" if first and last else ""
    return f"{total:,} requests {span}. Written {_short(now.isoformat())}. All times are UTC."


def _figures(history: History) -> list[tuple[str, int, str]]:
    images = "count(*) FILTER (status = 202 AND error IS NULL)"
    unknown = "count(*) FILTER (outcome = 'outcome unknown')"
    [counts] = history.rows(f"SELECT {_COUNTS}, {images}, {unknown} FROM found")
    names = ("allowed", "exempt", "would be refused", "refused", "images accepted", "outcome unknown")
    return list(zip(names, counts, ("allow", "exempt", "warn", "deny", "", "none")))


def _day(time: str) -> datetime.date:
    return datetime.date.fromisoformat(time[:10])


def _short(time: str) -> str:
    return time[:16].replace("T", " ")


def _write(path: str, text: str) -> None:
    """Write a file that is only there when it is whole, and only its owner's to read."""
    descriptor, made = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=".imagefilter-")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(made, path)
    except BaseException:
        os.unlink(made)
        raise

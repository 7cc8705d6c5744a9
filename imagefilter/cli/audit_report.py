"""``imagefilter audit report``: image actions as one page of HTML."""

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

from imagefilter.cli import _journals
from imagefilter.cli._base import OwnCommand
from imagefilter.cli._filters import add_filters
from imagefilter.cli._options import add_config, add_journal
from imagefilter.cli._output import fail
from imagefilter.journal.history import History

_VERDICTS = ("allow", "exempt", "would_deny", "deny")
_COUNTS = ", ".join(f"count(*) FILTER (verdict = '{verdict}')" for verdict in _VERDICTS)
_IMAGES = "count(*) FILTER (status = 202 AND error IS NULL)"
_UNKNOWN = "count(*) FILTER (outcome = 'outcome unknown')"
_REFUSED = "FROM requests WHERE verdict IN ('deny', 'would_deny')"

# Projects of several domains may have one name.
_PROJECT_LABEL = (
    "coalesce(CASE WHEN any_value(project_name) IS NULL THEN project_id"
    " ELSE any_value(project_label) || ' (' || left(project_id, 8) || ')' END, 'unknown')"
)

# The columns of the page's table: titles and SQL.
_COLUMNS = {
    "Time": "replace(left(time, 19), 'T', ' ')",
    "Verdict": "verdict",
    "Rule": "rule",
    "Message": "message",
    "Action": "action",
    "Project": "coalesce(project_label, 'unknown')",
    "User": "user_label",
    "Server": "server_id",
    "Image name": "image_name",
    "Request id": "request_id",
}
_LOADED = (
    "time",
    "verdict",
    "rule",
    "message",
    "action",
    "project_id",
    "project_name",
    "project_label",
    "user_id",
    "user_name",
    "user_label",
    "server_id",
    "image_name",
    "request_id",
    "host",
)

_MAX_ROWS = 10_000
_MAX_BARS = 12
_MAX_SPAN_BY_HOUR = datetime.timedelta(days=7)


class AuditReport(OwnCommand):
    """Write a page about image actions: one HTML file that needs no network.

    It shows verdicts over time, the projects that ask most, the rules that refuse most, and each request that was or
    would be refused, in a table to filter and sort. It contains names and ids of users and projects, so its mode is
    0600. Exit status: 0 all was read, 1 something was left out, 2 a journal can't be read or the page can't be
    written.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_config(parser)
        add_journal(parser)
        add_filters(parser)
        parser.add_argument("--html", metavar="FILE", required=True, help="where to write the page")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        left_out = _journals.LeftOut()
        history = _journals.load_history(parsed_args, _LOADED, left_out)
        try:
            _write(parsed_args.html, _render(_collect(history)))
        except OSError as error:
            fail(f"the page can't be written: {error.strerror}: {parsed_args.html}")
        sys.stderr.write(f"wrote {parsed_args.html}\n")
        return left_out.finish()


def _collect(history: History) -> dict[str, Any]:
    """Return the data of the page."""
    [(total, first, last)] = history.rows("SELECT count(*), min(time), max(time) FROM requests")
    step, times = _count_over_time(history, first, last)
    rules = history.rows(f"SELECT rule, {_COUNTS} {_REFUSED} GROUP BY 1 ORDER BY count(*) DESC, 1")
    rows = _list_refused(history)
    return {
        "about": _describe(history, total, first, last),
        "figures": _count_all(history),
        "times": times,
        "step": step,
        "projects": _count_by_project(history),
        "rules": rules[:_MAX_BARS],
        "refusing": [rule[0] for rule in rules],
        "columns": list(_COLUMNS),
        "rows": rows,
        "left_out": _describe_left_out(rules, len(rows)),
    }


def _render(data: dict[str, Any]) -> str:
    """Return the page: clients chose many of its words, so they are in it as data, never as HTML."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415  # takes a while, and only this command needs it

    text = json.dumps(data).replace("<", "\\u003c")  # nothing in it ends the script
    template = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    return string.Template(template).substitute(plotly=get_plotlyjs(), data=text)


def _count_over_time(history: History, first: str | None, last: str | None) -> tuple[str, list[tuple[Any, ...]]]:
    """Return a unit of time, and the verdicts in each."""
    step, unit = "hour", "left(time, 13) || ':00'"
    if first and last and _parse_day(last) - _parse_day(first) >= _MAX_SPAN_BY_HOUR:
        step, unit = "day", "left(time, 10)"
    return step, history.rows(f"SELECT {unit}, {_COUNTS} FROM requests GROUP BY 1 ORDER BY 1")


def _count_by_project(history: History) -> list[tuple[Any, ...]]:
    return history.rows(
        f"SELECT {_PROJECT_LABEL}, {_COUNTS} FROM requests"
        f" GROUP BY project_id ORDER BY count(*) DESC, 1 LIMIT {_MAX_BARS}"
    )


def _list_refused(history: History) -> list[list[Any]]:
    select = ", ".join(f"coalesce({column}, '')" for column in _COLUMNS.values())
    rows = history.rows(f"SELECT {select} {_REFUSED} ORDER BY time DESC LIMIT {_MAX_ROWS}")
    return [list(row) for row in rows]


def _describe_left_out(rules: list[tuple[Any, ...]], listed: int) -> str:
    """Return how many refused requests are not in the table."""
    refused = 0
    for _, *counts in rules:
        refused += sum(counts)
    if refused == listed:
        return ""
    return f"; {refused - listed:,} older ones are left out"


def _describe(history: History, total: int, first: str | None, last: str | None) -> str:
    span = ""
    if first and last:
        hosts = history.rows("SELECT DISTINCT host FROM requests ORDER BY 1")
        names = ", ".join(str(host) for (host,) in hosts)
        span = f"from {_format_time(first)} to {_format_time(last)}, recorded on {names}"
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    return f"{total:,} requests {span}. Written {_format_time(now)}. All times are UTC."


def _count_all(history: History) -> list[tuple[str, int, str]]:
    """Return the page's figures, each with its title and color."""
    [counts] = history.rows(f"SELECT {_COUNTS}, {_IMAGES}, {_UNKNOWN} FROM requests")
    titles = ("allowed", "exempt", "would be refused", "refused", "images accepted", "outcome unknown")
    colors = ("allow", "exempt", "warn", "deny", "", "none")
    return list(zip(titles, counts, colors))


def _parse_day(time: str) -> datetime.date:
    return datetime.date.fromisoformat(time[:10])


def _format_time(time: str) -> str:
    return time[:16].replace("T", " ")


def _write(path: str, text: str) -> None:
    """Write a file that nobody else may read and that exists only when it is complete."""
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=".imagefilter-")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise

"""``imagefilter audit summary``: image actions, counted."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

from imagefilter.cli import _journals
from imagefilter.cli._base import StatusLister
from imagefilter.cli._filters import add_filters
from imagefilter.cli._options import add_config, add_journal
from imagefilter.cli._output import printable_rows


class _Group(NamedTuple):
    """What is counted together."""

    key: str  # SQL
    columns: tuple[str, ...] = ()  # to load for it
    name: str = ""  # the column with the name of what the key identifies
    is_time: bool = False


_GROUPS = {
    "project": _Group("coalesce(project_id, 'unknown')", ("project_id", "project_label"), name="project_label"),
    "user": _Group("user_id", ("user_id", "user_label"), name="user_label"),
    "server": _Group("server_id", ("server_id",)),
    "rule": _Group("coalesce(rule, 'none broken')", ("rule",)),
    "verdict": _Group("verdict"),
    "action": _Group("coalesce(action, 'unreadable')", ("action",)),
    "day": _Group("left(time, 10)", is_time=True),
    "hour": _Group("replace(left(time, 13), 'T', ' ')", is_time=True),
}
_COUNTS = {
    "Requests": "count(*)",
    "Allow": "count(*) FILTER (verdict = 'allow')",
    "Exempt": "count(*) FILTER (verdict = 'exempt')",
    "Would Deny": "count(*) FILTER (verdict = 'would_deny')",
    "Deny": "count(*) FILTER (verdict = 'deny')",
    "Images": "count(*) FILTER (status = 202 AND error IS NULL)",
    "Unknown": "count(*) FILTER (outcome = 'outcome unknown')",
}


class AuditSummary(StatusLister):
    """Count image actions by project, user, server, action, rule, verdict, day or hour (UTC).

    The column Unknown counts requests that were forwarded and whose outcome is not recorded. Exit status: 0 all was
    read, 1 something was left out, 2 a journal can't be read.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_config(parser)
        add_journal(parser)
        add_filters(parser)
        parser.add_argument("--by", choices=_GROUPS, default="project", help="what to count by (default: project)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        group = _GROUPS[parsed_args.by]
        left_out = _journals.LeftOut()
        history = _journals.load_history(parsed_args, ("time", "verdict", *group.columns), left_out)
        self.status = left_out.finish()
        columns = {parsed_args.by.capitalize(): group.key}
        if group.name:
            columns["Name"] = f"any_value({group.name})"
        columns.update(_COUNTS)
        order = "count(*) DESC, 1"
        if group.is_time:
            order = "1"
        rows = history.rows(f"SELECT {', '.join(columns.values())} FROM requests GROUP BY 1 ORDER BY {order}")
        return tuple(columns), printable_rows(rows, parsed_args)

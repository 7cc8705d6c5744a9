"""``imagefilter audit replay``: the verdicts of another policy on recorded requests."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from imagefilter.cli import _journals
from imagefilter.cli._base import StatusLister
from imagefilter.cli._filters import add_filters
from imagefilter.cli._not_recorded import find_unknown_rules
from imagefilter.cli._options import (
    DEFAULT_CONFIG,
    FixedLookups,
    add_journal,
    add_limit,
    add_quota,
    load_config,
)
from imagefilter.cli._output import printable_rows
from imagefilter.cli._recorded import (
    COLUMNS,
    Row,
    find_limits,
    read_facts,
    read_image_quota,
    read_time,
    read_usage,
    rebuild,
)
from imagefilter.cli._replay_summary import COLUMNS as GROUP_COLUMNS
from imagefilter.cli._replay_summary import GROUPS, Replayed, ReplaySummary
from imagefilter.journal.history import History
from imagefilter.policy.policy import Policy
from imagefilter.rules.engine import judge

Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]


class AuditReplay(StatusLister):
    """List the recorded requests that another policy would judge differently, to try a policy before it is used.

    No request is sent. The command reports rules that it can't judge again, since a record may lack what they need.
    Values of metadata are recorded only with audit_metadata = full (otherwise they count as valid), and keys with full
    or keys; long texts are truncated. Exit status: 0 no verdict would differ, 1 some would, or something was left out,
    2 the command could not run.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "--config",
            metavar="NEW.conf",
            default=DEFAULT_CONFIG,
            help=f"the new policy: a file with a section [imagefilter] (default: {DEFAULT_CONFIG})",
        )
        add_journal(parser)
        add_filters(parser)
        add_quota(parser)
        help_text = "print counts for each user, project or rule, not a list of requests"
        parser.add_argument("--by", choices=GROUPS, help=help_text)
        add_limit(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        policy = load_config(parsed_args.config)
        left_out = _journals.LeftOut()
        history = _journals.load_history(parsed_args, COLUMNS, left_out)
        summary = ReplaySummary(parsed_args.by, policy.rules)
        rows = []
        for row in iterate(history):
            replayed = replay(row, policy, parsed_args.quota)
            if replayed is None:
                left_out.add_line("", f"the record of {row['time']}", "its fields are of other types than a record's")
                continue
            summary.add(replayed)
            if replayed.change not in ("unchanged", "uncertain"):
                rows.append(_build_row(replayed))
        sys.stderr.writelines(f"{line}\n" for line in summary.lines())
        self.status = left_out.finish()
        if rows:
            self.status = 1
        if parsed_args.by:
            return _limit((parsed_args.by.title(), *GROUP_COLUMNS), summary.rows(), parsed_args, newest=False)
        columns = ("Time", "Request ID", "User", "Project", "Action", "Image Name", "Then", "Now")
        return _limit(columns, rows, parsed_args, newest=True)


def iterate(history: History) -> Iterator[Row]:
    """Return the loaded requests, oldest first."""
    for values in history.iterate(f"SELECT {', '.join(COLUMNS)} FROM requests ORDER BY time"):
        yield dict(zip(COLUMNS, values))


def replay(row: Row, policy: Policy, quota: int) -> Replayed | None:
    """Judge a recorded request by another policy; return None if the record is not understood.

    :param quota: the compute API's, of metadata items.
    """
    try:
        context = rebuild(row, policy)
    except (KeyError, TypeError, ValueError):
        return None
    if context is None:
        return Replayed(row, None, frozenset(), policy.rules)
    limits = find_limits(row, context.settings) or context.settings.limits
    lookups = FixedLookups(
        quota, limits, read_usage(row), read_image_quota(row), facts=read_facts(row), time=read_time(row)
    )
    return Replayed(row, judge(context, lookups), find_unknown_rules(row, context), policy.rules)


def _limit(columns: tuple[str, ...], rows: list[tuple[Any, ...]], args: argparse.Namespace, newest: bool) -> Table:
    """Return the newest or the first rows, and say so if there are more."""
    listed = rows
    if args.limit and len(rows) > args.limit:
        listed = rows[: args.limit]
        if newest:
            listed = rows[-args.limit :]
        sys.stderr.write(f"listed {args.limit} of {len(rows)} (--limit 0 lists all)\n")
    return columns, printable_rows(listed, args)


def _build_row(replayed: Replayed) -> tuple[Any, ...]:
    then = replayed.then
    return (
        then["time"][:19].replace("T", " "),
        then["request_id"],
        then["user_label"],
        then["project_label"],
        then["action"],
        then["image_name"],
        _describe(then["verdict"], then["rule"]),
        _describe_now(replayed),
    )


def _describe_now(replayed: Replayed) -> str:
    if replayed.now is None:
        return "not judged"
    return _describe(replayed.now.decision, replayed.now.rule)


def _describe(verdict: str, rule: str | None) -> str:
    if rule:
        return f"{verdict} ({rule})"
    return str(verdict)

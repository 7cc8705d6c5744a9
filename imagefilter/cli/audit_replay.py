"""``imagefilter audit replay``: the verdicts of another policy on recorded requests."""

from __future__ import annotations

import argparse
import collections
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from imagefilter.cli import _journals
from imagefilter.cli._base import StatusLister
from imagefilter.cli._filters import add_filters
from imagefilter.cli._options import DEFAULT_CONFIG, FixedLookups, add_journal, add_quota, load_config
from imagefilter.cli._output import printable_rows
from imagefilter.cli._recorded import COLUMNS, Row, find_unknown_rules, rebuild
from imagefilter.journal.history import History
from imagefilter.policy.policy import Policy
from imagefilter.rules import table
from imagefilter.rules.case import Lookups
from imagefilter.rules.engine import Decision, Verdict, judge
from imagefilter.rules.table import Part, Rule


class AuditReplay(StatusLister):
    """List the recorded requests that another policy would judge differently, to try a policy before it is used.

    No request is sent. Rules that can't be judged again are reported: metadata values are recorded only with
    audit_metadata = full (otherwise they count as valid), keys not with none, and long texts are truncated. Exit
    status: 0 no verdict would differ, 1 some would, or something was left out, 2 it could not run.
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
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        policy = load_config(parsed_args.config)
        left_out = _journals.LeftOut()
        history = _journals.load_history(parsed_args, COLUMNS, left_out)
        summary = _Summary()
        rows = []
        for row in iterate(history):
            replayed = replay(row, policy, FixedLookups(parsed_args.quota))
            if replayed is None:
                left_out.add_line("", f"the record of {row['time']}", "its fields are of other types than a record's")
                continue
            summary.add(replayed)
            if replayed.differs:
                rows.append(_build_row(replayed))
        self.status = left_out.finish()
        sys.stderr.writelines(f"{line}\n" for line in summary.lines())
        if rows:
            self.status = 1
        columns = ("Time", "Request ID", "Project", "Action", "Image Name", "Then", "Now")
        return columns, printable_rows(rows, parsed_args)


class Replayed(NamedTuple):
    """A recorded request, and the verdict of the new policy."""

    then: Row
    now: Verdict | None  # None: the new policy does not judge the action
    unknown: frozenset[str]  # rules that can't be judged again

    @property
    def is_certain(self) -> bool:
        """Return whether the new verdict is certain.

        It is if every rule that could have decided it was evaluated on recorded data.
        """
        for rule in table.RULES:
            if rule.name in self.unknown and not self._is_known_to_hold(rule):
                return False
            if self.now and self.now.decision is Decision.DENY and rule.name == self.now.rule:
                break  # no later rule can decide
        return True

    @property
    def differs(self) -> bool:
        """Return whether the new verdict, or the rule that decides it, is certainly another one."""
        if self.now is None:
            return True
        then = (self.then["verdict"], self.then["rule"] or "")
        return self.is_certain and then != (self.now.decision.value, self.now.rule)

    def _is_known_to_hold(self, rule: Rule) -> bool:
        """Return whether a rule held when the request was recorded, and holds under every policy."""
        if rule.options:
            return False
        if assumed_to_hold(rule):
            return bool(self.then["rule"] != rule.name)
        return rule.reads_image and self._was_judged(rule)

    def _was_judged(self, rule: Rule) -> bool:
        """Return whether the recorded verdict means that a rule was judged, and held."""
        broken = self.then["rule"]
        if not broken:
            return bool(self.then["mode"] == "enforce")
        names = table.rule_names()
        return broken in names and names.index(rule.name) < names.index(broken)


def iterate(history: History) -> Iterator[Row]:
    """Return the loaded requests, oldest first."""
    for values in history.iterate(f"SELECT {', '.join(COLUMNS)} FROM requests ORDER BY time"):
        yield dict(zip(COLUMNS, values))


def replay(row: Row, policy: Policy, lookups: Lookups) -> Replayed | None:
    """Judge a recorded request by another policy; return None if the record is not understood."""
    try:
        context = rebuild(row, policy)
    except (KeyError, TypeError, ValueError):
        return None
    if context is None:
        return Replayed(row, None, frozenset())
    return Replayed(row, judge(context, lookups), find_unknown_rules(row))


def assumed_to_hold(rule: Rule) -> bool:
    """Return whether a rule is assumed to hold where it can't be judged again.

    Few values are invalid and hardly any journal holds values: otherwise no verdict would be certain.
    """
    return rule.reads is Part.METADATA_VALUES and not rule.options


class _Summary:
    """Counts the results of a replay."""

    def __init__(self) -> None:
        self._total = 0
        self._uncertain = 0
        self._changes: collections.Counter[str] = collections.Counter()
        self._unknown: collections.Counter[str] = collections.Counter()

    def add(self, replayed: Replayed) -> None:
        """Count a request."""
        self._total += 1
        self._unknown.update(replayed.unknown)
        if not replayed.is_certain:
            self._uncertain += 1
        elif replayed.differs:
            self._changes[f"{_describe_then(replayed)} -> {_describe_now(replayed)}"] += 1

    def lines(self) -> Iterator[str]:
        """Yield the lines to print."""
        yield f"{self._total} requests replayed, {sum(self._changes.values())} would be judged differently"
        for change, count in self._changes.most_common():
            yield f"  {count}: {change}"
        if self._uncertain:
            yield f"{self._uncertain} are uncertain: a rule that may decide reads what was not recorded"
        for rule in table.RULES:
            if rule.name in self._unknown:
                yield self._describe_unknown(rule)

    def _describe_unknown(self, rule: Rule) -> str:
        assumed = ""
        if assumed_to_hold(rule):
            assumed = ", and assumed to hold"
        count = self._unknown[rule.name]
        return f"{rule.name} was not judged again in {count}{assumed}: what it reads was not recorded, or truncated"


def _build_row(replayed: Replayed) -> tuple[Any, ...]:
    then = replayed.then
    return (
        then["time"][:19].replace("T", " "),
        then["request_id"],
        then["project_name"] or then["project_id"],
        then["action"],
        then["image_name"],
        _describe_then(replayed),
        _describe_now(replayed),
    )


def _describe_then(replayed: Replayed) -> str:
    return _describe(replayed.then["verdict"], replayed.then["rule"])


def _describe_now(replayed: Replayed) -> str:
    if replayed.now is None:
        return "not judged"
    return _describe(replayed.now.decision, replayed.now.rule)


def _describe(verdict: str, rule: str | None) -> str:
    if rule:
        return f"{verdict} ({rule})"
    return str(verdict)

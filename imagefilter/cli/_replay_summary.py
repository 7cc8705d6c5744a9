"""What a replay found, for people: who would be refused, who would not be any more, and what nobody can say."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any, NamedTuple

from imagefilter.cli._recorded import Row
from imagefilter.rules import table
from imagefilter.rules.engine import Decision, Verdict
from imagefilter.rules.rule import Part, Rule

#: What another policy means for a request, in the order in which they are told.
CHANGES = ("newly refused", "newly allowed", "judged otherwise", "unchanged", "uncertain")

#: What to count by: the option's value, and the column of a record.
GROUPS = {"user": "user_label", "project": "project_label", "rule": ""}

#: The columns of :meth:`ReplaySummary.rows`, without the first one.
COLUMNS = tuple(change.title() for change in CHANGES)


class Replayed(NamedTuple):
    """A recorded request, and the verdict of the new policy."""

    then: Row
    now: Verdict | None  # None: the new policy does not judge the action
    unknown: frozenset[str]  # rules that can't be judged again
    rules: tuple[Rule, ...]  # the new policy's table

    @property
    def is_certain(self) -> bool:
        """Return whether the new verdict is certain.

        It is if every rule that could have decided it was evaluated on recorded data.
        """
        for rule in self.rules:
            if rule.name in self.unknown and not self._is_known_to_hold(rule):
                return False
            if self.now and self.now.decision is Decision.DENY and rule.name == self.now.rule:
                break  # no later rule can decide
        return True

    @property
    def change(self) -> str:
        """What the new policy means for the request: one of :data:`CHANGES`."""
        if self.now is not None and not self.is_certain:
            return "uncertain"
        was_refused, is_refused = self.then["verdict"] == "deny", self._is_refused()
        if is_refused and not was_refused:
            return "newly refused"
        if was_refused and not is_refused:
            return "newly allowed"
        if self.now is not None and (self.then["verdict"], self.then["rule"] or "") == self._now():
            return "unchanged"
        return "judged otherwise"

    @property
    def rule(self) -> str:
        """The rule that decides now, or decided then."""
        if self.now is not None and self.now.rule:
            return self.now.rule
        return self.then["rule"] or "none broken"

    def _is_refused(self) -> bool:
        return self.now is not None and self.now.decision is Decision.DENY

    def _now(self) -> tuple[str, str] | None:
        if self.now is None:
            return None
        return self.now.decision.value, self.now.rule

    def _is_known_to_hold(self, rule: Rule) -> bool:
        """Return whether a rule held when the request was recorded, and holds under every policy."""
        if rule.options or rule.own:
            return False
        if assumed_to_hold(rule):
            return bool(self.then["rule"] != rule.name)
        return rule.reads_image and self._was_judged(rule)

    def _was_judged(self, rule: Rule) -> bool:
        """Return whether the recorded verdict means that a rule was judged, and held."""
        broken = self.then["rule"]
        if not broken:
            return bool(self.then["mode"] == "enforce")
        names = [rule.name for rule in self.rules]
        return broken in names and names.index(rule.name) < names.index(broken)


def assumed_to_hold(rule: Rule) -> bool:
    """Return whether a rule is assumed to hold where it can't be judged again.

    Few values are invalid and hardly any journal holds values: otherwise no verdict would be certain.
    """
    return rule.reads is Part.METADATA_VALUES and not rule.options


class ReplaySummary:
    """Counts the results of a replay."""

    def __init__(self, by: str | None = None, rules: tuple[Rule, ...] = table.RULES) -> None:
        self._by = by
        self._rules = rules
        self._counts: collections.Counter[str] = collections.Counter()
        self._users: dict[str, set[Any]] = {change: set() for change in CHANGES}
        self._projects: dict[str, set[Any]] = {change: set() for change in CHANGES}
        self._groups: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self._unknown: collections.Counter[str] = collections.Counter()

    def add(self, replayed: Replayed) -> None:
        """Count a request."""
        change = replayed.change
        self._counts[change] += 1
        self._users[change].add(replayed.then["user_id"])
        self._projects[change].add(replayed.then["project_id"])
        self._unknown.update(replayed.unknown)
        if self._by:
            name = replayed.rule
            if GROUPS[self._by]:
                name = replayed.then[GROUPS[self._by]] or "unknown"
            self._groups[name][change] += 1

    def lines(self) -> Iterator[str]:
        """Yield the lines to print."""
        yield self._describe("newly refused")
        for change in CHANGES[1:]:
            if change == "uncertain":
                yield from self._describe_uncertain()
            elif self._counts[change] or change != "judged otherwise":
                yield self._describe(change)

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the counts of each group, those first for which most would be refused."""
        rows: list[tuple[Any, ...]] = []
        for name, counts in sorted(self._groups.items()):
            rows.append((name, *[counts[change] for change in CHANGES]))
        rows.sort(key=lambda row: row[1:], reverse=True)
        return rows

    def _describe(self, change: str) -> str:
        count = self._counts[change]
        if not count:
            return f"{change}: 0 requests"
        users, projects = len(self._users[change]), len(self._projects[change])
        return f"{change}: {_number(count, 'request')} of {_number(users, 'user')} in {_number(projects, 'project')}"

    def _describe_uncertain(self) -> Iterator[str]:
        """Yield a line on what could not be judged again, if there is anything."""
        parts = []
        for rule in self._rules:
            if rule.name in self._unknown:
                assumed = ""
                if assumed_to_hold(rule):
                    assumed = ", assumed to hold"
                parts.append(f"{rule.name} in {self._unknown[rule.name]}{assumed}")
        if parts:
            count = self._counts["uncertain"]
            yield f"uncertain: {_number(count, 'request')}; not recorded, or truncated: {'; '.join(parts)}"


def _number(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun}s"

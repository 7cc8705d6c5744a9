"""The figures of ``imagefilter audit report``: requests counted by verdict, and by project, user and rule."""

from __future__ import annotations

from typing import Any, NamedTuple

from imagefilter.cli._output import printable
from imagefilter.journal.history import History
from imagefilter.rules.engine import Decision

#: How people call the verdicts, in the order in which charts stack them.
VERDICTS = {
    Decision.ALLOW.value: "allowed",
    Decision.EXEMPT.value: "exempt",
    Decision.WOULD_DENY.value: "would be refused",
    Decision.DENY.value: "refused",
}
#: The verdicts that name a rule that was broken.
REFUSALS = (Decision.WOULD_DENY.value, Decision.DENY.value)
#: SQL: requests by verdict.
COUNTS = ", ".join(f"count(*) FILTER (verdict = '{verdict}')" for verdict in VERDICTS)

_IS_REFUSED = f"verdict IN {REFUSALS}"
_MAX_GROUPS = 12
_SHORT_ID = 8


class Counts(NamedTuple):
    """Numbers of requests, by verdict."""

    allow: int = 0
    exempt: int = 0
    would_deny: int = 0
    deny: int = 0

    @property
    def total(self) -> int:
        """The number of all of them."""
        return sum(self)

    @property
    def refused(self) -> int:
        """The number of requests that were or would be refused."""
        return self.would_deny + self.deny

    def present(self) -> dict[str, int]:
        """Return the verdicts that occur, with their numbers."""
        return {verdict: count for verdict, count in self._asdict().items() if count}


class Group(NamedTuple):
    """The requests of one project or user, or the refusals of one rule."""

    name: str
    id: str
    counts: Counts

    @property
    def short_id(self) -> str:
        """The begin of the id."""
        return self.id[:_SHORT_ID]


class Groups(NamedTuple):
    """The groups with the most requests."""

    title: str
    kind: str
    groups: list[Group]
    total: int  # number of groups, with those that are left out

    @property
    def left_out(self) -> int:
        """The number of groups that are left out."""
        return self.total - len(self.groups)

    @property
    def most(self) -> int:
        """The requests of the largest group."""
        return max(group.counts.total for group in self.groups)


def count_all(history: History) -> Counts:
    """Return the verdicts on all requests."""
    [numbers] = history.rows(f"SELECT {COUNTS} FROM requests")
    return Counts(*numbers)


def count_outcomes(history: History) -> dict[str, int]:
    """Return numbers of outcomes that are not a verdict's, by title."""
    [(images, unknown)] = history.rows(
        "SELECT count(*) FILTER (status = 202 AND error IS NULL), count(*) FILTER (outcome = 'outcome unknown')"
        " FROM requests"
    )
    return {"images accepted": images, "outcome unknown": unknown}


def count_groups(history: History) -> list[Groups]:
    """Return the requests by rule, by project and by user, in the order of the page."""
    return [
        _count_rules(history),
        _count_people(history, "project"),
        _count_people(history, "user"),
    ]


def _count_people(history: History, kind: str) -> Groups:
    """Count by id, and take the newest name: a project may have been renamed, and a name be used again."""
    rows = history.rows(
        f"SELECT coalesce(arg_max({kind}_label, time), {kind}_id, 'unknown'), coalesce({kind}_id, ''), {COUNTS}"
        f" FROM requests GROUP BY {kind}_id ORDER BY count(*) DESC, 1"
    )
    return _make_groups(f"{kind.capitalize()}s with the most requests", kind, rows)


def _count_rules(history: History) -> Groups:
    rows = history.rows(
        f"SELECT rule, '', {COUNTS} FROM requests WHERE {_IS_REFUSED} GROUP BY rule ORDER BY count(*) DESC, 1"
    )
    return _make_groups("Rules that refuse the most", "rule", rows)


def _make_groups(title: str, kind: str, rows: list[tuple[Any, ...]]) -> Groups:
    groups = [Group(printable(name), printable(any_id), Counts(*numbers)) for name, any_id, *numbers in rows]
    return Groups(title, kind, groups[:_MAX_GROUPS], len(groups))


def describe_hosts(history: History, most: int = 4) -> str:
    """Return the names of the hosts that recorded the requests; of many, how many there are."""
    rows = history.rows("SELECT DISTINCT host FROM requests WHERE host IS NOT NULL ORDER BY 1")
    names = [printable(host) for (host,) in rows]
    return _shorten(names, most)


def _shorten(names: list[str], most: int) -> str:
    if len(names) <= most:
        return ", ".join(names)
    return f"{len(names)} hosts: {', '.join(names[:most])}, …"

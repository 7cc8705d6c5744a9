"""Timing for the benchmarks, and the tables that they make."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Callable, NamedTuple

Calls = dict[Any, Callable[[], Any]]


class Times(NamedTuple):
    """What the rounds of one call took, in seconds a call."""

    least: float
    median: float


class Check(NamedTuple):
    """A figure beside what it shall be at most, or at least."""

    what: str
    seen: float
    limit: float
    unit: str
    least: bool = False

    def __str__(self) -> str:
        met = self.seen >= self.limit if self.least else self.seen <= self.limit
        bound = "at least" if self.least else "at most"
        return f"{self.what}: {figure(self.seen)} {self.unit}, {bound} {self.limit:,}: {'yes' if met else 'NO'}"


class Table(NamedTuple):
    """One table of the report; ``lines`` are what its plot shows: points (x, y) by name."""

    title: str
    text: str
    header: list[str]
    rows: list[list[str]]
    checks: list[Check]
    lines: Mapping[str, list[tuple[float, float]]] = MappingProxyType({})
    axes: tuple[str, str] = ("", "")


def measure(calls: Calls, rounds: int, span: float) -> dict[Any, Times]:
    """Time calls side by side: interleaved, in an order that rotates.

    :param span: how long a call is repeated in each round, in seconds.
    """
    repeats = {key: _repeats(call, span) for key, call in calls.items()}
    seen: dict[Hashable, list[float]] = {key: [] for key in calls}
    keys = list(calls)
    gc.disable()
    for turn in range(rounds):
        shift = turn * 7 % len(keys)
        for key in keys[shift:] + keys[:shift]:
            seen[key].append(_time(calls[key], repeats[key]))
    gc.enable()
    return {key: Times(min(times), statistics.median(times)) for key, times in seen.items()}


def _repeats(call: Callable[[], Any], span: float) -> int:
    return max(3, int(span / max(_time(call, 20), 1e-9)))


def _time(call: Callable[[], Any], repeat: int) -> float:
    begin = time.perf_counter()
    for _ in itertools.repeat(None, repeat):
        call()
    return (time.perf_counter() - begin) / repeat


def figure(value: float) -> str:
    """A number to three digits, as people write it."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def text(table: Table) -> str:
    """A table as people read it on a terminal."""
    grid = [table.header, *table.rows]
    widths = [max(len(row[column]) for row in grid) for column in range(len(table.header))]
    lines = [f"{row[0]:{widths[0]}}  " + "  ".join(map(str.rjust, row[1:], widths[1:])) for row in grid]
    return "\n".join(_joined([table.title, "", *lines, "", *map(str, table.checks)]))


def _joined(lines: Iterable[str]) -> list[str]:
    return [line.rstrip() for line in lines]

"""Time calls, and make tables of the figures."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Any, Callable, NamedTuple

Call = Callable[[], Any]
Calls = dict[Any, Call]

MICRO = 1e6


class Times(NamedTuple):
    """The seconds that one call took, over all rounds."""

    least: float
    median: float


class Check(NamedTuple):
    """A figure, and the limit that it should keep."""

    what: str
    value: float
    limit: float
    unit: str
    least: bool = False  # the limit is the least value, not the greatest

    @property
    def is_met(self) -> bool:
        """Whether the figure keeps the limit."""
        if self.least:
            return self.value >= self.limit
        return self.value <= self.limit

    def __str__(self) -> str:
        bound = "at least" if self.least else "at most"
        result = "yes" if self.is_met else "NO"
        return f"{self.what}: {figure(self.value)} {self.unit}, {bound} {self.limit:,}: {result}"


class Table(NamedTuple):
    """One table of the report; ``lines`` are the lines of its plot: points (x, y) by name."""

    title: str
    text: str
    header: list[str]
    rows: list[list[str]]
    checks: list[Check]
    lines: Mapping[str, list[tuple[float, float]]] = MappingProxyType({})
    axes: tuple[str, str] = ("", "")


def measure(calls: Calls, rounds: int, span: float) -> dict[Any, Times]:
    """Time calls side by side: interleaved, in an order that rotates.

    :param span: how long each call is repeated in each round, in seconds.
    """
    repeats = {key: count_repeats(call, span) for key, call in calls.items()}
    times: dict[Hashable, list[float]] = {key: [] for key in calls}
    keys = list(calls)
    gc.disable()
    for turn in range(rounds):
        shift = turn * 7 % len(keys)
        for key in keys[shift:] + keys[:shift]:
            times[key].append(time_call(calls[key], repeats[key]))
    gc.enable()
    return {key: Times(min(seconds), statistics.median(seconds)) for key, seconds in times.items()}


def count_repeats(call: Call, span: float) -> int:
    """Return how often a call fits into a span of seconds."""
    return max(3, int(span / max(time_call(call, 20), 1e-9)))


def time_call(call: Call, repeats: int) -> float:
    """Return the seconds that a call takes."""
    begin = time.perf_counter()
    for _ in itertools.repeat(None, repeats):
        call()
    return (time.perf_counter() - begin) / repeats


def figure(value: float) -> str:
    """Return a number to three digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def text(table: Table) -> str:
    """Return a table for a terminal."""
    grid = [table.header, *table.rows]
    widths = []
    for column in range(len(table.header)):
        widths.append(max(len(row[column]) for row in grid))
    lines = [table.title, ""]
    for name, *cells in grid:
        lines.append(f"{name:{widths[0]}}  " + "  ".join(map(str.rjust, cells, widths[1:])))
    lines.append("")
    lines += map(str, table.checks)
    return "\n".join(line.rstrip() for line in lines)

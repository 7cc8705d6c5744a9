"""The verdicts of ``imagefilter audit report`` over time, as columns of a chart."""

from __future__ import annotations

import datetime
from typing import NamedTuple

from imagefilter.cli._report_counts import COUNTS, Counts
from imagefilter.journal.history import History

_MAX_COLUMNS = 100
_MAX_LABELS = 7
_MAX_GRID_LINES = 4

# All times are UTC and of one form. A time that is none has no place in a chart.
_AT = "TRY_CAST(left(time, 19) AS TIMESTAMP)"
_LINES = tuple(digit * 10**power for power in range(12) for digit in (1, 2, 5))


class _Step(NamedTuple):
    """How much time a column stands for."""

    name: str  # of DuckDB, too
    length: datetime.timedelta
    label: str
    second_label: str
    title: str
    strides: tuple[int, ...]  # of labels


_STEPS = (
    _Step("hour", datetime.timedelta(hours=1), "%H:%M", "%d %b", "%a %d %b %Y, %H:%M", (1, 2, 3, 6, 12, 24)),
    _Step("day", datetime.timedelta(days=1), "%d %b", "%Y", "%a %d %b %Y", (1, 2, 7, 14, 28)),
    _Step("week", datetime.timedelta(weeks=1), "%d %b", "%Y", "week of %a %d %b %Y", (1, 2, 4, 8, 16)),
    _Step("month", datetime.timedelta(days=28), "%b", "%Y", "%B %Y", (1, 2, 3, 6, 12, 24)),
    _Step("year", datetime.timedelta(days=365), "%Y", "", "%Y", (1, 2, 5, 10, 20)),
)


class Column(NamedTuple):
    """The verdicts within one step of time."""

    title: str
    counts: Counts


class Label(NamedTuple):
    """A label below the chart, in two lines."""

    percent: float  # from the left
    text: str
    second_text: str


class Chart(NamedTuple):
    """Columns of verdicts, with the lines of a grid up to the top of the chart."""

    step: str
    columns: list[Column]
    labels: list[Label]
    lines: list[int]

    @property
    def top(self) -> int:
        """The number of requests at the top of the chart."""
        return self.lines[-1]


def count_over_time(history: History, since: str, until: str) -> Chart:
    """Return the chart of all requests, of which there is at least one.

    :param since: the begin of the period, in the form that records have; empty: at the first request.
    :param until: its end, likewise; empty: at the last request, or now where the period has a begin.
    """
    first, last = _find_ends(history, since, until)
    step = _choose_step(last - first)
    start = f"date_trunc('{step.name}', {_AT})::TIMESTAMP"  # older versions of DuckDB return a date
    rows = history.rows(f"SELECT {start}, {COUNTS} FROM requests GROUP BY 1 ORDER BY 1")
    counts = {begin: Counts(*numbers) for begin, *numbers in rows if begin is not None}
    starts = _list_starts(history, step, first, last) or list(counts)
    columns = [Column(start.strftime(step.title), counts.get(start, Counts())) for start in starts]
    return Chart(step.name, columns, _label(starts, step), _draw_lines(columns))


def _find_ends(history: History, since: str, until: str) -> tuple[datetime.datetime, datetime.datetime]:
    [(first, last)] = history.rows(f"SELECT min({_AT}), max({_AT}) FROM requests")
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    first, last = first or now, last or now
    if since:
        first, last = _parse(since), max(last, now)
    if until and since:
        last = _parse(until) - datetime.timedelta(microseconds=1)
    return first, max(first, last)


def _parse(time: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(time).replace(tzinfo=None)


def _choose_step(span: datetime.timedelta) -> _Step:
    for step in _STEPS:
        if span < step.length * _MAX_COLUMNS:
            return step
    return _STEPS[-1]


def _list_starts(
    history: History, step: _Step, first: datetime.datetime, last: datetime.datetime
) -> list[datetime.datetime]:
    """Return when each step begins; empty if there are too many, as with a clock that was centuries wrong."""
    if last - first >= step.length * _MAX_COLUMNS:
        return []
    rows = history.rows(
        f"SELECT * FROM generate_series(date_trunc('{step.name}', TIMESTAMP '{first}')::TIMESTAMP, TIMESTAMP '{last}',"
        f" INTERVAL 1 {step.name})"
    )
    return [start for (start,) in rows]


def _label(starts: list[datetime.datetime], step: _Step) -> list[Label]:
    """Label some columns; the second line says only what is new."""
    labels: list[Label] = []
    before = ""
    stride = next(stride for stride in step.strides if stride * _MAX_LABELS >= len(starts))
    for number in range(0, len(starts), stride):
        percent = 100 * number / len(starts)
        second = starts[number].strftime(step.second_label)
        if percent > 100 - 100 / (_MAX_LABELS + 1):  # it would not fit
            break
        labels.append(Label(percent, starts[number].strftime(step.label), second * (second != before)))
        before = second
    return labels


def _draw_lines(columns: list[Column]) -> list[int]:
    """Return the numbers of requests at which there are lines, the last of them at the top."""
    most = max(column.counts.total for column in columns)
    distance = next(line for line in _LINES if line * _MAX_GRID_LINES >= most)
    return list(range(0, most + distance, distance))

"""The relay's counters, and what a record adds to them: pure.

Labels have values of fixed sets only, whatever a record says. None names a project, a user or a server: their number is
without bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from imagefilter.journal.record import read_content
from imagefilter.policy.options import MODES
from imagefilter.request.action import ACTIONS
from imagefilter.rules import table
from imagefilter.rules.engine import Decision

#: The value of a label where a record says nothing, or something else than it may.
UNKNOWN = "unknown"

#: The value of the label ``rule`` for all of the operator's own rules: their number is the operator's to choose.
OWN_RULE = "own"

#: Upper bounds of the buckets of request_seconds: Nova responds after its own database and messages.
BUCKETS = ("0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0", "60.0", "+Inf")

#: What the compute API's response was, in CADF's words.
OUTCOMES = ("success", "failure", UNKNOWN)

#: What a record may say was decided.
VERDICTS = tuple(decision.value for decision in Decision)

_MODES = tuple(mode for mode, _ in MODES)


class Series(NamedTuple):
    """One counter: a metric with a value for each of its labels, in the metric's order."""

    metric: str
    values: tuple[str, ...] = ()


class Metric(NamedTuple):
    """Counters that have a name and labels in common; Prometheus sees ``imagefilter_<name>``."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    def series(self, **labels: str) -> Series:
        """Return the counter with these labels."""
        return Series(self.name, tuple(labels[name] for name in self.labels))


REQUESTS = Metric("requests", "Image actions that were judged.", ("action", "verdict", "rule", "mode"))
IMAGES = Metric(
    "images", "What the compute API responded to image actions that were let through.", ("action", "outcome")
)
UNRECORDED = Metric("unrecorded", "Records that the filter could not write, as later records report.")
TORN = Metric("torn", "Lines that writers left unfinished.")
PUBLISHED = Metric("relay_published", "Records that the message bus confirmed.", ("journal",))
RETRIED = Metric("relay_retried", "Failed attempts to publish a record that were repeated.")
DEAD_LETTERED = Metric("relay_dead_lettered", "Records that the message bus refused for ever.", ("journal",))

#: What is counted of a journal; it has the journal's path as one more label when it is exposed.
OF_RECORDS = (REQUESTS, IMAGES, UNRECORDED, TORN)

#: What is counted of publishing.
OF_PUBLISHING = (PUBLISHED, RETRIED, DEAD_LETTERED)

#: Histograms: for each bucket the requests that fell into it alone; :func:`sum_of` is the sum of all seconds.
SECONDS = Metric("request_seconds", "Seconds until the compute API began to respond.", ("action", "le"))
LOCK_SECONDS = Metric("lock_seconds", "Seconds until an image action had its lock, or was refused.", ("action", "le"))
LOOKUP_SECONDS = Metric("lookup_seconds", "Seconds that it took to count a project's images.", ("action", "le"))

#: What each of them is in a record.
HISTOGRAMS = {SECONDS: "seconds", LOCK_SECONDS: "lock_seconds", LOOKUP_SECONDS: "lookup_seconds"}


def encode_counts(counts: Mapping[Series, float]) -> list[list[Any]]:
    """Return counts for JSON: in a row the name of a metric, the values of its labels, and the count."""
    rows = []
    for series, number in counts.items():
        rows.append([series.metric, *series.values, number])
    return rows


def decode_counts(rows: Iterable[Any]) -> dict[Series, float]:
    """Return the counts that :func:`encode_counts` has made a list of.

    :raises TypeError: if it is not one.
    :raises ValueError: if it is not one.
    """
    counts = {}
    for metric, *values, number in rows:
        counts[Series(str(metric), tuple(map(str, values)))] = float(number)
    return counts


def count(record: dict[str, Any]) -> Iterator[tuple[Series, float]]:
    """Return what a record adds to which counters."""
    try:
        content = read_content(record)
    except ValueError:
        return
    action = read_action(content)
    if "verdict" in content:
        yield _request(action, content), 1
    elif "verdict_id" in content:
        yield IMAGES.series(action=action, outcome=_one_of(record.get("outcome"), OUTCOMES)), 1
    for metric, field in HISTOGRAMS.items():
        yield from _seconds(metric, action, content.get(field))
    if type(content.get("unrecorded")) is int:
        yield UNRECORDED.series(), content["unrecorded"]


def read_action(content: dict[str, Any]) -> str:
    """Return the action that a record is about; ``unknown`` if the filter could not read one."""
    return _one_of(content.get("action"), ACTIONS)


def initial_records() -> list[Series]:
    """Return the counters of a journal before they first count.

    To Prometheus, a counter that begins at 1 has not increased.
    """
    series = [UNRECORDED.series(), TORN.series()]
    series += _initial_requests()
    for action in ACTIONS:
        for outcome in OUTCOMES:
            series.append(IMAGES.series(action=action, outcome=outcome))
    return series


def initial_publishing(journals: Iterable[str]) -> list[Series]:
    """Return the counters of publishing before they first count."""
    series = [RETRIED.series()]
    for journal in journals:
        for metric in (PUBLISHED, DEAD_LETTERED):
            series.append(metric.series(journal=journal))
    return series


def _initial_requests() -> Iterator[Series]:
    for rule in (*table.rule_names(), OWN_RULE):
        for action in ACTIONS:
            yield REQUESTS.series(action=action, verdict=Decision.DENY.value, rule=rule, mode="enforce")
            yield REQUESTS.series(action=action, verdict=Decision.WOULD_DENY.value, rule=rule, mode="warn")
        yield REQUESTS.series(action=UNKNOWN, verdict=Decision.DENY.value, rule=rule, mode="enforce")
    for action in ACTIONS:
        yield REQUESTS.series(action=action, verdict=Decision.ALLOW.value, rule="", mode="enforce")


def _request(action: str, content: dict[str, Any]) -> Series:
    rule = content.get("rule") or ""
    if rule:
        rule = _one_of(rule, table.rule_names())
    if content.get("own_rule") is True:
        rule = OWN_RULE
    return REQUESTS.series(
        action=action,
        verdict=_one_of(content["verdict"], VERDICTS),
        rule=rule,
        mode=_one_of(content.get("mode"), _MODES),
    )


def sum_of(metric: Metric) -> Metric:
    """Return the counter of all seconds of a histogram."""
    return Metric(f"{metric.name}_sum", metric.help, ("action",))


def _seconds(metric: Metric, action: str, seconds: Any) -> Iterator[tuple[Series, float]]:
    if type(seconds) not in (int, float) or not seconds >= 0:
        return
    bucket = next(bound for bound in BUCKETS if seconds <= float(bound))
    yield metric.series(action=action, le=bucket), 1
    yield sum_of(metric).series(action=action), seconds


def _one_of(value: Any, allowed: Sequence[str]) -> str:
    if value in allowed:
        return str(value)
    return UNKNOWN

"""What a record adds to which counters."""

from __future__ import annotations

from typing import Any

import pytest

from imagefilter.relay.counters import (
    IMAGES,
    LOCK_SECONDS,
    LOOKUP_SECONDS,
    OF_PUBLISHING,
    OF_RECORDS,
    REQUESTS,
    SECONDS,
    UNRECORDED,
    count,
    initial_publishing,
    initial_records,
    read_action,
    sum_of,
)
from imagefilter.rules import table
from tests.relay.fakes import record

UNKNOWN_REQUEST = REQUESTS.series(action="unknown", verdict="unknown", rule="unknown", mode="unknown")


def test_counts_a_verdict() -> None:
    denied = REQUESTS.series(action="createImage", verdict="deny", rule="name-required", mode="enforce")
    assert dict(count(record(1, 2, unrecorded=7))) == {denied: 1, UNRECORDED.series(): 7}


def test_counts_an_outcome() -> None:
    assert dict(count(record(1, 1, seconds=0.3))) == {
        IMAGES.series(action="createImage", outcome="success"): 1,
        SECONDS.series(action="createImage", le="0.5"): 1,
        sum_of(SECONDS).series(action="createImage"): 0.3,
    }


@pytest.mark.parametrize("word", ["allow", "deny", "would_deny", "exempt"])
def test_verdicts_are_labels_as_they_are_recorded(word: str) -> None:
    [(series, number)] = count(record(1, verdict=word))
    assert series.values[1] == word
    assert number == 1


def test_labels_are_of_bounded_sets() -> None:
    """Otherwise a writer of the journal could fill Prometheus. And nobody's id is a label."""
    strange = record(1, action="x" * 99, verdict="y", rule="z", mode={"a": 1}, unrecorded="many")
    assert list(count(strange)) == [(UNKNOWN_REQUEST, 1)]
    strange = record(1, action=["createImage"], verdict=["deny"], rule={"a": 1}, mode=None)
    assert list(count(strange)) == [(UNKNOWN_REQUEST, 1)]
    strange = record(1, 1, seconds="NaN", action=["createImage"])
    strange["outcome"] = "fine"
    assert list(count(strange)) == [(IMAGES.series(action="unknown", outcome="unknown"), 1)]


def test_counts_nothing_of_other_records() -> None:
    assert list(count({"attachments": 1})) == []


@pytest.mark.parametrize("seconds", [-1, float("nan"), None, True, "1"])
def test_counts_no_seconds_that_are_not_a_time(seconds: object) -> None:
    assert [series.metric for series, _ in count(record(1, 1, seconds=seconds))] == ["images"]


def test_actions_are_those_of_the_filter() -> None:
    assert [read_action({"action": name}) for name in ("createImage", "shelve", "reboot", None)] == [
        "createImage",
        "shelve",
        "unknown",
        "unknown",
    ]


def test_every_rule_has_counters_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "RULES", (*table.RULES, table.RULES[-1]._replace(name="added")))
    series = initial_records()
    for rule in table.rule_names():
        assert REQUESTS.series(action="unknown", verdict="deny", rule=rule, mode="enforce") in series
        assert REQUESTS.series(action="shelve", verdict="would_deny", rule=rule, mode="warn") in series
    assert len(series) == len(set(series))
    assert {counter.metric for counter in series} == {metric.name for metric in OF_RECORDS}
    publishing = initial_publishing(["/j"])
    assert {counter.metric for counter in publishing} == {metric.name for metric in OF_PUBLISHING}


@pytest.mark.parametrize(
    ("content", "label"),
    [
        ({"rule": "no-gpu", "own_rule": True}, "own"),
        ({"rule": "another", "own_rule": True}, "own"),
        ({"rule": "no-gpu"}, "unknown"),
        ({"rule": "no-gpu", "own_rule": "yes"}, "unknown"),
        ({"rule": "token", "own_rule": False}, "token"),
    ],
)
def test_all_own_rules_have_one_label(content: dict[str, Any], label: str) -> None:
    """Their number is the operator's to choose, and Prometheus keeps every label."""
    [(series, _)] = count(record(1, verdict="deny", mode="enforce", **content))
    assert series == REQUESTS.series(action="createImage", verdict="deny", rule=label, mode="enforce")
    assert label == "unknown" or series in initial_records()


def test_counts_the_time_in_lock_and_lookup() -> None:
    """A verdict with a limit has both; they are histograms like the response's."""
    counted = dict(count(record(1, lock_seconds=0.2, lookup_seconds=0.01)))
    assert counted[LOCK_SECONDS.series(action="createImage", le="0.25")] == 1
    assert counted[sum_of(LOCK_SECONDS).series(action="createImage")] == 0.2
    assert counted[LOOKUP_SECONDS.series(action="createImage", le="0.05")] == 1

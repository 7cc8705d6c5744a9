"""Estimates of what a match costs are upper bounds, and finite."""

from __future__ import annotations

import itertools
import math
import re

import pytest

from imagefilter.policy.pattern_cost import Count, Estimate

UNBOUNDED = Count((0.0, 1.0))


def test_lengths_of_unbounded_repeats_are_counted_by_their_sum() -> None:
    lengths = range(256)
    pairs = sum(1 for one, other in itertools.product(lengths, lengths) if one + other <= 255)
    assert UNBOUNDED.value() == 256
    assert UNBOUNDED.times(UNBOUNDED).value() == pairs


def test_counts_are_added_and_multiplied_as_polynomials() -> None:
    count = Count((2.0, 1.0))
    assert count.plus(Count((1.0,))) == Count((3.0, 1.0))
    assert Count((1.0,)).plus(count) == Count((3.0, 1.0))
    assert count.times(count) == Count((4.0, 4.0, 1.0))


@pytest.mark.parametrize(
    "pattern", ["(?:(?:(?:a?){100}){100}){100}", "a*" * 100, "(?:(?:a*)*){0}", "(a)\\1", "(?:a|b*)*"]
)
def test_the_largest_cost_is_finite(pattern: str) -> None:
    assert 0 < Estimate(pattern).nanoseconds() < math.inf


def test_what_is_repeated_no_time_costs_next_to_nothing() -> None:
    assert Estimate("(?:(?:a*)*){0}b").nanoseconds() < 100


def test_what_comes_behind_a_repeat_costs_more_than_what_comes_before() -> None:
    before, behind = Estimate("[ab]" * 100 + "a*"), Estimate("a*" + "[ab]" * 100)
    assert behind.nanoseconds() > 20 * before.nanoseconds()


@pytest.mark.parametrize("flag", ["(?i)", "(?si)", "(?i:"])
def test_any_case_costs_more(flag: str) -> None:
    pattern = f"{flag}[ab]*" + ")" * flag.count(":")
    assert re.compile(pattern).fullmatch("AB")
    assert Estimate(pattern).nanoseconds() > Estimate("[ab]*").nanoseconds()


def test_a_lookahead_matches_in_one_way_alone() -> None:
    once = Estimate("(?=a*)b*").nanoseconds()
    assert Estimate("(?=a*)(?=a*)b*").nanoseconds() < 2 * once

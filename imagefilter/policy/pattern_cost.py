"""Estimate how long the standard library may take to match a pattern with one name.

It tries every way in which a part of the pattern can match if what comes behind it does not, so a sequence costs the
sum of its parts, each as often as all parts before it can match together. A repeat without a bound can match in as many
ways as there are lengths, up to 255. Of several such repeats the lengths have a sum of at most 255, which leaves fewer
ways than their product. So a number of ways is a polynomial: see :class:`Count`.
"""

from __future__ import annotations

import importlib
import math
import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from imagefilter.request.action import NAME_LENGTH

# In nanoseconds, as measured with Python 3.11 on a server's core of 2020.
_CHARACTER = 2  # also the begin or end of a group
_ANCHOR = 6
_CLASS = 4
_CHARACTER_IN_ANY_CASE = 3
_CLASS_IN_ANY_CASE = 10
_BEYOND_UNICODE_16 = 0.7  # each item of a class above U+FFFF: these are compared one by one
_TRY = 10  # one more number of a repeat, one more alternative, a lookaround
_REPEAT_OF_GROUP = 20
_SAVED_GROUP = 0.5  # each group of the pattern, whenever a repeat or an alternative is tried

_UNICODE_16 = 0xFFFF

# A repeat of so many numbers counts as one without a bound.
_MANY_NUMBERS = NAME_LENGTH // 2

# More than this count as this many, so that no number overflows.
_MANY = 1e15

# More repeats without a bound than these have more than _MANY ways.
_MOST_REPEATS = 8


class Count(NamedTuple):
    """A number of ways or of nanoseconds: the sum of ``coefficients[n]`` times the ways of ``n`` unbounded repeats."""

    coefficients: tuple[float, ...]

    def value(self) -> float:
        """Return the number: ``n`` lengths have a sum of at most 255 in ``comb(255 + n, n)`` ways."""
        total = 0.0
        for repeats, coefficient in enumerate(self.coefficients):
            total += coefficient * math.comb(NAME_LENGTH + repeats, repeats)
        return min(total, _MANY)

    def plus(self, other: Count) -> Count:
        """Return the sum of two counts."""
        longer, shorter = self.coefficients, other.coefficients
        if len(longer) < len(shorter):
            longer, shorter = shorter, longer
        total = list(longer)
        for repeats, coefficient in enumerate(shorter):
            total[repeats] += coefficient
        return _count(total)

    def times(self, other: Count) -> Count:
        """Return the product of two counts."""
        product = [0.0] * (len(self.coefficients) + len(other.coefficients) - 1)
        for repeats, coefficient in enumerate(self.coefficients):
            for more, factor in enumerate(other.coefficients):
                product[repeats + more] += coefficient * factor
        return _count(product)


_NONE = Count((0.0,))
_ONE = Count((1.0,))
_UNBOUNDED = Count((0.0, 1.0))
_TOO_MANY = Count((_MANY,))


class Cost(NamedTuple):
    """Upper bounds for a part of a pattern, from one place in a name."""

    ways: Count  # in which it can match
    time: Count  # to try all of them


class Estimate:
    """Estimates the cost of one parsed pattern."""

    def __init__(self, pattern: str) -> None:
        """Parse the pattern.

        :raises re.error: if it is not a pattern.
        """
        self._parsed = parser().parse(pattern)
        self._try = _TRY + self._parsed.state.groups * _SAVED_GROUP
        self._character, self._class = _CHARACTER, _CLASS
        if re.search(r"\(\?[a-z]*i", pattern):  # for all of the pattern, or for a part
            self._character, self._class = _CHARACTER_IN_ANY_CASE, _CLASS_IN_ANY_CASE

    def nanoseconds(self) -> float:
        """Return the longest time that one name may take."""
        cost = self._sequence(self._parsed)
        return cost.time.plus(cost.ways).value()

    def _sequence(self, parts: Any) -> Cost:
        ways, time = _ONE, _NONE
        for operator, argument in parts:
            part = self._part(str(operator), argument)
            time = time.plus(ways.times(part.time))
            ways = ways.times(part.ways)
        return Cost(ways, time)

    def _part(self, name: str, argument: Any) -> Cost:
        if name.endswith("_REPEAT"):
            return self._repeat(*argument)
        if name == "BRANCH":
            return self._alternatives(argument[1])
        if name in ("SUBPATTERN", "ATOMIC_GROUP", "ASSERT", "ASSERT_NOT"):
            return self._group(name, argument)
        if name.startswith("GROUPREF"):  # what it matches depends on another part
            return Cost(_TOO_MANY, _TOO_MANY)
        return Cost(_ONE, Count((self._one_character(name, argument),)))

    def _one_character(self, name: str, argument: Any) -> float:
        if name == "AT":
            return _ANCHOR
        if name == "IN":
            return self._class + _count_beyond(argument) * _BEYOND_UNICODE_16
        return self._character

    def _group(self, name: str, argument: Any) -> Cost:
        inner = argument
        if isinstance(argument, tuple):
            inner = argument[-1]
        cost = self._sequence(inner)
        if name == "SUBPATTERN":
            return Cost(cost.ways, cost.time.plus(Count((2 * _CHARACTER,))))
        return Cost(_ONE, cost.time.plus(Count((self._try,))))  # its first match is the only one

    def _alternatives(self, alternatives: Any) -> Cost:
        ways, time = _NONE, _NONE
        for alternative in alternatives:
            cost = self._sequence(alternative)
            ways = ways.plus(cost.ways)
            time = time.plus(cost.time).plus(Count((self._try,)))
        return Cost(ways, time)

    def _repeat(self, least: int, most: Any, repeated: Any) -> Cost:
        least, most = min(int(least), NAME_LENGTH), min(int(most), NAME_LENGTH)
        inner = self._sequence(repeated)
        once = inner.time.plus(Count((self._try,)))
        if not _is_one_character(repeated):
            once = once.plus(Count((_REPEAT_OF_GROUP,)))
        if inner.ways != _ONE:
            return _repeat_many_ways(least, most, inner.ways, once)
        if most - least >= _MANY_NUMBERS and repeated.getwidth()[0]:
            return Cost(_UNBOUNDED, _UNBOUNDED.times(once))
        return Cost(Count((most - least + 1.0,)), once.times(Count((most + 1.0,))))


def parser() -> Any:
    """Return the standard library's parser of patterns: nothing public shows a pattern's structure."""
    if sys.version_info >= (3, 11):
        return importlib.import_module("re._parser")
    return importlib.import_module("sre_parse")


def _count(coefficients: Sequence[float]) -> Count:
    if len(coefficients) > _MOST_REPEATS or max(coefficients) > _MANY:
        return _TOO_MANY
    return Count(tuple(coefficients))


def _repeat_many_ways(least: int, most: int, ways_once: Count, once: Count) -> Cost:
    """Return the cost of a repeat: each further one is tried in every way of all before it."""
    ways, time = _NONE, Count((_TRY + _REPEAT_OF_GROUP,))
    ways_so_far = _ONE
    for number in range(most + 1):
        if ways_so_far == _TOO_MANY:
            return Cost(_TOO_MANY, _TOO_MANY)
        if number >= least:
            ways = ways.plus(ways_so_far)
        if number < most:
            time = time.plus(ways_so_far.times(once))
        ways_so_far = ways_so_far.times(ways_once)
    return Cost(ways, time)


def _is_one_character(parsed: Any) -> bool:
    return len(parsed) == 1 and str(parsed[0][0]) in ("LITERAL", "NOT_LITERAL", "ANY", "IN")


def _count_beyond(items: Any) -> int:
    """Return how many items of a class are above U+FFFF."""
    count = 0
    for operator, argument in items:
        if str(operator) == "LITERAL":
            count += argument > _UNICODE_16
        elif str(operator) == "RANGE":
            count += argument[1] > _UNICODE_16
    return count

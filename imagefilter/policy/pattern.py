"""Compile an operator's regular expression so that it can't hang a worker on a client's name."""

from __future__ import annotations

import importlib
import math
import re
import sys
from typing import Any, Callable, NamedTuple

from imagefilter.request.action import NAME_LENGTH

# Steps that the standard library may have to take for one name; 20 million take it a tenth of a second.
_MAX_STEPS = 20_000_000

# A repeat of anything but one character takes about so many times as long as one of a character.
_GROUP_WEIGHT = 8

# More ways than this count as this many: the bound is passed long before.
_MANY = 1e15

Matches = Callable[[str], bool]


def compile_pattern(pattern: str) -> Matches:
    """Compile a pattern to a function that says whether it matches a whole text.

    google-re2 matches in linear time. The standard library may take exponential time, so without google-re2 a pattern
    that could is refused.

    :raises ValueError: if it is not a pattern, or may take too long.
    """
    try:
        import re2  # noqa: PLC0415  # an extra
    except ImportError:
        return _compile_standard(pattern)
    return _compile_re2(re2, pattern)


def shortest_match(pattern: str) -> int:
    """Return how many characters a text has at least that a pattern matches; 0 if nobody knows."""
    try:
        least: int = _parser().parse(pattern).getwidth()[0]
    except (re.error, RecursionError, OverflowError):  # google-re2 takes other patterns
        return 0
    return least


def _compile_re2(re2: Any, pattern: str) -> Matches:
    options = re2.Options()
    options.log_errors = False  # to stderr, past every logger: the exception says what is wrong
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        if isinstance(reason, bytes):
            reason = reason.decode()
        raise ValueError(f"not a pattern of google-re2: {reason}") from None

    def matches(text: str) -> bool:
        try:
            return compiled.fullmatch(text) is not None
        except UnicodeEncodeError:  # a lone surrogate: re2 can't read it, and no pattern means it
            return False

    return matches


def _compile_standard(pattern: str) -> Matches:
    try:
        parsed = _parser().parse(pattern)
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if _measure(parsed).steps > _MAX_STEPS:
        raise ValueError(
            "it may take too long on some names: a repeat or alternatives inside a repeat, a back-reference, or too"
            " many repeats; simplify it or install google-re2"
        )
    return lambda text: compiled.fullmatch(text) is not None


def _parser() -> Any:
    """Return the standard library's parser of patterns: nothing public shows a pattern's structure."""
    if sys.version_info >= (3, 11):
        return importlib.import_module("re._parser")
    return importlib.import_module("sre_parse")


class _Cost(NamedTuple):
    """Upper bounds of what it costs to match a part of a pattern with one text of 255 characters."""

    ways: float  # in which it can match: each is tried if what comes behind it does not match
    steps: float  # to try all of them


def _measure(parsed: Any) -> _Cost:
    """Measure a sequence: each part is tried once for each way in which all before it can match."""
    ways, steps = 1.0, 0.0
    repeats = 0
    for operator, argument in parsed:
        part = _measure_part(operator, argument)
        share = 1
        if part.ways >= NAME_LENGTH:  # the lengths of n such repeats have one sum, so there are n! times fewer ways
            repeats += 1
            share = repeats
        steps += ways * part.steps / share
        ways = min(ways * part.ways / share, _MANY)
    return _Cost(ways, steps)


def _measure_part(operator: Any, argument: Any) -> _Cost:
    name = str(operator)
    if name.startswith("GROUPREF"):  # exponential by itself
        return _Cost(math.inf, math.inf)
    if name.endswith("_REPEAT"):
        return _measure_repeat(*argument)
    if name == "BRANCH":
        alternatives = [_measure(alternative) for alternative in argument[1]]
        return _Cost(sum(cost.ways for cost in alternatives), sum(cost.steps for cost in alternatives))
    inner = [_measure(part) for part in _subpatterns(argument)]
    return _Cost(math.prod(cost.ways for cost in inner), sum(cost.steps for cost in inner) + 1)


def _measure_repeat(least: int, most: Any, repeated: Any) -> _Cost:
    inner = _measure(repeated)
    if most == _parser().MAXREPEAT:
        if inner.ways > 1:
            return _Cost(math.inf, math.inf)
        most = NAME_LENGTH
    most = min(int(most), NAME_LENGTH)
    numbers = most - min(least, most) + 1
    deepest = _MANY
    if most * math.log10(inner.ways) < math.log10(_MANY):
        deepest = inner.ways**most
    tries = float(most)
    if inner.ways > 1:  # after each repeat, once for each way of all before it
        tries = (deepest - 1) / (inner.ways - 1)
    if not _is_one_character(repeated):
        tries *= _GROUP_WEIGHT
    return _Cost(numbers * deepest, tries * inner.steps)


def _is_one_character(parsed: Any) -> bool:
    return len(parsed) == 1 and str(parsed[0][0]) in ("LITERAL", "NOT_LITERAL", "ANY", "IN")


def _subpatterns(argument: Any) -> list[Any]:
    parts = argument
    if not isinstance(argument, tuple):
        parts = (argument,)
    return [part for part in parts if isinstance(part, _parser().SubPattern)]

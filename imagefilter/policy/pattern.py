"""Compile an operator's regular expression so that it can't hang a worker on a client's name."""

from __future__ import annotations

import importlib
import math
import re
import sys
from typing import Any, Callable

from imagefilter.request.action import NAME_LENGTH

# Ways to match a name that the standard library may have to try; 20 million take it more than a second.
_MAX_WAYS = 20_000_000

# A repeat of more than this counts as this many: the bound is passed long before.
_MAX_EXPONENT = 64

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
    if _count_ways(parsed) > _MAX_WAYS:
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


def _count_ways(parsed: Any) -> float:
    """Return an upper bound of the ways in which a parsed pattern can match one text of 255 characters."""
    return math.prod([_count_ways_of(operator, argument) for operator, argument in parsed])


def _count_ways_of(operator: Any, argument: Any) -> float:
    name = str(operator)
    if name.startswith("GROUPREF"):  # exponential by itself
        return math.inf
    if name.endswith("_REPEAT"):
        return _count_ways_of_repeat(*argument)
    if name == "BRANCH":
        return sum(_count_ways(alternative) for alternative in argument[1])
    return math.prod([_count_ways(part) for part in _subpatterns(argument)])


def _count_ways_of_repeat(least: int, most: Any, repeated: Any) -> float:
    inner = _count_ways(repeated)
    if most == _parser().MAXREPEAT:
        if inner > 1:
            return math.inf
        most = NAME_LENGTH
    most = min(int(most), NAME_LENGTH)
    numbers = most - min(least, most) + 1
    ways: float = numbers * inner ** min(most, _MAX_EXPONENT)
    return ways


def _subpatterns(argument: Any) -> list[Any]:
    parts = argument
    if not isinstance(argument, tuple):
        parts = (argument,)
    return [part for part in parts if isinstance(part, _parser().SubPattern)]

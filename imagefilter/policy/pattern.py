"""Compile an operator's regular expression so that it can't hang a worker on a client's name."""

from __future__ import annotations

import re
from typing import Any, Callable

from imagefilter.policy.pattern_cost import Estimate, parser

# That a match may take: about a tenth of a second.
_MAX_NANOSECONDS = 120_000_000

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
        least: int = parser().parse(pattern).getwidth()[0]
    except (re.error, RecursionError, OverflowError):  # google-re2 takes other patterns
        return 0
    return least


def _compile_re2(re2: Any, pattern: str) -> Matches:
    options = re2.Options()
    options.log_errors = False  # to stderr, past every logger: the exception says what is wrong
    options.never_capture = True  # only whether a name matches is asked; groups could take seconds
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
        nanoseconds = Estimate(pattern).nanoseconds()
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if nanoseconds > _MAX_NANOSECONDS:
        raise ValueError(
            "it may take too long on some names: a repeat or alternatives inside a repeat, a back-reference, or too"
            " many repeats; simplify it or install google-re2"
        )
    return lambda text: compiled.fullmatch(text) is not None

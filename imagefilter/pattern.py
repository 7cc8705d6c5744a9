"""An operator's regular expression that can't hang a worker on a client's name."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any, Callable

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of its name only: re._parser, since 3.11
    import sre_parse

from imagefilter.options import NAME_LENGTH

# Ways to match a name that the standard library may have to try; 20 million take it a good second.
_MOST_WAYS = 20_000_000

Matches = Callable[[str], bool]


def compile_pattern(pattern: str) -> Matches:
    """Compile a pattern to a function that says whether it matches a text as a whole.

    google-re2 matches in linear time. The standard library may take exponential time, so without google-re2 a pattern
    is refused that could.

    :raises ValueError: if it is no pattern, or may take too long.
    """
    try:
        import re2  # noqa: PLC0415  # an extra
    except ImportError:
        return _standard(pattern)
    options = re2.Options()
    options.log_errors = False  # to stderr, past every logger: what is wrong is in the exception
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise ValueError(f"no pattern of google-re2: {reason}") from None

    def matches(text: str) -> bool:
        try:
            return compiled.fullmatch(text) is not None
        except UnicodeEncodeError:  # a lone surrogate, which re2 can't read and no pattern means
            return False

    return matches


def _standard(pattern: str) -> Matches:
    try:
        parsed = sre_parse.parse(pattern)
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"no regular expression: {error}") from None
    if _ways(parsed) > _MOST_WAYS:
        raise ValueError(
            "it may take too long on some names: a repeat or alternatives inside a repeat, a back-reference, or too"
            " many repeats; make it simpler or install google-re2"
        )
    return lambda text: compiled.fullmatch(text) is not None


def _ways(parsed: Any) -> float:
    """An upper bound of the ways in which a parsed pattern can match one text of 255 characters."""
    return math.prod([_ways_of(operator, argument) for operator, argument in parsed])


def _ways_of(operator: Any, argument: Any) -> float:
    name = str(operator)
    if name.startswith("GROUPREF"):  # exponential by itself
        return math.inf
    if name.endswith("_REPEAT"):
        least, most, repeated = argument
        inner = _ways(repeated)
        most = min(int(most), math.inf if inner > 1 and most == sre_parse.MAXREPEAT else NAME_LENGTH)
        return math.inf if most == math.inf else (most - min(least, most) + 1) * float(inner) ** min(most, 64)
    if name == "BRANCH":
        return sum(_ways(alternative) for alternative in argument[1])
    parts = argument if isinstance(argument, tuple) else (argument,)
    return math.prod([_ways(part) for part in parts if isinstance(part, sre_parse.SubPattern)])

"""What commands print."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

from imagefilter.cli.distribution import DISTRIBUTION

# What a formula may begin with, also in full width; a tab or a carriage return is printed as \\t, \\r.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def fail(reason: str) -> NoReturn:
    """End the program with exit status 2."""
    sys.stderr.write(f"error: {reason}\n")
    raise SystemExit(2)


def describe_missing(error: ImportError, extra: str) -> str:
    """Return which library is missing, and the command that installs it, from a clone and from a wheel alike.

    :param extra: of this distribution.
    """
    return f"a library is missing ({error}): pip install '{DISTRIBUTION}[{extra}]'"


def printable(value: Any) -> Any:
    """Return a value as it can be printed on a terminal: texts of clients must not control it."""
    if isinstance(value, list):
        return ", ".join(str(printable(item)) for item in value)
    if isinstance(value, dict):
        return ": ".join(str(printable(item)) for item in value.values() if item is not None)
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(map(_escape, value))


def printable_rows(
    rows: Iterable[tuple[Any, ...]], args: argparse.Namespace, things: str = "requests"
) -> list[tuple[Any, ...]]:
    """Return rows as they can be printed; JSON escapes control characters itself.

    :param things: what the rows are of.
    """
    rows = list(rows)
    if not rows:
        sys.stderr.write(f"no {things}\n")
    if args.formatter == "json":
        return rows
    cell = _printable_cell
    if args.formatter == "csv":
        cell = csv_cell
    return [tuple(map(cell, row)) for row in rows]


def _printable_cell(value: Any) -> Any:
    if value is None:
        return ""
    return printable(value)


def csv_cell(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    text = _printable_cell(value)
    if isinstance(text, str) and text.lstrip().startswith(_FORMULA):
        return f"'{text}"
    return text


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    return ascii(character)[1:-1]

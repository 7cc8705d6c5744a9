"""Numbers on the command line."""

from __future__ import annotations

import argparse
import re

_MOST = 999_999_999


def parse_count(text: str) -> int:
    """Return a whole number that is not negative."""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 to {_MOST}")
    return int(text)


def parse_quota(text: str) -> int:
    """Return a quota: a count, or -1 for none, as Nova has it."""
    if text == "-1":
        return -1
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 to {_MOST}, or -1 for no quota")
    return int(text)


def parse_int(text: str) -> int:
    """Return a whole number, for options of libraries: argparse itself names the type of Python."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None

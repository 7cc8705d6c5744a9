"""Durations as an operator writes them: a number with a unit."""

from __future__ import annotations

import datetime
import re

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: str) -> datetime.timedelta:
    """Return a duration.

    :param text: a number with a unit: m, h, d or w.
    :raises ValueError: if it is none.
    """
    parts = re.fullmatch(r"([0-9]{1,4})([mhdw])", text)
    if parts is None:
        raise ValueError(f"'{text}' is not a duration: try 90m, 24h, 7d or 2w")
    number, unit = parts.groups()
    return datetime.timedelta(**{_UNITS[unit]: int(number)})

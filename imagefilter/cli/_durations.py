"""Durations on the command line."""

from __future__ import annotations

import argparse
import datetime

from imagefilter.policy import durations


def parse_duration(text: str) -> datetime.timedelta:
    """Return a duration.

    :param text: a number with a unit: m, h, d or w.
    """
    try:
        return durations.parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None

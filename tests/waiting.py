"""Wait for a condition instead of sleeping."""

from __future__ import annotations

import time
from typing import Callable

Condition = Callable[[], object]


def wait_until(condition: Condition, seconds: float = 60, interval: float = 0.01) -> None:
    """Return once a condition holds; it is evaluated again and again.

    :raises AssertionError: if it does not hold within so many seconds.
    """
    assert holds_within(seconds, condition, interval), f"{condition} does not hold after {seconds} seconds"


def holds_within(seconds: float, condition: Condition, interval: float = 0.01) -> bool:
    """Return whether a condition holds within so many seconds, as soon as it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True

"""Counting, apart from publishing: it goes on while the bus is down, so that no night arrives in one scrape."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence

from imagefilter.journal.follower import Follower, Line, follow
from imagefilter.journal.position import Position
from imagefilter.relay import counters
from imagefilter.relay.counters import Series

LOG = logging.getLogger(__name__)

_POLL_SECONDS = 0.5


class Counting:
    """Counts the records of some journals, in a thread of its own.

    :param positions: up to which each journal was counted.
    :param counts: what was counted until there.
    """

    def __init__(
        self, journals: Sequence[str], positions: Mapping[str, Position], counts: Mapping[Series, float]
    ) -> None:
        self._followers = [Follower(path, positions.get(path)) for path in journals]
        self._lock = threading.Lock()  # of the next two, which belong together
        self._positions = dict(positions)
        self._counts: defaultdict[Series, float] = defaultdict(float, counts)

    def catch_up(self) -> None:
        """Count all that there is. What Prometheus sees first is the past to it: no surge, however much that is."""
        for item in follow(self._followers, _POLL_SECONDS, once=True, on_error=_ignore):
            if item is not None:
                self._count(*item)

    def start(self) -> None:
        """Count for ever, in the background."""
        threading.Thread(target=self._run, name="counting", daemon=True).start()

    def read(self) -> tuple[dict[str, Position], dict[Series, float]]:
        """Return up to where each journal was counted, and the counts."""
        with self._lock:
            return dict(self._positions), dict(self._counts)

    def _run(self) -> None:
        for item in follow(self._followers, _POLL_SECONDS, on_error=_ignore):
            if item is not None:
                self._count(*item)

    def _count(self, follower: Follower, line: Line) -> None:
        with self._lock:
            if line.record is not None and line.position != self._positions.get(follower.path):
                for series, number in counters.count(line.record):
                    self._counts[series] += number
            self._positions[follower.path] = line.position


def _ignore(follower: Follower, error: OSError) -> None:
    """Do nothing: the loop that publishes reads the same journal, and says so."""
    LOG.debug("%s can't be counted: %s", follower.path, error)

"""How far the relay has published a journal."""

from __future__ import annotations

import logging
import os
import time
from typing import NamedTuple

from imagefilter.journal.follower import Follower
from imagefilter.journal.position import Position

LOG = logging.getLogger(__name__)


class Progress(NamedTuple):
    """How far a journal was published, for the metrics."""

    position: Position
    pending_since: float | None  # when the record was made that is being published, in seconds since 1970
    last_error: str  # why the journal can't be read, or empty

    @property
    def lag_seconds(self) -> float:
        """How old the oldest record is that is not published yet; 0 if there is none."""
        if self.pending_since is None:
            return 0.0
        return max(0.0, time.time() - self.pending_since)


class FollowedJournal:
    """A journal that is being published."""

    def __init__(self, path: str, position: Position | None) -> None:
        self.path = path
        self.follower = Follower(path, position)
        self.published = self.follower.position
        self.pending_since: float | None = None
        self.last_error = ""
        self._has_failed = False  # in this pass
        if not os.path.exists(path):
            LOG.warning("%s does not exist yet; it is followed as soon as it does", path)

    def progress(self) -> Progress:
        """Return how far it was published."""
        return Progress(self.published, self.pending_since, self.last_error)

    def fail(self, error: OSError) -> None:
        """Note that the journal can't be read."""
        reason = f"it can't be read: {error}"
        if reason != self.last_error:
            LOG.error("%s: %s", self.path, reason)
        self.last_error = reason
        self._has_failed = True

    def end_pass(self) -> None:
        """Note that all journals were read, each to its end or as far as its share went."""
        if not self._has_failed:
            self.last_error = ""
            if not self.follower.has_more:  # not before: while there is a backlog its age is never 0
                self.pending_since = None
        self._has_failed = False

"""Counting, apart from publishing: nothing that holds up the bus, a disk or one journal holds up the counters.

Each journal is counted by a thread of its own, and one more thread keeps the counts in a file of their own. None waits
for another.

Counters are exposed from memory, and only while the counting is at the journal's end. After a kill the counting goes on
from the file, and has reached at least the same numbers when they are exposed again: no counter goes back, and none
makes a leap that Prometheus would take for a surge.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Callable

from imagefilter.journal.follow import follow
from imagefilter.journal.follower import Follower, Line
from imagefilter.journal.record import read_time
from imagefilter.relay import counters
from imagefilter.relay.counted_file import Counted, CountedFile
from imagefilter.relay.counters import Series

LOG = logging.getLogger(__name__)

#: Seconds between two looks at a journal.
POLL_SECONDS = 0.5

#: Seconds between two writes of the file.
SAVE_SECONDS = 1.0

#: Counters of a journal are left out of a scrape while the counting is more seconds than this behind it.
MAX_BEHIND = 10.0

_PAUSE = 10.0  # seconds after an error that nobody foresaw
_LAST_SAVE_WAIT = 5.0  # seconds for a save that is under way when the process ends


class JournalCounter:
    """Counts the records of one journal."""

    def __init__(self, path: str, counted: Counted | None) -> None:
        """Go on behind what was counted; with None at the journal's end, as it is when it can be read first."""
        self.path = path
        self.last_error = ""  # why the journal can't be counted, or empty
        self._is_new = counted is None
        if counted is None:
            counted = Counted(None, {})
        self._follower = Follower(path, counted.position)
        self._has_failed = False  # in this pass
        self._started_at = time.monotonic()
        self._reached_at: float | None = None  # when all that there was had been counted
        self._record_time: float | None = None  # of the last record in this pass
        self._lock = threading.Lock()  # of the next two, which belong together; nothing is waited for under it
        self._position = counted.position
        self._counts: defaultdict[Series, float] = defaultdict(float, counted.counts)

    def count(self, once: bool = False) -> None:
        """Count for ever, or once all that there is."""
        if not self._begin(once):
            return
        for item in follow([self._follower], POLL_SECONDS, once, on_error=self._fail):
            if item is None:
                self._end_pass()
            else:
                self._add(item[1])

    def count_always(self) -> None:
        """Count for ever, whatever happens; a record that can't be counted is left out."""
        while True:
            try:
                self.count()
            except Exception as error:
                self.last_error = f"counting failed: {type(error).__name__}"
                LOG.exception("%s: counting failed; it goes on behind this record in %d s", self.path, _PAUSE)
            time.sleep(_PAUSE)

    def read(self) -> Counted | None:
        """Return how far it was counted, and the counts; None before it has begun."""
        if self._is_new:
            return None
        with self._lock:
            return Counted(self._position, dict(self._counts))

    def behind(self) -> float:
        """Return how many seconds the counting is behind the journal."""
        record_time = self._record_time
        seconds = self._seconds_since_end()
        if record_time is None or self.is_exposed():
            return seconds
        return max(seconds, time.time() - record_time)

    def is_exposed(self) -> bool:
        """Return whether the counters may be shown: the counting is, or was a moment ago, at the journal's end."""
        return self._reached_at is not None and self._seconds_since_end() <= MAX_BEHIND

    def _seconds_since_end(self) -> float:
        return time.monotonic() - (self._reached_at or self._started_at)

    def _begin(self, once: bool) -> bool:
        """Find where to begin; return whether it was found."""
        while self._is_new:
            self._begin_at_end()
            if once:
                break
            if self._is_new:
                time.sleep(POLL_SECONDS)
        return not self._is_new

    def _begin_at_end(self) -> None:
        """Leave out what is there at a first start: it is the past, and would look like a surge."""
        try:
            self._follower.skip()
        except OSError as error:
            self._fail(self._follower, error)
            return
        LOG.info("%s: counting begins at its present end; older records are not counted", self.path)
        self._position = self._follower.position
        self._is_new = False

    def _add(self, line: Line) -> None:
        if line.is_unfinished:
            return
        additions = [(counters.TORN.series(), 1.0)]
        if line.record is not None:
            additions = list(counters.count(line.record))
            self._record_time = read_time(line.record)
        with self._lock:
            for series, number in additions:
                self._counts[series] += number
            self._position = line.position

    def _fail(self, follower: Follower, error: OSError) -> None:
        reason = f"it can't be counted: {error}"
        if reason != self.last_error:
            LOG.error("%s: %s", self.path, reason)
        self.last_error = reason
        self._has_failed = True

    def _end_pass(self) -> None:
        self._record_time = None
        if not self._has_failed:
            self.last_error = ""
            with self._lock:
                self._position = self._follower.position
            if not self._follower.is_held:
                self._reached_at = time.monotonic()
        self._has_failed = False


class Counting:
    """Counts the records of some journals. What is public may be asked from other threads, and waits for nothing."""

    def __init__(self, journals: Sequence[str], file: CountedFile, counted: Mapping[str, Counted]) -> None:
        """Go on from what the file held."""
        self._file = file
        self._saved = dict(counted)  # of journals as well that are not followed now
        self._journals = [JournalCounter(path, counted.get(path)) for path in journals]
        self._saving = threading.Lock()
        self._save_error = ""

    def start(self) -> None:
        """Count for ever, in the background."""
        for journal in self._journals:
            _run(journal.count_always, f"counting {journal.path}")
        _run(self._save_always, "saving counts")

    def count_once(self) -> None:
        """Count all that there is, and keep it."""
        for journal in self._journals:
            journal.count(once=True)
        self.save()

    def counts(self) -> dict[str, Mapping[Series, float]]:
        """Return the counters by journal, without journals that the counting is too far behind."""
        counts = {}
        for journal in self._journals:
            counted = journal.read()
            if counted is not None and journal.is_exposed():
                counts[journal.path] = counted.counts
        return counts

    def behind(self) -> dict[str, float]:
        """Return how many seconds the counting is behind, by journal."""
        return {journal.path: journal.behind() for journal in self._journals}

    def errors(self) -> list[str]:
        """Return what keeps it from counting, or from keeping the counts."""
        errors = [f"{journal.path}: {journal.last_error}" for journal in self._journals if journal.last_error]
        if self._save_error:
            errors.append(self._save_error)
        return errors

    def save(self) -> None:
        """Write the file if something was counted. An error is noted: counting goes on without it."""
        if not self._saving.acquire(timeout=_LAST_SAVE_WAIT):
            return
        try:
            self._write()
        finally:
            self._saving.release()

    def _save_always(self) -> None:
        while True:
            time.sleep(SAVE_SECONDS)
            self.save()

    def _write(self) -> None:
        state = dict(self._saved)
        for journal in self._journals:
            counted = journal.read()
            if counted is not None:
                state[journal.path] = counted
        if state == self._saved:
            return
        try:
            self._file.write(state)
        except OSError as error:
            self._note_save_error(f"the counts {self._file.path} can't be written: {error}")
        else:
            self._saved = state
            self._save_error = ""

    def _note_save_error(self, error: str) -> None:
        if error != self._save_error:
            LOG.error("%s", error)
        self._save_error = error


def _run(function: Callable[[], None], name: str) -> None:
    threading.Thread(target=function, name=name, daemon=True).start()

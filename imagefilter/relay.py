"""The relay: follows journals and publishes their records, outside the API's processes.

At least once, in order per journal. What was done is in the checkpoint, which moves only behind what the bus has
confirmed; so this process may end anywhere, and what it did since the last checkpoint is done again, with the same ids.
"""

from __future__ import annotations

import collections
import logging
import os
import random
import signal
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Callable, Protocol

from imagefilter import journal
from imagefilter.checkpoint import Checkpoint, Count, State
from imagefilter.follow import Follower, Line, Position
from imagefilter.metrics import Progress, counts_of
from imagefilter.notification import Refused
from imagefilter.records import time_of
from imagefilter.relay_options import Settings

LOG = logging.getLogger(__name__)

#: Seconds between two looks at a journal, and between two checkpoints.
POLL, SAVE = 0.5, 1.0

#: The longest wait between two tries, in seconds.
LONGEST_WAIT = 10.0

_FIRST_WAIT = 0.25
_TURN = 200  # records of a journal before it is another's turn


class Publisher(Protocol):
    """What records are given to."""

    def publish(self, record: dict[str, Any]) -> None:
        """Return when it is safe; raise :class:`Refused` if it never will be, anything else to be asked again."""


class Stop(BaseException):
    """The process was told to end."""


class GiveUp(Exception):
    """What was to be done once can't be done now."""


class _Journal:
    """One journal, and how far it was published."""

    def __init__(self, path: str, position: Position | None) -> None:
        self.path = path
        self.follower = Follower(path, position)
        self.published = self.follower.position
        self.pending_since: float | None = None
        self.trouble = ""
        self._lines: Iterator[Line] = iter(())
        if not os.path.exists(path):
            LOG.warning("%s is not there yet; it is followed as soon as it is", path)

    def take(self, count: int, once: bool) -> Iterator[Line]:
        """The next lines, some at a time.

        :raises OSError: if they can't be read.
        """
        taken = 0
        for line in islice(self._lines, count):
            taken += 1
            yield line
        if not taken:
            self._lines = self.follower.read(once)
            yield from islice(self._lines, count)


class Relay:
    """Publishes the records of some journals. What is public is for other threads to read."""

    def __init__(self, settings: Settings, state: State, publisher: Publisher, saved: Checkpoint) -> None:
        self.max_lag = settings.max_lag
        self._settings = settings
        self._publisher = publisher
        self._checkpoint = saved
        self._others = {path: at for path, at in state.positions.items() if path not in settings.journals}
        self._journals = [_Journal(path, state.positions.get(path)) for path in settings.journals]
        self._counts: collections.Counter[Count] = collections.Counter(dict(state.counts))
        self._saved = state
        self._saved_at = time.monotonic()
        self._trouble = ""
        self._buried = 0

    # --- for the metrics

    def progress(self) -> Mapping[str, Progress]:
        """Where it is, by journal."""
        return {each.path: Progress(each.published, each.pending_since, each.trouble) for each in self._journals}

    def shown(self) -> Mapping[Count, float]:
        """The counters as the checkpoint has them."""
        return self._saved.counts

    def trouble(self) -> str:
        """What keeps it from working at all, or empty."""
        return self._trouble

    # --- the work

    def run(self, once: bool = False) -> bool:
        """Publish until told to stop, or once what there is.

        :returns: with ``once``: whether everything there was is published.
        """
        try:
            while True:
                worked = [self._turn(each, once) for each in self._journals]
                if once and not any(worked):
                    break
                self._save(at_once=False)
                if not any(worked):
                    time.sleep(POLL)
        except GiveUp as error:
            LOG.error("given up: %s", error)
            return False
        finally:
            self._save(at_once=True, tries=1)
        return not self._buried and not self._trouble and not any(each.trouble for each in self._journals)

    def _turn(self, each: _Journal, once: bool) -> bool:
        """Publish some records of a journal; whether there were any."""
        before = each.published
        try:
            for line in each.take(_TURN, once):
                self._deliver(each, line, once)
        except OSError as error:
            self._tell(each, f"it can't be read: {error}")
            return False
        self._tell(each, "")
        if each.published is before:  # not before: while there is a backlog its age is never 0
            each.pending_since = None
        return each.published is not before

    def _tell(self, each: _Journal, trouble: str) -> None:
        if trouble and trouble != each.trouble:
            LOG.error("%s: %s", each.path, trouble)
        each.trouble = trouble

    def _deliver(self, each: _Journal, line: Line, once: bool) -> None:
        """Have one line published, or counted as what can't be; then, and not before, it is done."""
        if line.position == each.published:  # the unfinished last line: it is not done
            LOG.warning("%s: the last line is unfinished: it is left for later", each.path)
            return
        if line.record is None:
            LOG.warning("%s: a torn line of %d bytes; its writer died", each.path, len(line.raw))
            self._counts["relay_torn", each.path] += 1
        else:
            each.pending_since = time_of(line.record) or time.time()
            self._publish(each, line.record, line.raw, once)
            for key, value in counts_of(line.record):
                self._counts[key] += value  # type: ignore[assignment]
        each.published = line.position
        self._save(at_once=False)

    def _publish(self, each: _Journal, record: dict[str, Any], raw: bytes, once: bool) -> None:
        tries = 0
        while True:
            tries += 1
            try:
                self._publisher.publish(record)
                self._counts["relay_published", each.path] += 1
                return
            except Refused as error:
                if tries >= self._settings.retries or not error.again:
                    self._bury(each, record, raw, error)
                    return
                self._wait(tries, f"the bus refused record {record.get('id')} of {each.path}", error)
            except Exception as error:
                if once and tries >= self._settings.retries:
                    raise GiveUp(f"{type(error).__name__}: {error}") from error
                self._wait(tries, "publishing failed", error)

    def _wait(self, tries: int, what: str, error: Exception) -> None:
        """Wait before the next try: longer each time, and not all relays at the same moment."""
        seconds = min(LONGEST_WAIT, _FIRST_WAIT * 2 ** min(tries, 30)) * random.uniform(0.5, 1)  # noqa: S311
        LOG.warning("%s (try %d): %s: %s; again in %.1f s", what, tries, type(error).__name__, error, seconds)
        self._counts["relay_retried",] += 1
        self._save(at_once=False)
        time.sleep(seconds)

    def _bury(self, each: _Journal, record: dict[str, Any], raw: bytes, error: Exception) -> None:
        path = self._settings.dead_letters
        LOG.error("record %s of %s goes to %s: the bus refuses it: %s", record.get("id"), each.path, path, error)
        self._insist(lambda: journal.append(path, raw), f"the dead letters {path} can't be written")
        self._counts["relay_dead_lettered", each.path] += 1
        self._buried += 1

    def _save(self, at_once: bool, tries: int = 0) -> None:
        """Write the checkpoint if it is time. Without it nothing more is published: duplicates stay few."""
        if not at_once and time.monotonic() - self._saved_at < SAVE:
            return
        positions = {**self._others, **{each.path: each.published for each in self._journals}}
        state = State(positions, dict(self._counts))
        if state != self._saved:
            what = f"the checkpoint {self._settings.checkpoint} can't be written"
            if self._insist(lambda: self._checkpoint.write(state), what, tries):
                self._saved = state
        self._saved_at = time.monotonic()

    def _insist(self, write: Callable[[], None], what: str, tries: int = 0) -> bool:
        """Have a file written, however long the disk is full; or give up after some tries."""
        wait = _FIRST_WAIT
        while True:
            try:
                write()
                self._trouble = ""
                return True
            except OSError as error:
                self._trouble = f"{what}: {error}"
                LOG.error("%s", self._trouble)
                tries -= 1
                if tries == 0:
                    return False
            time.sleep(wait * random.uniform(0.5, 1))  # noqa: S311
            wait = min(LONGEST_WAIT, 2 * wait)


def stop_on_signals() -> None:
    """Have SIGTERM and SIGINT end the process, wherever it is: it may be killed anywhere as well."""

    def stop(number: int, frame: Any) -> None:
        raise Stop

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)

"""The relay: follows journals and publishes their records, outside the API's processes.

At least once, in order per journal. What was done is in the checkpoint, which moves only behind what the bus has
confirmed. So this process may end anywhere; what it did since the last checkpoint is done again, with the same ids.
"""

from __future__ import annotations

import logging
import random
import signal
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Callable

import tenacity
from tenacity import RetryCallState, Retrying

from imagefilter.journal import writer
from imagefilter.journal.follow import follow
from imagefilter.journal.follower import Follower, Line
from imagefilter.journal.record import read_time
from imagefilter.relay import counters
from imagefilter.relay.checkpoint import Checkpoint, State
from imagefilter.relay.counters import Series
from imagefilter.relay.options import Settings
from imagefilter.relay.progress import FollowedJournal, Progress
from imagefilter.relay.publisher import Publisher, Refused

LOG = logging.getLogger(__name__)

#: Seconds between two looks at the journals.
POLL_SECONDS = 0.5

#: Seconds between two checkpoints.
SAVE_SECONDS = 1.0

#: The shortest and the longest wait before another attempt, in seconds.
FIRST_WAIT = 0.25
LONGEST_WAIT = 10.0

_SHARE = 200  # records of a journal before it is another's turn


class Stop(BaseException):
    """A signal asked the process to end."""


class GiveUp(Exception):
    """The bus can't be reached, and waiting for it is not wanted."""


class Relay:
    """Publishes the records of some journals. What is public is for other threads to read."""

    def __init__(self, settings: Settings, state: State, publisher: Publisher, checkpoint: Checkpoint) -> None:
        self.max_lag = settings.max_lag
        self.last_error = ""  # what keeps it from working at all, or empty
        self._settings = settings
        self._publisher = publisher
        self._checkpoint = checkpoint
        # By path. The checkpoint may know other journals as well, which are not followed now.
        self._journals = {path: FollowedJournal(path, state.positions.get(path)) for path in settings.journals}
        self._counts: defaultdict[Series, float] = defaultdict(float, state.counts)
        self._saved = state
        self._saved_at = time.monotonic()
        self._has_dead_letters = False

    def progress(self) -> Mapping[str, Progress]:
        """Return where it is, by journal."""
        return {path: journal.progress() for path, journal in self._journals.items()}

    def saved_counts(self) -> Mapping[Series, float]:
        """Return the counters of publishing as the checkpoint has them."""
        return self._saved.counts

    def run(self, once: bool = False) -> bool:
        """Publish for ever, or once all that there is.

        :returns: with ``once``: whether everything is published.
        """
        try:
            self._poll(once)
        except GiveUp as error:
            LOG.error("given up: %s", error)
            return False
        finally:
            self._save(max_attempts=1)
        has_errors = self.last_error or any(journal.last_error for journal in self._journals.values())
        return not has_errors and not self._has_dead_letters

    def _poll(self, once: bool) -> None:
        followers = [journal.follower for journal in self._journals.values()]
        for item in follow(followers, POLL_SECONDS, once, share=_SHARE, on_error=self._note_error):
            if item is not None:
                follower, line = item
                self._deliver(self._journals[follower.path], line, once)
                continue
            for journal in self._journals.values():
                journal.end_pass()
            self._save_if_due()

    def _note_error(self, follower: Follower, error: OSError) -> None:
        self._journals[follower.path].fail(error)

    def _deliver(self, journal: FollowedJournal, line: Line, once: bool) -> None:
        """Publish a line, or count it as one that can't be published; only then it is done."""
        if line.position == journal.published:
            LOG.warning("%s: the last line is unfinished: it is left for later", journal.path)
            return
        if line.record is None:
            LOG.warning("%s: a torn line of %d bytes; its writer died", journal.path, len(line.raw))
        else:
            journal.pending_since = read_time(line.record) or time.time()
            self._publish(journal, line.record, line.raw, once)
        journal.published = line.position
        self._save_if_due()

    def _publish(self, journal: FollowedJournal, record: dict[str, Any], raw: bytes, once: bool) -> None:
        """Publish a record, however long that takes.

        :raises GiveUp: with ``once``, if the bus can't be reached.
        """

        def is_final(retry_state: RetryCallState) -> bool:
            error = _error(retry_state)
            if isinstance(error, Refused) and not error.again:
                return True
            is_limited = once or isinstance(error, Refused)
            return is_limited and retry_state.attempt_number >= self._settings.retries

        retrying = Retrying(stop=is_final, wait=_wait, before_sleep=self._note_retry, reraise=True)
        try:
            retrying(self._publisher.publish, record)
        except Refused as error:
            self._dead_letter(journal, record, raw, error)
        except Exception as error:
            raise GiveUp(f"{type(error).__name__}: {error}") from error
        else:
            self._note_published(journal)

    def _note_published(self, journal: FollowedJournal) -> None:
        if self._settings.transport_url:  # without a bus nothing was published
            self._counts[counters.PUBLISHED.series(journal=journal.path)] += 1

    def _note_retry(self, retry_state: RetryCallState) -> None:
        """Log and count that publishing failed, before the wait for the next attempt."""
        [record] = retry_state.args
        error = _error(retry_state)
        assert retry_state.next_action
        LOG.warning(
            "publishing record %s failed (attempt %d): %s: %s; next attempt in %.1f s",
            record.get("id"),
            retry_state.attempt_number,
            type(error).__name__,
            error,
            retry_state.next_action.sleep,
        )
        self._counts[counters.RETRIED.series()] += 1
        self._save_if_due()

    def _dead_letter(self, journal: FollowedJournal, record: dict[str, Any], raw: bytes, error: Refused) -> None:
        """Put a record aside that the bus refuses."""
        path = self._settings.dead_letters
        LOG.error("record %s of %s goes to %s: the bus refuses it: %s", record.get("id"), journal.path, path, error)
        self._write(lambda: writer.append(path, raw), f"the dead letters {path}")
        self._counts[counters.DEAD_LETTERED.series(journal=journal.path)] += 1
        self._has_dead_letters = True

    def _save_if_due(self) -> None:
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._save()

    def _save(self, max_attempts: int | None = None) -> None:
        """Write the checkpoint. Until it is written nothing more is published, so that duplicates stay few."""
        positions = dict(self._saved.positions)
        for path, journal in self._journals.items():
            positions[path] = journal.published
        state = State(positions, dict(self._counts))
        if state != self._saved:
            path = self._settings.checkpoint
            if self._write(lambda: self._checkpoint.write(state), f"the checkpoint {path}", max_attempts):
                self._saved = state
        self._saved_at = time.monotonic()

    def _write(self, write: Callable[[], None], name: str, max_attempts: int | None = None) -> bool:
        """Write a file, however long the disk is full.

        :param max_attempts: None: no limit.
        :returns: whether it was written.
        """

        def note_error(retry_state: RetryCallState) -> None:
            self.last_error = f"{name} can't be written: {_error(retry_state)}"
            LOG.error("%s", self.last_error)

        stop: Callable[[RetryCallState], bool] = tenacity.stop_never
        if max_attempts:
            stop = tenacity.stop_after_attempt(max_attempts)
        is_disk_error = tenacity.retry_if_exception_type(OSError)
        retrying = Retrying(retry=is_disk_error, stop=stop, wait=_wait, after=note_error)
        try:
            retrying(write)
        except tenacity.RetryError:
            return False
        self.last_error = ""
        return True


def stop_on_signals() -> None:
    """Make SIGTERM and SIGINT end the process wherever it is: it may be killed anywhere as well.

    :raises Stop: later, in the main thread.
    """

    def stop(number: int, frame: Any) -> None:
        raise Stop

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _wait(retry_state: RetryCallState) -> float:
    """Return the seconds until the next attempt: more each time, and not the same for all relays."""
    growing = tenacity.wait_exponential(multiplier=2 * FIRST_WAIT, max=LONGEST_WAIT)
    return growing(retry_state) * random.uniform(0.5, 1)  # noqa: S311


def _error(retry_state: RetryCallState) -> BaseException | None:
    """Return what an attempt ended with."""
    if retry_state.outcome is None:
        return None
    return retry_state.outcome.exception()

"""Who of a process asks the back end of locks, who waits, and for how long.

A lock must not be a weapon: whoever keeps one busy can make few threads wait, and cost the back end little.
"""

from __future__ import annotations

import logging
import threading
import time

from imagefilter.coordination.backend import Backend, BackendFailed, Lease

LOG = logging.getLogger(__name__)

_FAILURE_SECONDS = 5.0  # for which a back end that failed is not asked again
_PATIENCE = 0.5  # seconds of one call that another thread waits for: longer, and the back end hangs
_LONGEST_QUEUE = 2.0  # seconds that a thread waits for the calls of others
_FIRST_PAUSE = 0.01  # seconds between two attempts; they grow
_LONGEST_PAUSE = 0.1


class Coordinator:
    """Gives out the locks of a back end to the threads of one filter.

    :param seconds: the lease: after that long a lock is free again if it was not released.
    """

    def __init__(self, backend: Backend, seconds: int) -> None:
        self._backend = backend
        self._seconds = seconds
        self._lock = threading.Lock()  # of the next one
        self._own_keys: set[str] = set()  # that a thread of this process holds, or asks for
        self._awaited_key = ""
        self._place = threading.Semaphore(1)  # at most one thread waits, whatever the project
        self._calls = threading.Semaphore(1)  # at most one thread is at a back end that hangs
        self._called_at = 0.0
        self._failed_until = 0.0

    def acquire(self, key: str, wait: float) -> Held | None:
        """Return a lock; None if somebody has it and this thread may not wait, or has waited long enough.

        :param wait: seconds.
        :raises BackendFailed: if the back end does not answer.
        """
        if key == self._awaited_key:
            return None
        held = self._try(key)
        if held or wait <= 0 or not self._place.acquire(blocking=False):
            return held
        self._awaited_key = key
        try:
            return self._wait(key, wait)
        finally:
            self._awaited_key = ""
            self._place.release()

    def _wait(self, key: str, wait: float) -> Held | None:
        """Try again and again: a blocking call would stop the whole process of a server that runs on eventlet."""
        deadline, pause = time.monotonic() + wait, _FIRST_PAUSE
        while time.monotonic() + pause < deadline:
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            held = self._try(key)
            if held:
                return held
        return None

    def _try(self, key: str) -> Held | None:
        """Try once; what a thread of this process has, the back end is not asked for."""
        with self._lock:
            if key in self._own_keys:
                return None
            self._own_keys.add(key)
        lease = None
        try:
            lease = self._ask(key)
        finally:
            if lease is None:
                self.forget(key)
        if lease is None:
            return None
        return Held(self, key, lease)

    def note_failure(self) -> None:
        """Let nobody ask the back end for a while."""
        self._failed_until = time.monotonic() + _FAILURE_SECONDS

    def _ask(self, key: str) -> Lease | None:
        if not self._begin_call():
            return None
        try:
            return self._call(key)
        finally:
            self._calls.release()

    def _call(self, key: str) -> Lease | None:
        if time.monotonic() < self._failed_until:
            raise BackendFailed("it failed a moment ago")
        try:
            return self._backend.acquire(key, self._seconds)
        except BackendFailed:
            self.note_failure()
            raise

    def _begin_call(self) -> bool:
        """Wait while calls of others end; return False if the back end hangs, or is too slow for all of them."""
        deadline = time.monotonic() + _LONGEST_QUEUE
        while not self._calls.acquire(timeout=_FIRST_PAUSE):
            now = time.monotonic()
            if now > deadline or now - self._called_at > _PATIENCE:
                return False
        self._called_at = time.monotonic()
        return True

    def forget(self, key: str) -> None:
        """Let threads of this process ask for a key again."""
        with self._lock:
            self._own_keys.discard(key)


class Held:
    """A lock that a request holds, to be released once."""

    def __init__(self, coordinator: Coordinator, key: str, lease: Lease) -> None:
        self._coordinator = coordinator
        self._key = key
        self._lease = lease

    def release(self) -> bool:
        """Give the lock back; return whether it was held until now, as far as that is known."""
        try:
            is_held = self._lease.release()
        except (BackendFailed, OSError) as error:
            self._coordinator.note_failure()
            LOG.error("a lock could not be released, it runs out: %s", error)
            return True
        finally:
            self._coordinator.forget(self._key)
        if not is_held:
            LOG.error("a lock was lost while a request was forwarded: the limit may be exceeded by one image")
        return is_held

    def abandon(self) -> None:
        """Leave the lock to run out: nobody knows whether the request has an image to come."""
        try:
            self._lease.abandon()
        except OSError as error:
            LOG.error("a lock can't be left to run out: %s", error)
        finally:
            self._coordinator.forget(self._key)

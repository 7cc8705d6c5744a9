"""The locks that one request holds until its response has begun."""

from __future__ import annotations

from imagefilter.coordination.backend import BackendFailed
from imagefilter.coordination.coordinator import Coordinator, Held
from imagefilter.policy.limits import LockKeys
from imagefilter.rules.case import LockState


class RequestLocks:
    """Gets the locks of one request, and gives them back.

    :param patience: how long it may wait for each, in seconds.
    """

    def __init__(self, coordinator: Coordinator | None, patience: float) -> None:
        self.is_lost = False  # one of them, while the request was forwarded: the limit may be exceeded
        self._coordinator = coordinator
        self._patience = patience
        self._held: list[Held] = []

    def acquire(self, keys: LockKeys) -> LockState:
        """Get all of them, or none.

        :raises BackendFailed: if the back end does not answer, or there is none.
        """
        patience_for_server = self._patience
        if not keys.waits_for_server:
            patience_for_server = 0.0
        if not self._acquire(keys.server, patience_for_server):
            return LockState.SERVER_BUSY
        if not self._acquire(keys.project, self._patience):
            self.release()
            return LockState.PROJECT_BUSY
        return LockState.HELD

    def _acquire(self, key: str | None, patience: float) -> bool:
        if key is None:
            return True
        if self._coordinator is None:
            raise BackendFailed("there is no back end of locks")
        try:
            held = self._coordinator.acquire(key, patience)
        except BackendFailed:
            self.release()
            raise
        if held is None:
            return False
        self._held.append(held)
        return True

    def end(self, is_known: bool) -> None:
        """Give them back, once.

        :param is_known: False: nobody knows whether the request has an image to come, so they run out.
        """
        if is_known:
            self.release()
        held, self._held = self._held, []
        for lock in held:
            lock.abandon()

    def release(self) -> None:
        """Give them back."""
        held, self._held = self._held, []
        for lock in reversed(held):
            self.is_lost |= not lock.release()

"""What a back end of locks does."""

from __future__ import annotations

from typing import Protocol


class BackendFailed(Exception):
    """The back end did not answer, or answered nonsense."""


class Lease(Protocol):
    """A lock that is held."""

    def release(self) -> bool:
        """Give the lock back; return whether it was held until now.

        :raises BackendFailed: if that is not known; the lease runs out then.
        """

    def abandon(self) -> None:
        """Leave the lock to run out: what was done under it may still go on."""


class Backend(Protocol):
    """Where locks are kept."""

    def acquire(self, key: str, seconds: int) -> Lease | None:
        """Try to get a lock, without waiting for others; return None if somebody has it.

        :param seconds: after which it is free again if it was not released.
        :raises BackendFailed: if there is no answer.
        """

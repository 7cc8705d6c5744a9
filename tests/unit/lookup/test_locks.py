"""The locks of one request: all of them or none, and each is given back once."""

from __future__ import annotations

from typing import Any

import pytest

from imagefilter.coordination.backend import BackendFailed
from imagefilter.lookup.locks import RequestLocks
from imagefilter.policy.limits import LockKeys
from imagefilter.rules.case import LockState

BOTH = LockKeys("server", "project")


class FakeHeld:
    """A lock; a test says whether it was held until the end."""

    def __init__(self, key: str, log: list[tuple[str, str]], is_held: bool) -> None:
        self._key, self._log, self._is_held = key, log, is_held

    def release(self) -> bool:
        self._log.append(("release", self._key))
        return self._is_held

    def abandon(self) -> None:
        self._log.append(("abandon", self._key))


class FakeCoordinator:
    """Gives out locks; a test says which are busy, which fail and which are lost."""

    def __init__(self, busy: str = "", failing: str = "", lost: str = "") -> None:
        self.log: list[tuple[str, str]] = []
        self.patience: dict[str, float] = {}
        self._busy, self._failing, self._lost = busy, failing, lost

    def acquire(self, key: str, wait: float) -> FakeHeld | None:
        self.patience[key] = wait
        if key == self._failing:
            raise BackendFailed("down")
        if key == self._busy:
            return None
        self.log.append(("acquire", key))
        return FakeHeld(key, self.log, key != self._lost)


def build(coordinator: Any) -> RequestLocks:
    return RequestLocks(coordinator, patience=3.0)


@pytest.mark.parametrize(
    ("keys", "patience"),
    [
        (BOTH, {"server": 3.0, "project": 3.0}),
        (BOTH._replace(waits_for_server=False), {"server": 0.0, "project": 3.0}),
        (LockKeys(server="server"), {"server": 3.0}),
        (LockKeys(project="project"), {"project": 3.0}),
        (LockKeys(), {}),
    ],
)
def test_a_request_waits_for_each_lock_that_it_needs(keys: LockKeys, patience: dict[str, float]) -> None:
    coordinator = FakeCoordinator()
    assert build(coordinator).acquire(keys) is LockState.HELD
    assert coordinator.patience == patience


@pytest.mark.parametrize(
    ("busy", "state", "log"),
    [
        ("server", LockState.SERVER_BUSY, []),
        ("project", LockState.PROJECT_BUSY, [("acquire", "server"), ("release", "server")]),
    ],
)
def test_a_busy_lock_frees_the_others(busy: str, state: LockState, log: list[tuple[str, str]]) -> None:
    coordinator = FakeCoordinator(busy)
    assert build(coordinator).acquire(BOTH) is state
    assert coordinator.log == log


def test_a_back_end_that_fails_frees_the_others() -> None:
    coordinator = FakeCoordinator(failing="project")
    with pytest.raises(BackendFailed, match=r"^down$"):
        build(coordinator).acquire(BOTH)
    assert coordinator.log == [("acquire", "server"), ("release", "server")]


def test_a_lock_needs_a_back_end() -> None:
    locks = build(None)
    assert locks.acquire(LockKeys()) is LockState.HELD
    with pytest.raises(BackendFailed, match=r"^there is no back end of locks$"):
        locks.acquire(BOTH)


@pytest.mark.parametrize(
    ("is_known", "end"),
    [
        (True, [("release", "project"), ("release", "server")]),
        (False, [("abandon", "server"), ("abandon", "project")]),
    ],
)
def test_locks_are_given_back_once(is_known: bool, end: list[tuple[str, str]]) -> None:
    coordinator = FakeCoordinator()
    locks = build(coordinator)
    locks.acquire(BOTH)
    coordinator.log.clear()
    for _ in range(2):
        locks.end(is_known)
        locks.release()
    assert coordinator.log == end
    assert locks.is_lost is False


@pytest.mark.parametrize("lost", ["server", "project"])
def test_one_lost_lock_is_enough(lost: str) -> None:
    locks = build(FakeCoordinator(lost=lost))
    locks.acquire(BOTH)
    locks.end(is_known=True)
    assert locks.is_lost is True

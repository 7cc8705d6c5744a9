"""A lock is no weapon: at most one thread of a process waits, and who is refused costs the back end little."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from imagefilter.coordination import coordinator
from imagefilter.coordination.backend import BackendFailed
from imagefilter.coordination.coordinator import Coordinator, Held
from tests.waiting import wait_until

LEASE = 60


class FakeBackend:
    """A back end that counts how often it is asked.

    :param taken: keys that another process has.
    """

    def __init__(self, *taken: str) -> None:
        self.taken = set(taken)
        self.calls: list[str] = []
        self.fails = False
        self.hangs = threading.Event()
        self.hangs.set()

    def acquire(self, key: str, seconds: int) -> Any:
        self.calls.append(key)
        self.hangs.wait(20)
        if self.fails:
            raise BackendFailed("it is down")
        if key in self.taken:
            return None
        self.taken.add(key)
        return FakeLease(self, key)


class FakeLease:
    def __init__(self, backend: FakeBackend, key: str) -> None:
        self.backend, self.key = backend, key
        self.abandoned = False

    def release(self) -> bool:
        if self.backend.fails:
            raise BackendFailed("it is down")
        held = self.key in self.backend.taken
        self.backend.taken.discard(self.key)
        return held

    def abandon(self) -> None:
        self.abandoned = True


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend("elsewhere")


@pytest.fixture
def locks(backend: FakeBackend) -> Coordinator:
    return Coordinator(backend, LEASE)


def take(locks: Coordinator, key: str, wait: float = 0) -> Held:
    held = locks.acquire(key, wait)
    assert held
    return held


def test_what_this_process_has_is_not_asked_for(backend: FakeBackend, locks: Coordinator) -> None:
    held = take(locks, "a")
    assert [locks.acquire("a", 0) for _ in range(5)] == [None] * 5
    assert backend.calls == ["a"]
    assert held.release()
    take(locks, "a")


def test_one_thread_waits_and_the_others_are_refused_at_once(backend: FakeBackend, locks: Coordinator) -> None:
    waiter = threading.Thread(target=locks.acquire, args=("elsewhere", 1))
    waiter.start()
    wait_until(lambda: len(backend.calls) >= 2)
    began = time.monotonic()
    assert locks.acquire("elsewhere", 10) is None
    before = len(backend.calls)
    assert [locks.acquire("elsewhere", 10) for _ in range(20)] == [None] * 20
    assert time.monotonic() - began < 0.5
    assert len(backend.calls) - before < 20, "who is refused does not ask"
    take(locks, "another project's").release()
    waiter.join()


def test_a_waiting_thread_gets_the_lock(backend: FakeBackend, locks: Coordinator) -> None:
    held = take(locks, "a")
    threading.Timer(0.2, held.release).start()
    began = time.monotonic()
    take(locks, "a", wait=5)
    assert 0.1 < time.monotonic() - began < 2


def test_nobody_waits_longer_than_he_may(backend: FakeBackend, locks: Coordinator) -> None:
    began = time.monotonic()
    assert locks.acquire("elsewhere", 0.3) is None
    assert time.monotonic() - began < 0.6


def test_one_thread_is_at_a_back_end_that_hangs(backend: FakeBackend, locks: Coordinator) -> None:
    backend.hangs.clear()
    hanging = threading.Thread(target=locks.acquire, args=("a", 0))
    hanging.start()
    wait_until(lambda: backend.calls)
    began = time.monotonic()
    assert locks.acquire("b", 0) is None
    assert time.monotonic() - began < 1
    assert backend.calls == ["a"]
    backend.hangs.set()
    hanging.join()
    take(locks, "b")


def test_a_slow_back_end_refuses_nobody(backend: FakeBackend, locks: Coordinator) -> None:
    """As long as its calls end, the threads of other projects wait their turn."""
    acquire = backend.acquire

    def acquire_slowly(key: str, seconds: int) -> Any:
        time.sleep(0.15)
        return acquire(key, seconds)

    backend.acquire = acquire_slowly  # type: ignore[method-assign]
    held = []
    threads = [threading.Thread(target=lambda key=key: held.append(locks.acquire(key, 0))) for key in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(filter(None, held))) == 6


def test_a_lock_is_released_though_the_back_end_failed_a_moment_ago(backend: FakeBackend, locks: Coordinator) -> None:
    """The host's own locks have no lease that would run out."""
    held = take(locks, "a")
    backend.fails = True
    with pytest.raises(BackendFailed):
        locks.acquire("b", 0)
    backend.fails = False
    assert held.release()
    assert "a" not in backend.taken


def test_a_back_end_that_failed_is_left_alone(
    backend: FakeBackend, locks: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.fails = True
    failed_at = time.monotonic()
    for _ in range(5):
        with pytest.raises(BackendFailed):
            locks.acquire("a", 0)
        time.sleep(0.05)
    assert len(backend.calls) == 1
    backend.fails = False
    now = failed_at + coordinator._FAILURE_SECONDS + 0.05  # who was refused meanwhile has not put it off
    monkeypatch.setattr(coordinator.time, "monotonic", lambda: now)
    take(locks, "a")


def test_a_lock_that_can_not_be_released_is_free_for_this_process_again(
    backend: FakeBackend, locks: Coordinator, caplog: pytest.LogCaptureFixture
) -> None:
    held = take(locks, "a")
    backend.fails = True
    assert held.release()
    assert "could not be released, it runs out: it is down" in caplog.text
    with pytest.raises(BackendFailed):
        locks.acquire("a", 0)


def test_a_lock_that_was_lost_is_logged(
    backend: FakeBackend, locks: Coordinator, caplog: pytest.LogCaptureFixture
) -> None:
    held = take(locks, "a")
    backend.taken.clear()
    assert held.release() is False
    assert "a lock was lost" in caplog.text


def test_a_lock_that_is_abandoned_is_left_to_the_back_end(backend: FakeBackend, locks: Coordinator) -> None:
    held = take(locks, "a")
    held.abandon()
    assert locks.acquire("a", 0) is None
    assert backend.calls == ["a", "a"]

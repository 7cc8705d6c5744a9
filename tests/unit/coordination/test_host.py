"""Locks in a file of the host: what its holder left to run out stays locked."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from imagefilter.coordination import host
from imagefilter.coordination.host import HostBackend

KEY = "0" * 32


def test_an_abandoned_lock_is_locked_at_once(tmp_path: Path) -> None:
    backend = HostBackend(f"{tmp_path}/locks")
    for number in range(100):
        key = f"{number:015x}{'0' * 17}"
        lease = backend.acquire(key, 300)
        assert lease
        lease.abandon()
        assert backend.acquire(key, 300) is None


def test_it_stays_locked_while_others_are_abandoned(tmp_path: Path) -> None:
    """The file is written anew for each: a reader must not see it half written."""
    backend = HostBackend(f"{tmp_path}/locks")
    lease = backend.acquire(KEY, 300)
    assert lease
    lease.abandon()

    def abandon_others() -> None:
        for number in range(1, 201):
            other = backend.acquire(f"{number:015x}{'0' * 17}", 300)
            assert other
            other.abandon()

    thread = threading.Thread(target=abandon_others)
    thread.start()
    acquired = 0
    while thread.is_alive():
        acquired += backend.acquire(KEY, 300) is not None
    thread.join()
    assert acquired == 0


def abandon(backend: HostBackend, seconds: int = 300) -> None:
    lease = backend.acquire(KEY, seconds)
    assert lease
    lease.abandon()


def test_a_shorter_lease_frees_none_that_was_abandoned_before(tmp_path: Path) -> None:
    backend = HostBackend(f"{tmp_path}/locks")
    abandon(backend, 300)
    assert backend.acquire(KEY, 1) is None


@pytest.mark.parametrize("step", [-3600, -1, 301])
def test_a_clock_that_is_set_frees_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    backend = HostBackend(f"{tmp_path}/locks")
    abandon(backend)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + step)
    assert backend.acquire(KEY, 300) is None


def test_it_is_free_when_the_lease_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = HostBackend(f"{tmp_path}/locks")
    abandon(backend)
    later = host._now() + 300
    monkeypatch.setattr(host, "_now", lambda: later)
    assert backend.acquire(KEY, 300)


def test_a_start_of_the_host_frees_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = HostBackend(f"{tmp_path}/locks")
    abandon(backend)
    monkeypatch.setattr(host, "_read_boot_id", lambda: "another")
    assert backend.acquire(KEY, 300)


def test_what_is_no_entry_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "locks").write_bytes(b"1 9999999999.000\n\xff\nx y z\n")
    backend = HostBackend(f"{tmp_path}/locks")
    abandon(backend)
    assert backend.acquire(KEY, 300) is None


def test_a_lock_is_lost_if_its_file_is_removed(tmp_path: Path) -> None:
    """The next request makes a new file, and both hold the lock."""
    backend = HostBackend(f"{tmp_path}/locks")
    first = backend.acquire(KEY, 300)
    (tmp_path / "locks").unlink()
    second = backend.acquire(KEY, 300)
    assert first and second  # noqa: PT018
    assert (first.release(), second.release()) == (False, True)

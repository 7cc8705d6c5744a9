"""Locks in a file of the host: what its holder left to run out stays locked."""

from __future__ import annotations

import threading
from pathlib import Path

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

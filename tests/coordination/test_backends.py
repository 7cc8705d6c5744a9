"""What each back end promises: one holder of a key, and nobody who loses it in silence."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import uuid
from typing import Any

import pytest

from imagefilter.coordination.backend import Backend, BackendFailed
from imagefilter.coordination.url import describe, load_backend
from tests.coordination.conftest import TIMEOUT
from tests.coordination.servers import BAD_STATES, serve_bad
from tests.waiting import wait_until

LEASE = 60


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def test_one_holder_of_a_key(backend: Backend, other: Backend, key: str) -> None:
    lease = backend.acquire(key, LEASE)
    assert lease
    assert backend.acquire(key, LEASE) is None, "not even the same one again"
    assert other.acquire(key, LEASE) is None
    assert other.acquire(uuid.uuid4().hex, LEASE), "another key is free"
    assert lease.release()
    assert other.acquire(key, LEASE)


def test_a_refused_attempt_loses_nothing(backend: Backend, other: Backend, key: str) -> None:
    """tooz's file driver loses a lock when another thread's refused attempt is closed."""
    lease = backend.acquire(key, LEASE)
    for _ in range(5):
        assert backend.acquire(key, LEASE) is None
    assert other.acquire(key, LEASE) is None
    assert lease
    assert lease.release()


def test_a_lease_that_was_abandoned_runs_out(backend: Backend, other: Backend, key: str) -> None:
    lease = backend.acquire(key, 2)
    assert lease
    lease.abandon()
    assert other.acquire(key, 2) is None
    assert backend.acquire(key, 2) is None
    wait_until(lambda: other.acquire(key, 2) is not None, 10)


def test_threads_count_exactly(url: str, key: str) -> None:
    counter = Counter()
    threads = [threading.Thread(target=counter.add, args=(url, key, 20)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (counter.count, counter.most) == (160, 1)


class Counter:
    """Counts who is inside of the lock."""

    def __init__(self) -> None:
        self.count = self.inside = self.most = 0

    def add(self, url: str, key: str, times: int) -> None:
        backend = load_backend(url, TIMEOUT)
        while times:
            lease = backend.acquire(key, LEASE)
            if lease is None:
                time.sleep(0.001)
                continue
            self.inside += 1
            self.most = max(self.most, self.inside)
            before = self.count
            time.sleep(0.0005)
            self.count = before + 1
            self.inside -= 1
            assert lease.release()
            times -= 1


def test_a_process_that_was_killed(url: str, backend: Backend, key: str) -> None:
    """The host's own lock is free at once, the others when their lease has run out."""
    context = multiprocessing.get_context("fork")
    is_held = context.Event()
    child = context.Process(target=hold, args=(url, key, 2, is_held))
    child.start()
    assert is_held.wait(10)
    assert backend.acquire(key, LEASE) is None
    assert child.pid
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    if url.startswith("file:"):
        assert backend.acquire(key, LEASE)
    else:
        assert backend.acquire(key, LEASE) is None
        wait_until(lambda: backend.acquire(key, LEASE) is not None, 10)


def hold(url: str, key: str, seconds: int, is_held: Any) -> None:
    assert load_backend(url, TIMEOUT).acquire(key, seconds)
    is_held.set()
    signal.pause()


def test_a_child_shares_no_connection(backend: Backend, key: str) -> None:
    """A back end is used before a fork and after it, at the same time."""
    first = backend.acquire(key, LEASE)
    assert first
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=try_often, args=(backend, results)) for _ in range(3)]
    for child in children:
        child.start()
    for _ in range(50):
        assert backend.acquire(key, LEASE) is None
    assert [results.get(timeout=20) for _ in children] == [50] * 3
    for child in children:
        child.join()
    assert first.release()


def try_often(backend: Backend, results: Any) -> None:
    done = 0
    for _ in range(50):
        lease = backend.acquire(uuid.uuid4().hex, LEASE)
        done += bool(lease and lease.release())
    results.put(done)


def test_a_lock_that_was_lost_is_told(url: str, backend: Backend, other: Backend, key: str) -> None:
    if url.startswith("file:"):
        pytest.skip("the kernel loses none")
    lease = backend.acquire(key, 1)
    assert lease
    taken = []

    def take() -> bool:
        taken.append(other.acquire(key, LEASE))
        return taken[-1] is not None

    wait_until(take, 10)
    assert lease.release() is False
    assert backend.acquire(key, LEASE) is None, "the other one's is untouched"
    assert taken[-1].release()


@pytest.mark.parametrize("scheme", ["redis", "etcd3+http"])
@pytest.mark.parametrize("state", BAD_STATES)
def test_no_state_of_a_back_end_takes_longer_than_it_may(scheme: str, state: str) -> None:
    with serve_bad(state) as port:
        backend = load_backend(f"{scheme}://127.0.0.1:{port}", 1.0)
        began = time.monotonic()
        with pytest.raises(BackendFailed):
            backend.acquire("0" * 32, LEASE)
        assert time.monotonic() - began < 1.5


def test_a_directory_that_is_gone(tmp_path: Any) -> None:
    backend = load_backend(f"file://{tmp_path}/none/locks", TIMEOUT)
    with pytest.raises(BackendFailed, match="No such file"):
        backend.acquire("0" * 32, LEASE)


def test_a_file_that_was_removed_excludes_again(tmp_path: Any) -> None:
    path = tmp_path / "locks"
    backend = load_backend(f"file://{path}", TIMEOUT)
    assert backend.acquire("1" * 32, LEASE)
    path.unlink()
    lease = backend.acquire("0" * 32, LEASE)
    assert lease
    assert load_backend(f"file://{path}", TIMEOUT).acquire("0" * 32, LEASE) is None


def test_a_symbolic_link_is_not_followed(tmp_path: Any) -> None:
    (tmp_path / "locks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackendFailed):
        load_backend(f"file://{tmp_path}/locks", TIMEOUT).acquire("0" * 32, LEASE)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("zookeeper://host", "its scheme is none of"),
        ("", "its scheme is none of"),
        ("file://host/locks", "must be file:///"),
        ("file:///", "must be file:///"),
        ("file:///var/lib/", "must be file:///"),
        ("redis://", "names no host"),
        ("redis://user:s3cr3t@host:port", "not a URL"),
        ("redis://user:s3cr3t@host?sentinel=master", "Sentinel"),
        ("redis://user:s3cr3t@host?socket_timeout=many", "redis-py can't read it"),
        ("etcd3+http://user:s3cr3t@host?tls=yes", "unknown option tls"),
        ("etcd3+https://host?cert_cert=x", "belong together"),
    ],
)
def test_a_url_that_names_no_back_end(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        load_backend(url, TIMEOUT)
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("file:///var/log/imagefilter/locks", "file:///var/log/imagefilter/locks"),
        ("redis://user:s3cr3t@host", "redis://host:6379"),
        ("etcd3+https://host:1?ca_cert=/x", "etcd3+https://host:1"),
    ],
)
def test_how_a_url_is_shown(url: str, shown: str) -> None:
    assert describe(url) == shown

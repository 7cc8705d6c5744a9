"""What limits do while gateways are killed, and while back ends of locks restart or lose all."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.coordination.servers import KINDS, Server, serve
from tests.gateway.client import Response
from tests.gateway.nova import ServedNova, serve_wsgi
from tests.gateway.servers import Gateway
from tests.limits.glance import Glance
from tests.limits.storm import PROCESSES, USERS, Storm, boot_servers, serve_gateways
from tests.waiting import wait_until

LEASE = 4  # seconds
LONG_LEASE = 30  # longer than the slowest response of a Nova that has a storm to answer


class HeldNova(ServedNova):
    """A Nova that keeps image actions waiting until it is told to go on."""

    arrived: threading.Semaphore
    go_on: threading.Event


@pytest.fixture
def held_nova(nova: ServedNova) -> Iterator[HeldNova]:
    arrived, go_on = threading.Semaphore(0), threading.Event()

    def app(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"].endswith("/action"):
            arrived.release()
            assert go_on.wait(60)
        return nova.cloud.bare(environ, start_response)

    with serve_wsgi(app) as port:
        held = HeldNova(nova.cloud, port)
        held.arrived, held.go_on = arrived, go_on
        yield held
        go_on.set()


@contextlib.contextmanager
def urls(kind: str, folder: Path, count: int) -> Iterator[list[str]]:
    """Run a back end of locks; yield its URL for each gateway."""
    if kind == "host":
        yield [f"file://{folder}/locks"] * count
        return
    with serve(kind, folder) as server:
        yield [server.url] * count


def ask(gateway: Gateway, glance: Glance, user: str, server: str) -> Response:
    headers = {"X-Auth-Token": glance.keystone.cached_token(user)}
    document = {"createImage": {"name": f"{server}/0"}}
    return gateway.send_request("POST", f"/v2.1/servers/{server}/action", document, headers)


@contextlib.contextmanager
def request_in_flight(gateway: Gateway, glance: Glance, nova: HeldNova) -> Iterator[list[Response]]:
    """Let a request of alice's hold its lock while the block runs; yield where its response will be."""
    responses: list[Response] = []

    def send() -> None:
        with contextlib.suppress(OSError):  # its gateway may be killed
            responses.append(ask(gateway, glance, "alice", nova.cloud.server))

    client = threading.Thread(target=send)
    client.start()
    assert nova.arrived.acquire(timeout=60)
    try:
        yield responses
    finally:
        nova.go_on.set()
        client.join()


@pytest.mark.parametrize("kind", KINDS)
def test_a_gateway_that_is_killed_with_a_lock(held_nova: HeldNova, glance: Glance, kind: str, tmp_path: Path) -> None:
    """The kernel frees its own locks at once; those of a server run out, and until then nobody gets past them."""
    options = {"snapshots_per_server": "1", "lock_lease": str(LEASE), "lock_wait": "0"}
    with urls(kind, tmp_path, 2) as both, serve_gateways(held_nova, glance, both, **options) as (first, second):
        with request_in_flight(first, glance, held_nova):
            os.killpg(first.process.pid, signal.SIGKILL)
            killed_at = time.monotonic()
            if kind != "host":
                assert ask(second, glance, "alice", held_nova.cloud.server).status == 429
        # Nova has not noticed, and made the image: whoever gets the lock next counts it.
        wait_until(glance.snapshots, 20)
        responses: list[int] = []

        def ask_again() -> bool:
            responses.append(ask(second, glance, "alice", held_nova.cloud.server).status)
            return responses[-1] != 429

        wait_until(ask_again, LEASE + 20, interval=0.1)
        print(f"{kind}: free again after {time.monotonic() - killed_at:.1f} s")
        assert responses[-1] == 403
        assert len(glance.snapshots()) == 1


@pytest.mark.parametrize("kind", ["redis", "etcd"])
def test_a_lock_that_is_lost_is_logged_and_recorded(
    held_nova: HeldNova, glance: Glance, kind: str, tmp_path: Path
) -> None:
    """The back end restarts without its data while a request is in flight."""
    with serve(kind, tmp_path) as server, serve_gateways(held_nova, glance, [server.url]) as (gateway,):
        with request_in_flight(gateway, glance, held_nova) as responses:
            server.stop()
            _forget_all(tmp_path)
            server.start()
        [response] = responses
        assert response.status == 202
        assert gateway.wait_for_outcome(response)["attachments"][0]["content"]["lost_lock"] is True
        assert "a lock was lost while a request was forwarded" in gateway.log.read_text()


def _forget_all(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "log":
            entry.unlink()


@pytest.mark.parametrize("kind", ["redis", "etcd"])
def test_a_back_end_that_restarts_under_load(nova: ServedNova, glance: Glance, kind: str, tmp_path: Path) -> None:
    """etcd keeps its locks: no limit is exceeded. With either, no project stays locked longer than the lease."""
    servers = boot_servers(nova)
    with serve(kind, tmp_path) as server, contextlib.ExitStack() as stack:
        gateways = stack.enter_context(
            serve_gateways(nova, glance, [server.url] * PROCESSES, lock_lease=str(LONG_LEASE), api_timeout="5")
        )
        with restart(server, after=3):
            report = Storm(nova, glance, gateways, seed=time.time_ns()).run(servers)
        lost = [record for gateway in gateways for record in gateway.records("activity") if _lost_lock(record)]
        print(kind, report, f"locks that were lost: {len(lost)}")
        assert report.wrong_refusals == []
        if kind == "etcd":
            assert not report.exceeded, report
        began = time.monotonic()
        for user in USERS:
            own = next(server.id for server in servers if server.user == user)
            wait_until(lambda: ask(gateways[0], glance, user, own).status in (202, 403), LONG_LEASE + 20)  # noqa: B023
        print(f"all projects are free again after {time.monotonic() - began:.1f} s")
        assert set(report.responses) & {"image 202", "backup 202"}


def _lost_lock(record: dict[str, Any]) -> bool:
    return bool(record["attachments"][0]["content"].get("lost_lock"))


@contextlib.contextmanager
def restart(server: Server, after: float) -> Iterator[None]:
    """Kill a back end some seconds after the block has begun, and start it again."""

    def act() -> None:
        time.sleep(after)
        server.stop()
        time.sleep(0.5)
        server.start()

    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join()


def test_a_tenant_who_floods_holds_up_nobody_else(held_nova: HeldNova, glance: Glance, tmp_path: Path) -> None:
    """Two API processes of one thread: one is busy with the request that Nova works on, as it would be without us."""
    locks = [f"file://{tmp_path}/locks"] * 2
    with contextlib.ExitStack() as stack:
        gateways = serve_gateways(held_nova, glance, locks, threads=1, lock_wait="0")
        first, second = stack.enter_context(gateways)
        stack.enter_context(request_in_flight(first, glance, held_nova))
        statuses: list[int] = []

        def flood() -> None:
            statuses.append(ask(second, glance, "alice", held_nova.cloud.server).status)

        clients = [threading.Thread(target=flood) for _ in range(39)]
        for client in clients:
            client.start()
        headers = {"X-Auth-Token": glance.keystone.cached_token("bob")}
        assert second.send_request("GET", "/v2.1/servers", None, headers).status == 200
        for client in clients:
            client.join()
        assert statuses == [429] * 39, "each was answered while the first one still held the lock"


def test_a_stranger_locks_nobody(held_nova: HeldNova, glance: Glance, tmp_path: Path) -> None:
    with serve_gateways(held_nova, glance, [f"file://{tmp_path}/locks"], lock_wait="0") as (gateway,):
        held_nova.go_on.set()
        path = f"/v2.1/servers/{held_nova.cloud.server}/action"
        statuses: list[int] = []

        def knock() -> None:
            for _ in range(5):
                headers = {"X-Auth-Token": "junk"}
                document = {"createImage": {"name": "x"}}
                statuses.append(gateway.send_request("POST", path, document, headers).status)

        clients = [threading.Thread(target=knock) for _ in range(8)]
        for client in clients:
            client.start()
        assert ask(gateway, glance, "alice", held_nova.cloud.server).status == 202
        for client in clients:
            client.join()
        assert statuses == [401] * 40

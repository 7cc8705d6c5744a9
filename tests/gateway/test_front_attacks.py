"""One client against all others: what another tenant sees while somebody attacks the shipped fronts.

The policy switches snapshots off, so a createImage that was judged is a 400 of the gateway's own. Anything else that
the other tenant sees is the attacker's work: a 5xx, or a 202 of an image that nobody judged.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Callable

import pytest

from tests.cases import image
from tests.gateway.client import PATIENCE
from tests.gateway.front import Front, serve_front
from tests.gateway.servers import GatewayFactory
from tests.gateway.upstream import ReceivedRequest, Upstream, build_response

SWITCHED_OFF = {"snapshots_enabled": "false"}
ACTION = "/v2.1/servers/11111111-2222-4333-8444-555555555555/action"
THREADS = 16  # of each gateway, as shipped for one worker

Attack = Callable[[], object]


@pytest.fixture
def front(
    kind: str,
    server: str,
    upstream: Upstream,
    keystone: Any,
    memcached: dict[str, str],
    gateways: GatewayFactory,
) -> Iterator[Front]:
    """A front that stays open for what can't name an image action, and two gateways with auth_token."""
    ports = []
    for number in range(2):
        gateway = gateways(
            server=server,
            compute_url=upstream.url,
            options=SWITCHED_OFF,
            authtoken={**keystone.authtoken(), **memcached},
            threads=THREADS + number,  # two gateways, not one twice
        )
        ports.append(gateway.port)
    with serve_front(kind, upstream.port, ports, half_open=True) as front:
        yield front


@contextlib.contextmanager
def repeated(attacks: Sequence[Attack]) -> Iterator[None]:
    """Run attacks again and again, each in a thread of its own."""
    is_over = threading.Event()

    def repeat(attack: Attack) -> None:
        while not is_over.is_set():
            with contextlib.suppress(OSError):
                attack()

    threads = [threading.Thread(target=repeat, args=(attack,), daemon=True) for attack in attacks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join(PATIENCE)


def ask_as_another_tenant(front: Front, token: str, count: int) -> list[str]:
    """Return the responses to a tenant's requests for an image."""
    responses = [front.send_request("POST", ACTION, image("x"), {"X-Auth-Token": token}) for _ in range(count)]
    return [f"{response.status} {response.body.decode()}" for response in responses]


def assert_unharmed(front: Front, upstream: Upstream, responses: Sequence[str]) -> None:
    """Assert that each of the other tenant's requests was judged, and that no front has given up a gateway."""
    assert [text for text in responses if not text.startswith('400 {"badRequest"')] == []
    assert not any(b"createImage" in request.body for request in upstream.requests), "an image that nobody judged"
    if front.kind == "haproxy":
        states = front.haproxy_servers()
        # "UP 1/3" is up as well: one check of a busy machine may have come late.
        assert states["imagefilter/gateway1"].startswith("UP")
        assert states["imagefilter/gateway2"].startswith("UP")
    else:
        log = (front.folder / "error.log").read_text()
        assert "temporarily disabled" not in log
        assert "while sending request to upstream" not in log


# --- answers before the body is read


@pytest.mark.parametrize("sent", ["", "junk", "expired"])
def test_early_answers(front: Front, upstream: Upstream, keystone: Any, sent: str) -> None:
    """A 401 or a 413 while the front still writes must not pass for a failure of the gateway."""
    token = keystone.token("bob")
    if sent == "expired":
        sent = keystone.expired_token()
    headers = [f"X-Auth-Token: {sent}"] * bool(sent)
    sizes = [1024, 20_000, 60_000, 114_688, 200_000, 1 << 20]

    def attack(size: int, path: str) -> None:
        head = "\r\n".join(
            [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {size}", *headers]
        )
        with front.connect() as connection:
            connection.settimeout(10)
            connection.sendall(head.encode() + b"\r\n\r\n" + b"x" * size)
            connection.recv(100)

    attacks = [lambda size=size, path=path: attack(size, path) for size in sizes for path in (ACTION, "/healthcheck")]
    with repeated(attacks):
        responses = ask_as_another_tenant(front, token, 30)
    assert_unharmed(front, upstream, responses)


# --- clients that hold what others need


@pytest.mark.parametrize("at_once", [17_000, 99_000])
def test_slow_bodies(front: Front, upstream: Upstream, keystone: Any, at_once: int) -> None:
    """80 connections, more than both gateways have threads, each with a body that does not end."""
    token = keystone.token("bob")
    lines = [f"POST {ACTION} HTTP/1.1", "Host: x", f"X-Auth-Token: {keystone.token('alice')}", "Content-Length: 100000"]
    start = "\r\n".join(lines).encode() + b"\r\n\r\n" + b" " * at_once
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(front.connect()) for _ in range(80)]
        for connection in held:
            connection.sendall(start)
        responses = []
        for _ in range(6):
            responses += ask_as_another_tenant(front, token, 2)
            time.sleep(0.5)
            for connection in held:
                with contextlib.suppress(OSError):  # its time may be over
                    connection.sendall(b" ")
    assert_unharmed(front, upstream, responses)


def test_readers_on_a_slow_compute_api(front: Front, upstream: Upstream, keystone: Any) -> None:
    """Reads go straight to Nova, past the gateways: that Nova is busy says nothing of them."""
    token = keystone.token("bob")
    slots = threading.Semaphore(4)

    def respond_slowly(request: ReceivedRequest, connection: socket.socket) -> bool:
        with slots:
            time.sleep(0.25)
        connection.sendall(build_response("200 OK", b"{}"))
        return True

    upstream.respond(respond_slowly)  # to the 80th reader after 5 s
    with repeated([lambda: front.send_request("GET", "/v2.1/servers/detail")] * 80):
        responses = []
        for _ in range(8):
            responses += ask_as_another_tenant(front, token, 2)
            time.sleep(1)
    assert_unharmed(front, upstream, responses)

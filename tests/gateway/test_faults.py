"""A compute API that fails, and servers that are ended: each request gets a response, and nothing runs twice."""

from __future__ import annotations

import collections
import contextlib
import http.client
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cases import image
from tests.gateway.client import PATIENCE, Response, find_free_port, send_request
from tests.gateway.servers import Gateway, GatewayFactory, serve_gateway
from tests.gateway.upstream import ReceivedRequest, Upstream, build_response
from tests.waiting import wait_until

SERVER = "11111111-2222-4333-8444-555555555555"
ACTION = f"/v2.1/servers/{SERVER}/action"
SHORT_TIMEOUTS = {"connect_timeout": "0.5", "read_timeout": "0.5"}
REQUESTS = [("GET", None), ("POST", image())]


@pytest.fixture
def impatient_gateway(server: str, upstream: Upstream, gateways: GatewayFactory) -> Gateway:
    """A gateway under each server that waits half a second for the compute API."""
    return gateways(server=server, compute_url=upstream.url, settings=SHORT_TIMEOUTS)


class Load:
    """Clients that ask a gateway for images and reads, each one request after the other.

    ``statuses`` counts the responses, and the exceptions of requests that got none.
    """

    def __init__(self, port: int) -> None:
        self.statuses: collections.Counter[Any] = collections.Counter()
        self._port = port
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._actions = 0
        self._threads = [threading.Thread(target=self._read) for _ in range(3)]
        self._threads += [threading.Thread(target=self._make_images) for _ in range(3)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, status: int, count: int = 1) -> None:
        """Wait until there were so many more responses with a status."""
        wanted = self.statuses[status] + count
        wait_until(lambda: self.statuses[status] >= wanted, PATIENCE)

    def _read(self) -> None:
        while not self._is_over.is_set():
            self._send("GET", None)

    def _make_images(self) -> None:
        while not self._is_over.is_set():
            with self._lock:
                self._actions += 1
                name = f"image-{self._actions}"
            self._send("POST", image(name))

    def _send(self, method: str, document: Any) -> None:
        try:
            outcome: Any = send_request(self._port, method, ACTION, document).status
        except (OSError, http.client.HTTPException) as error:
            outcome = type(error).__name__
        with self._lock:
            self.statuses[outcome] += 1


def count_bodies(*upstreams: Upstream) -> collections.Counter[bytes]:
    """Return how often each body arrived at compute APIs."""
    bodies: collections.Counter[bytes] = collections.Counter()
    for upstream in upstreams:
        bodies.update(request.body for request in upstream.requests if request.body)
    return bodies


# --- one request


@pytest.fixture(scope="module")
def down_url() -> str:
    """The URL of a compute API that is down."""
    return f"http://127.0.0.1:{find_free_port()}"


@pytest.mark.parametrize(("method", "document"), REQUESTS, ids=["GET", "POST"])
def test_compute_api_that_is_down_is_a_503(
    method: str, document: Any, server: str, down_url: str, gateways: GatewayFactory
) -> None:
    gateway = gateways(server=server, compute_url=down_url, settings=SHORT_TIMEOUTS)
    response = gateway.send_request(method, ACTION, document)
    fault = {"serviceUnavailable": {"message": "The compute API could not be reached.", "code": 503}}
    assert (response.status, response.json) == (503, fault)
    assert response.header("OpenStack-API-Version") == "compute 2.1"
    assert (response.header("X-Openstack-Request-Id") or "").startswith("req-")


def test_503_is_recorded_and_fails_the_health_check(server: str, down_url: str, gateways: GatewayFactory) -> None:
    gateway = gateways(server=server, compute_url=down_url, settings=SHORT_TIMEOUTS)
    assert gateway.send_request("GET", "/healthcheck").status == 503
    outcome = gateway.wait_for_outcome(gateway.send_request("POST", ACTION, image()))
    assert outcome["attachments"][0]["content"]["status"] == 503


def test_host_without_an_address_is_a_503(gateways: GatewayFactory) -> None:
    gateway = gateways(server="gunicorn", compute_url="http://compute.invalid:8774", settings=SHORT_TIMEOUTS)
    assert gateway.send_request("GET", "/v2.1").status == 503


def test_compute_api_that_is_too_slow_is_a_504(impatient_gateway: Gateway, upstream: Upstream) -> None:
    is_over = threading.Event()

    def never_respond(request: ReceivedRequest, connection: socket.socket) -> bool:
        is_over.wait(PATIENCE)
        return False

    upstream.respond(never_respond)
    for method, document in REQUESTS:
        response = impatient_gateway.send_request(method, ACTION, document)
        fault = {"computeFault": {"message": "The compute API did not respond in time.", "code": 504}}
        assert (response.status, response.json) == (504, fault)
    is_over.set()
    assert len(upstream.requests) == 2  # none was sent again


def test_response_that_stops_is_not_a_short_response(impatient_gateway: Gateway, upstream: Upstream) -> None:
    is_over = threading.Event()

    def send_half(request: ReceivedRequest, connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        is_over.wait(PATIENCE)
        return False

    upstream.respond(send_half)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        impatient_gateway.send_request("GET", "/v2.1")
    is_over.set()


def test_timeout_is_between_two_bytes(impatient_gateway: Gateway, upstream: Upstream) -> None:
    def send_slowly(request: ReceivedRequest, connection: socket.socket) -> bool:
        for byte in build_response("200 OK", b"x"):
            connection.sendall(bytes([byte]))
            time.sleep(0.02)
        return True

    upstream.respond(send_slowly)
    assert impatient_gateway.send_request("GET", "/v2.1").body == b"x"


# --- under load


def test_every_request_gets_a_response_from_a_failing_compute_api(gateway: Gateway, upstream: Upstream) -> None:
    """One in ten each gets a 5xx, no response, or half of one: clients get a status, and each image is made once."""
    dice = random.Random(7)
    half = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha"
    accepted, failed = build_response("202 Accepted", b"{}"), build_response("500 Internal Server Error", b"{}")

    def fail_sometimes(request: ReceivedRequest, connection: socket.socket) -> bool:
        response, keep_open = dice.choices(
            [(failed, True), (b"", False), (half, False), (accepted, True)], weights=[1, 1, 1, 7]
        )[0]
        connection.sendall(response)
        return keep_open

    upstream.respond(fail_sometimes)
    with Load(gateway.port) as load:
        wait_until(lambda: sum(load.statuses.values()) >= 500, PATIENCE)
    upstream.respond(build_response("202 Accepted"))
    assert gateway.send_request("POST", ACTION, image("last")).status == 202
    assert set(load.statuses) == {202, 500, 502}, load.statuses
    assert max(count_bodies(upstream).values()) == 1


def test_compute_api_that_is_restarted_under_load(server: str) -> None:
    port = find_free_port()
    first = Upstream(build_response("202 Accepted"), port=port)
    with serve_gateway(server, first.url) as gateway, Load(gateway.port) as load:
        load.wait_for(202, 50)
        first.close()
        load.wait_for(503, 50)
        with restart_upstream(port) as second:
            load.wait_for(202, 50)
            load.stop()
            assert gateway.send_request("POST", ACTION, image("last")).status == 202
    # 502: it got the request, and went away before it responded.
    assert {202, 503} <= set(load.statuses) <= {202, 502, 503}, load.statuses
    assert len(second.requests) > 2
    assert max(count_bodies(first, second).values()) == 1


@contextlib.contextmanager
def restart_upstream(port: int) -> Iterator[Upstream]:
    """Run another compute API on the port of one that was closed."""
    started: list[Upstream] = []

    def start() -> bool:
        with contextlib.suppress(OSError):  # the port is still in use
            started.append(Upstream(build_response("202 Accepted"), port=port))
        return bool(started)

    wait_until(start)
    with started[0] as upstream:
        yield upstream


# --- servers that are ended

# granian has exited as soon as the responses are sent, which may be before their outcomes are recorded.
OUTCOMES_RECORDED = {"gunicorn": 4, "granian": 0}


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_lets_requests_end(server: str, workers: int) -> None:
    """Requests that were sent get their responses, then the server exits."""
    received, is_over = threading.Semaphore(0), threading.Event()

    def respond_at_the_end(request: ReceivedRequest, connection: socket.socket) -> bool:
        if not request.is_health_check:
            received.release()
            is_over.wait(PATIENCE)
        connection.sendall(build_response("202 Accepted", b"whole"))
        return True

    responses: list[Response] = []
    with Upstream(respond_at_the_end) as upstream, serve_gateway(server, upstream.url, workers=workers) as gateway:
        clients = [
            threading.Thread(target=lambda: responses.append(gateway.send_request("POST", ACTION, image())))
            for _ in range(4)
        ]
        for client in clients:
            client.start()
        for _ in clients:
            assert received.acquire(timeout=PATIENCE)
        gateway.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)  # the server ends meanwhile, with four requests in it
        is_over.set()
        for client in clients:
            client.join(PATIENCE)
        assert gateway.process.wait(PATIENCE) == 0
        assert [(response.status, response.body) for response in responses] == [(202, b"whole")] * 4
        assert len(gateway.records("control")) == 4
        assert len(gateway.records("activity")) >= OUTCOMES_RECORDED[server]


def test_worker_that_is_killed_is_replaced(server: str) -> None:
    with Upstream(build_response("202 Accepted")) as upstream:
        with serve_gateway(server, upstream.url, workers=2) as gateway:
            with Load(gateway.port) as load:
                load.wait_for(202, 50)
                killed = gateway.workers()[-1]
                os.kill(killed, signal.SIGKILL)
                wait_until(lambda: len(set(gateway.workers()) - {killed}) == 2, PATIENCE)
                load.wait_for(202, 50)
            assert gateway.send_request("POST", ACTION, image("last")).status == 202
        assert load.statuses[202] > 10, load.statuses
        assert max(count_bodies(upstream).values()) == 1

"""A compute API that fails, and servers that are ended: each request gets an answer, and nothing runs twice."""

from __future__ import annotations

import collections
import http.client
import itertools
import os
import random
import signal
import socket
import threading
import time
from typing import Any

import pytest

from tests.cases import image
from tests.gateway.servers import PATIENCE, Asked, Gateway, Upstream, answer, ask, free_port, serve_gateway

SERVER = "11111111-2222-4333-8444-555555555555"
ACTION = f"/v2.1/servers/{SERVER}/action"
QUICK = {"connect_timeout": "0.5", "read_timeout": "0.5"}


def load(port: int, over: threading.Event, seconds: float = 4.0, clients: int = 6) -> collections.Counter[Any]:
    """Ask from several clients until it is over; count statuses, and exceptions for what got no answer."""
    seen: collections.Counter[Any] = collections.Counter()
    until = time.monotonic() + seconds
    names = (f"image-{number}" for number in itertools.count())

    def client(number: int) -> None:
        while not over.is_set() and time.monotonic() < until:
            try:
                action = number % 2
                seen[ask(port, "POST" if action else "GET", ACTION, image(next(names)) if action else None).status] += 1
            except (OSError, http.client.HTTPException) as error:
                seen[type(error).__name__] += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def bodies_of(upstream: Upstream) -> collections.Counter[bytes]:
    return collections.Counter(asked.body for asked in upstream.asked if asked.body)


# --- one request


def test_a_compute_api_that_is_down(server: str) -> None:
    with serve_gateway(server, f"http://127.0.0.1:{free_port()}", settings=QUICK) as gateway:
        for method, document in (("GET", None), ("POST", image())):
            response = gateway.ask(method, ACTION, document)
            fault = {"serviceUnavailable": {"message": "The compute API can not be reached.", "code": 503}}
            assert (response.status, response.json) == (503, fault)
            assert response.header("OpenStack-API-Version") == "compute 2.1"
            assert (response.header("X-Openstack-Request-Id") or "").startswith("req-")
        assert gateway.ask("GET", "/healthcheck").status == 503
        assert gateway.outcomes(1)[0]["attachments"][0]["content"]["status"] == 503


def test_a_host_that_has_no_address() -> None:
    with serve_gateway("gunicorn", "http://compute.invalid:8774", settings=QUICK) as gateway:
        assert gateway.ask("GET", "/v2.1").status == 503


def test_a_compute_api_that_is_too_slow(server: str) -> None:
    over = threading.Event()

    def never(asked: Asked, peer: socket.socket) -> bool:
        over.wait(PATIENCE)
        return False

    with Upstream(never) as upstream, serve_gateway(server, upstream.url, settings=QUICK) as gateway:
        for method, document in (("GET", None), ("POST", image())):
            response = gateway.ask(method, ACTION, document)
            fault = {"computeFault": {"message": "The compute API did not answer in time.", "code": 504}}
            assert (response.status, response.json) == (504, fault)
        over.set()
        assert len(upstream.asked) == 2  # none was sent again


def test_an_answer_that_stops_is_no_short_answer(server: str) -> None:
    over = threading.Event()

    def half(asked: Asked, peer: socket.socket) -> bool:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        over.wait(PATIENCE)
        return False

    with Upstream(half) as upstream, serve_gateway(server, upstream.url, settings=QUICK) as gateway:
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            gateway.ask("GET", "/v2.1")
        over.set()


def test_slow_headers_are_waited_for_byte_by_byte(server: str) -> None:
    """The time-out is for the time between two bytes."""

    def slowly(asked: Asked, peer: socket.socket) -> bool:
        for byte in answer("200 OK", b"x"):
            peer.sendall(bytes([byte]))
            time.sleep(0.02)
        return True

    with Upstream(slowly) as upstream, serve_gateway(server, upstream.url, settings=QUICK) as gateway:
        assert gateway.ask("GET", "/v2.1").body == b"x"


# --- under load


def test_one_in_ten_of_each_failure(server: str) -> None:
    """5xx, resets before the answer, half answers: whoever asks gets an answer, and each image is asked for once."""
    dice = random.Random(7)

    def sick(asked: Asked, peer: socket.socket) -> bool:
        fate = dice.random()
        if fate < 0.1:
            peer.sendall(answer("500 Internal Server Error", b"{}"))
        elif fate < 0.2:
            return False
        elif fate < 0.3:
            peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha")
            return False
        else:
            peer.sendall(answer("202 Accepted", b"{}"))
        return True

    with Upstream(sick) as upstream, serve_gateway(server, upstream.url) as gateway:
        seen = load(gateway.port, threading.Event())
        upstream.answer(answer("202 Accepted"))
        assert gateway.ask("POST", ACTION, image("last")).status == 202
    assert set(seen) == {202, 500, 502}, seen
    assert max(bodies_of(upstream).values()) == 1


def test_a_compute_api_that_is_restarted_under_load(server: str) -> None:
    port = free_port()
    first = Upstream(answer("202 Accepted"), port=port)
    over = threading.Event()
    with serve_gateway(server, first.url) as gateway:
        seen: list[collections.Counter[Any]] = []
        loading = threading.Thread(target=lambda: seen.append(load(gateway.port, over, PATIENCE)))
        loading.start()
        time.sleep(1)
        first.close()
        time.sleep(1)
        with again(port) as second:
            time.sleep(1.5)
            over.set()
            loading.join()
            assert gateway.ask("POST", ACTION, image("last")).status == 202
    # 502: it was asked, and went away before it answered.
    assert {202, 503} <= set(seen[0]) <= {202, 502, 503}, seen
    assert len(second.asked) > 2
    assert max((bodies_of(first) + bodies_of(second)).values()) == 1


def again(port: int) -> Upstream:
    for _ in range(100):
        try:
            return Upstream(answer("202 Accepted"), port=port)
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the port does not get free")


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_drains(server: str, workers: int) -> None:
    """What was asked is answered, then the server is gone."""
    begun, over = threading.Semaphore(0), threading.Event()

    def slowly(asked: Asked, peer: socket.socket) -> bool:
        if not asked.is_health_check:
            begun.release()
            over.wait(PATIENCE)
        peer.sendall(answer("202 Accepted", b"whole"))
        return True

    answers: list[Any] = []
    with Upstream(slowly) as upstream, serve_gateway(server, upstream.url, workers=workers) as gateway:
        clients = [
            threading.Thread(target=lambda: answers.append(ask(gateway.port, "POST", ACTION, image())))
            for _ in range(4)
        ]
        for client in clients:
            client.start()
        for _ in clients:
            assert begun.acquire(timeout=PATIENCE)
        gateway.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        over.set()
        for client in clients:
            client.join(PATIENCE)
        assert gateway.process.wait(PATIENCE) == 0
        assert [(each.status, each.body) for each in answers] == [(202, b"whole")] * 4
        # granian is gone as soon as the answers are, which may be before their outcomes are recorded.
        if server == "gunicorn":
            gateway.outcomes(4)
        verdicts = [each for each in gateway.records() if each["eventType"] == "control"]
        assert len(verdicts) == 4


def kill_one(gateway: Gateway) -> None:
    os.kill(gateway.workers()[-1], signal.SIGKILL)


def test_a_worker_that_is_killed_is_replaced(server: str) -> None:
    with Upstream(answer("202 Accepted")) as upstream, serve_gateway(server, upstream.url, workers=2) as gateway:
        over = threading.Event()
        seen: list[collections.Counter[Any]] = []
        loading = threading.Thread(target=lambda: seen.append(load(gateway.port, over, PATIENCE)))
        loading.start()
        time.sleep(1)
        kill_one(gateway)
        until = time.monotonic() + PATIENCE
        while len(gateway.workers()) < 2 and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(1)
        over.set()
        loading.join()
        assert gateway.ask("POST", ACTION, image("last")).status == 202
    assert seen[0][202] > 10, seen
    assert max(bodies_of(upstream).values()) == 1

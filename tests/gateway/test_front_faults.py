"""nginx and haproxy before real gateways and a real Nova: what is judged, and what happens when gateways die."""

from __future__ import annotations

import collections
import contextlib
import gzip
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.cases import image, items
from tests.gateway.backend import Backend
from tests.gateway.client import PATIENCE, chunked, find_free_port
from tests.gateway.front import Front, serve_front
from tests.gateway.nova import ServedNova
from tests.gateway.servers import Gateway, GatewayFactory, serve_gateway
from tests.gateway.test_ways_round import encode_request
from tests.gateway.upstream import ReceivedRequest, Upstream, build_response
from tests.nova.cloud import Image
from tests.spellings import SPELLINGS, create_image
from tests.waiting import wait_until

METHODS = [("POST", ""), ("PUT", "?_method=POST")]  # Nova runs an image action for either
LATEST = {"OpenStack-API-Version": "compute 2.45"}
TOO_MANY = image("big", items(129))


@pytest.mark.parametrize(("method", "query"), METHODS)
def test_every_image_action_is_judged(
    kind: str, method: str, query: str, nova: ServedNova, gateways: GatewayFactory
) -> None:
    gateway = gateways(server="granian", compute_url=nova.url, proxied=True)
    path = f"/v2.1/servers/{nova.cloud.server}/action{query}"
    before = len(gateway.records())
    with serve_front(kind, nova.port, [gateway.port] * 2) as front:
        assert front.send_request(method, path, TOO_MANY, LATEST).status == 403
        assert (len(gateway.records()), nova.cloud.images()) == (before + 1, [])
        forged = {**LATEST, "X-Forwarded-For": "192.0.2.66", "Forwarded": "for=192.0.2.66"}
        response = front.send_request(method, path, image("x", {"k": "v"}), forged)
        assert response.status == 202
        assert nova.cloud.images() == [Image("x", {"k": "v"})]
        gateway.wait_for_outcome(response)
        assert front.send_request("GET", f"/v2.1/servers/{nova.cloud.server}").status == 200
        assert front.send_request("GET", "/v2.1/servers/detail?limit=1").status == 200
    records = gateway.records()[before:]
    assert [record["eventType"] for record in records] == ["control", "control", "activity"]
    assert records[1]["initiator"]["host"]["address"] == "127.0.0.1"


# --- all gateways are down


def find_dead_ports() -> list[int]:
    """Return ports of gateways that are down."""
    return [find_free_port(), find_free_port()]


def assert_fails_closed(kind: str, method: str, query: str, nova: ServedNova, statuses: tuple[int, ...]) -> None:
    path = f"/v2.1/servers/{nova.cloud.server}"
    with serve_front(kind, nova.port, find_dead_ports()) as front:
        for _ in range(3):
            assert front.send_request(method, f"{path}/action{query}", image("x"), LATEST).status in statuses
            assert nova.cloud.images() == []
        assert front.send_request("GET", path).status == 200, "reads go on"
        assert front.send_request("GET", path, image("x")).status in (502, 503)


@pytest.mark.parametrize(("method", "query"), [*METHODS, ("FOO", "")])
def test_fail_closed(kind: str, method: str, query: str, nova: ServedNova) -> None:
    assert_fails_closed(kind, method, query, nova, (502, 503))


@pytest.mark.parametrize(("method", "query"), [("post", ""), ("Put", "?_method=POST")])
@pytest.mark.parametrize(("kind", "statuses"), [("nginx", (400, 502, 503)), ("haproxy", (502, 503))])
def test_fail_closed_for_misspelled_methods(
    kind: str, statuses: tuple[int, ...], method: str, query: str, nova: ServedNova
) -> None:
    """nginx refuses them itself."""
    assert_fails_closed(kind, method, query, nova, statuses)


# --- all gateways are down, and the front stays open for what can't name an image action


def encode_spellings(server: str) -> Iterator[bytes]:
    """Yield every way round as the bytes of a request, also in chunks that are cut within a name."""
    for spelling in SPELLINGS:
        yield encode_request(spelling, create_image(1), server)
    head = f"POST /v2.1/servers/{server}/action HTTP/1.1\r\nHost: x\r\nX-Auth-Token: member\r\nConnection: close\r\n"
    for body in (b'{"createImage": {"name": "x"}}', b'{"create\\u0049mage": {"name": "x"}}', b'{"shelve": null}'):
        for padding in (b"", b" " * 1000, b" " * 100_000):
            padded = padding + body
            yield f"{head}Content-Length: {len(padded)}\r\n\r\n".encode() + padded
            for position in range(len(padding) + 1, len(padded), 4):
                parts = [padded[:position], padded[position:]]
                yield f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunked(parts)


def test_half_open_lets_no_image_action_by(kind: str, nova: ServedNova) -> None:
    with serve_front(kind, nova.port, find_dead_ports(), half_open=True) as front:
        wait_until_open(front, nova.cloud.server)
        with ThreadPoolExecutor(16) as pool:
            statuses = [
                response[9:12]
                for response in pool.map(
                    lambda request: front.send_raw(request, 3.0), encode_spellings(nova.cloud.server)
                )
            ]
    assert nova.cloud.images() == []
    assert statuses.count(b"503") > len(SPELLINGS) / 2


def wait_until_open(front: Front, server: str) -> None:
    """Wait until what can't name an image action is let through: haproxy asks three times."""
    path = f"/v2.1/servers/{server}/action"
    wait_until(lambda: front.send_request("POST", path, {"addTag": None}).status == 400, PATIENCE, interval=0.2)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_half_open_lets_no_body_by_that_nova_does_not_read(kind: str, method: str) -> None:
    """A server could treat it as the next request, and chunks can split the name of its action."""
    action = b'6\r\n{"crea\r\n12\r\nteImage": {"name": 1}}\r\n0\r\n\r\n'
    body = b"POST /v2.1/servers/x/action HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + action
    with Backend("nova") as nova, serve_front(kind, nova.port, find_dead_ports(), half_open=True) as front:
        wait_until(lambda: front.send_request("POST", "/v2.1/x", {"reboot": 1}).status == 200, PATIENCE, interval=0.2)
        nova.take_requests()
        assert front.send_request(method, "/v2.1/servers/x", body).status in (405, 503)
        assert front.send_request(method, "/v2.1/servers/x").status in (200, 405)
        assert [request.body for request in nova.take_requests()] in ([], [b""])


def test_half_open_lets_the_rest_by(kind: str, nova: ServedNova) -> None:
    path = f"/v2.1/servers/{nova.cloud.server}"
    with serve_front(kind, nova.port, find_dead_ports(), half_open=True) as front:
        wait_until_open(front, nova.cloud.server)
        unlock = {"X-Auth-Token": "admin"}
        assert front.send_request("POST", f"{path}/action", {"unlock": None}, unlock).status == 202
        tags = {"tags": ["a"]}
        assert front.send_request("PUT", f"{path}/tags", tags, {"OpenStack-API-Version": "compute 2.26"}).status == 200
        assert front.send_request("GET", path).status == 200
        assert front.send_request("POST", f"{path}/action", b"").status == 503, "nothing is known of it"
        compressed = gzip.compress(b'{"createImage": {"name": "x"}}')
        encoded = {"Content-Encoding": "gzip"}
        assert front.send_request("POST", f"{path}/action", compressed, encoded).status == 503, "so it is of this one"
        long_text = {"reboot": {"type": "HARD", "x": "y" * 115_000}}
        assert front.send_request("POST", f"{path}/action", long_text).status == 413


def test_half_open_is_guarded_as_long_as_a_gateway_lives(kind: str, nova: ServedNova, gateways: GatewayFactory) -> None:
    gateway = gateways(server="granian", compute_url=nova.url, proxied=True)
    path = f"/v2.1/servers/{nova.cloud.server}/action"
    with serve_front(kind, nova.port, [find_free_port(), gateway.port], half_open=True) as front:
        for method, query in METHODS * 5:
            assert front.send_request(method, path + query, TOO_MANY, LATEST).status in (403, 502, 503)
            assert nova.cloud.images() == []


# --- a gateway dies


@pytest.mark.parametrize("half_open", [False, True], ids=["closed", "half open"])
@pytest.mark.parametrize("method", ["POST", "PUT", "FOO", "DELETE"])
def test_request_that_a_gateway_may_have_received_is_not_sent_again(kind: str, method: str, half_open: bool) -> None:
    """A gateway that dies over a request may have forwarded it: sent again, the action would run twice."""
    with Backend("nova") as nova, Backend("gateway 1", mute=True) as first, Backend("gateway 2", mute=True) as second:
        with serve_front(kind, nova.port, [first.port, second.port], half_open) as front:
            response = front.send_request(method, "/v2.1/servers/x/action?_method=POST", {"reboot": {"type": "HARD"}})
        assert response.status == 502
        assert len(nova.take_requests() + first.take_requests() + second.take_requests()) == 1


class Site(NamedTuple):
    """A front with two gateways, and a compute API that keeps what it receives."""

    front: Front
    gateways: list[Gateway]
    compute: Upstream

    def count_images(self) -> collections.Counter[str]:
        """Return how often the compute API was asked for an image of each name."""
        bodies = [json.loads(request.body) for request in self.compute.requests if request.body]
        return collections.Counter(body["createImage"]["name"] for body in bodies)


def respond_after_50_ms(request: ReceivedRequest, connection: socket.socket) -> bool:
    """Accept a request, an action after a while, so that there is always one under way."""
    if request.body:
        time.sleep(0.05)
    connection.sendall(build_response("202 Accepted"))
    return True


@pytest.fixture
def site(server: str, kind: str, upstream: Upstream, gateway: Gateway) -> Iterator[Site]:
    """A site whose first gateway may be killed."""
    upstream.respond(respond_after_50_ms)
    with (
        serve_gateway(server, upstream.url) as mortal,
        serve_front(kind, upstream.port, [mortal.port, gateway.port]) as front,
    ):
        yield Site(front, [mortal, gateway], upstream)


def kill(gateway: Gateway) -> None:
    """Kill a gateway as when its machine dies: the workers with their master, at once."""
    for pid in (gateway.process.pid, *gateway.workers()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    gateway.process.wait(PATIENCE)


def test_gateway_is_killed_under_load(site: Site) -> None:
    """No image action runs twice, none that got a response is lost, and the other gateway carries on."""
    statuses: dict[str, int] = {}
    is_under_load = threading.Event()

    def make_image(number: int) -> None:
        method, query = METHODS[number % 2]
        with contextlib.suppress(OSError):
            path = f"/v2.1/servers/11111111-2222-4333-8444-555555555555/action{query}"
            statuses[f"image-{number}"] = site.front.send_request(method, path, image(f"image-{number}")).status
        if number == 40:
            is_under_load.set()

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(make_image, number) for number in range(160)]
        assert is_under_load.wait(PATIENCE)
        kill(site.gateways[0])
        for client in clients:
            client.result(PATIENCE)
    counts = site.count_images()
    assert max(counts.values()) == 1, "an image action ran twice"
    assert set(statuses.values()) <= {202, 502, 503}
    assert len(statuses) == 160, "a request had no response"
    accepted = [name for name, status in statuses.items() if status == 202]
    assert {counts[name] for name in accepted} == {1}
    assert len(accepted) > 80
    # By now the dead one is known: a POST that it does not take goes to the other one.
    for _ in range(20):
        response = site.front.send_request("POST", "/v2.1/servers/x/action", {"reboot": {"type": "SOFT"}})
        assert response.status == 202


def send_puts(front: Front, count: int = 10) -> set[bytes]:
    """Send requests; return the bodies of the responses, which name the backends."""
    return {front.send_request("PUT", "/", {}).body for _ in range(count)}


def test_haproxy_takes_a_dead_gateway_out_and_a_living_one_in() -> None:
    with (
        Backend("nova") as nova,
        Backend("first") as first,
        Backend("second") as second,
        serve_front("haproxy", nova.port, [first.port, second.port]) as front,
    ):
        wait_for_state(front, "imagefilter/gateway1", "UP")
        first.close()
        wait_for_state(front, "imagefilter/gateway1", "DOWN")
        # "UP 1/3" is up as well: one check of a busy machine may have come late.
        assert front.haproxy_servers()["imagefilter/gateway2"].startswith("UP")
        assert send_puts(front) == {b"second"}
        with Backend("again", first.port):
            wait_for_state(front, "imagefilter/gateway1", "UP")
            assert send_puts(front) == {b"again", b"second"}


def wait_for_state(front: Front, server: str, state: str) -> None:
    wait_until(lambda: front.haproxy_servers()[server].startswith(state), PATIENCE, interval=0.1)


def test_nginx_finds_the_living_gateway() -> None:
    """What must not be sent twice gets a 502 where it meets the dead one: nginx does not know that it is dead."""
    with (
        Backend("nova") as nova,
        Backend("living") as living,
        serve_front("nginx", nova.port, [find_free_port(), living.port]) as front,
    ):
        assert {front.send_request("POST", "/", {}).body for _ in range(20)} == {b"living"}
        statuses = [front.send_request("PUT", "/", {}).status for _ in range(40)]
        assert set(statuses) == {200, 502}

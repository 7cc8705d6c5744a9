"""nginx and haproxy before real gateways and a real Nova: what is judged, and what happens when gateways die."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest

from tests.gateway.conftest import Served
from tests.gateway.front import FRONTS, Front, Wire, serve_front
from tests.gateway.servers import PATIENCE, Asked, Gateway, Upstream, answer, free_port, serve_gateway
from tests.nova.cloud import Image
from tests.nova.test_policy import items

PUT_AS_POST = ("PUT", "?_method=POST")  # Nova runs an image action for this, too
LATEST = {"OpenStack-API-Version": "compute 2.45"}


def create(name: str, **metadata: Any) -> dict[str, Any]:
    return {"createImage": {"name": name, "metadata": metadata}}


@pytest.fixture(params=FRONTS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(("method", "query"), [("POST", ""), PUT_AS_POST])
def test_every_image_action_is_judged(
    kind: str, method: str, query: str, nova: Served, gateways: Callable[..., Gateway], tmp_path: Path
) -> None:
    gateway = gateways(server="granian", compute_url=nova.url, proxied=True)
    path = f"/v2.1/servers/{nova.cloud.server}/action{query}"
    before = len(gateway.records())
    with serve_front(kind, nova.port, [gateway.port] * 2) as front:
        assert front.ask(method, path, create("big", **items(129)), LATEST).status == 403
        assert (len(gateway.records()), nova.cloud.images()) == (before + 1, [])
        forged = {**LATEST, "X-Forwarded-For": "192.0.2.66", "Forwarded": "for=192.0.2.66"}
        assert front.ask(method, path, create("x", k="v"), forged).status == 202
        assert nova.cloud.images() == [Image("x", {"k": "v"})]
        assert front.ask("GET", f"/v2.1/servers/{nova.cloud.server}").status == 200
        assert front.ask("GET", "/v2.1/servers/detail?limit=1").status == 200
    records = gateway.records()[before:]
    assert [record["eventType"] for record in records] == ["control", "control", "activity"]
    assert records[1]["initiator"]["host"]["address"] == "127.0.0.1"


METHODS = [("POST", ""), PUT_AS_POST]


def dead() -> list[int]:
    """Ports of gateways that are down."""
    return [free_port(), free_port()]


@pytest.mark.parametrize(("method", "query"), [*METHODS, ("post", ""), ("Put", "?_method=POST"), ("FOO", "")])
def test_fail_closed(kind: str, method: str, query: str, nova: Served) -> None:
    path = f"/v2.1/servers/{nova.cloud.server}/action{query}"
    with serve_front(kind, nova.port, dead()) as front:
        for _ in range(3):
            status = front.ask(method, path, create("x"), LATEST).status
            assert (status, nova.cloud.images()) in ((502, []), (503, []), (400, []))
            assert status != 400 or (kind, method) in (("nginx", "post"), ("nginx", "Put"))
        assert front.ask("GET", f"/v2.1/servers/{nova.cloud.server}").status == 200, "reads go on"
        assert front.ask("GET", f"/v2.1/servers/{nova.cloud.server}", create("x")).status in (502, 503)


@pytest.mark.parametrize(("method", "query"), METHODS)
def test_fail_open(kind: str, method: str, query: str, nova: Served) -> None:
    """Unjudged: this is what an operator chooses who would rather have images than rules."""
    path = f"/v2.1/servers/{nova.cloud.server}/action{query}"
    too_many = create("unjudged", **items(129))
    with serve_front(kind, nova.port, dead(), True) as front:
        until = time.monotonic() + PATIENCE
        # haproxy asks twice before it believes that a gateway is down, nginx may need a request to find out.
        while (status := front.ask(method, path, too_many, LATEST).status) != 202:
            assert status in (502, 503)
            assert (time.monotonic() < until, nova.cloud.images()) == (True, [])
            time.sleep(0.2)
    assert nova.cloud.images() == [Image("unjudged", items(129))]


def test_fail_open_is_closed_as_long_as_a_gateway_lives(
    kind: str, nova: Served, gateways: Callable[..., Gateway], tmp_path: Path
) -> None:
    gateway = gateways(server="granian", compute_url=nova.url, proxied=True)
    path = f"/v2.1/servers/{nova.cloud.server}/action"
    with serve_front(kind, nova.port, [free_port(), gateway.port], True) as front:
        for method, query in METHODS * 5:
            status = front.ask(method, path + query, create("big", **items(129)), LATEST).status
            assert (nova.cloud.images(), status in (403, 502)) == ([], True)


@pytest.mark.parametrize("fail_open", [False, True], ids=["fail closed", "fail open"])
@pytest.mark.parametrize("method", ["POST", "PUT", "FOO", "DELETE"])
def test_what_a_gateway_may_have_got_is_sent_to_nobody_else(
    kind: str, method: str, fail_open: bool, tmp_path: Path
) -> None:
    """A gateway that dies over a request may have forwarded it: sent again, the action would run twice."""
    with contextlib.ExitStack() as stack:
        nova, *mute = (Wire(name, mute=name != "nova") for name in ("nova", "gateway 1", "gateway 2"))
        for each in (nova, *mute):
            stack.callback(each.close)
        ports = [each.port for each in mute]
        front = stack.enter_context(serve_front(kind, nova.port, ports, fail_open))
        response = front.ask(method, "/v2.1/servers/x/action?_method=POST", create("x"))
        assert response.status == 502
        assert sum(len(each.heard()) for each in (nova, *mute)) == 1


class Load(NamedTuple):
    """A front with two gateways, and a compute API that keeps what it is asked."""

    front: Front
    gateways: list[Gateway]
    compute: Upstream

    def names(self) -> collections.Counter[str]:
        """How often the compute API was asked for an image of each name."""
        return collections.Counter(
            json.loads(each.body)["createImage"]["name"] for each in self.compute.asked if each.body
        )


@pytest.fixture(params=[(front, server) for front in FRONTS for server in ("gunicorn", "granian")], ids="-".join)
def load(request: pytest.FixtureRequest) -> Iterator[Load]:
    kind, server = request.param

    def slowly(asked: Asked, peer: socket.socket) -> bool:
        if asked.body:
            time.sleep(0.05)  # so that there is always something under way
        peer.sendall(answer("202 Accepted"))
        return True

    with contextlib.ExitStack() as stack:
        compute = stack.enter_context(Upstream(slowly))
        gateways = [stack.enter_context(serve_gateway(server, compute.url)) for _ in range(2)]
        ports = [gateway.port for gateway in gateways]
        yield Load(stack.enter_context(serve_front(kind, compute.port, ports)), gateways, compute)


def kill(gateway: Gateway) -> None:
    """As a machine dies: the workers with their master, at once."""
    for pid in (gateway.process.pid, *gateway.workers()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    gateway.process.wait(PATIENCE)


def test_a_gateway_is_killed_under_load(load: Load) -> None:
    """No image action runs twice, none that was answered is lost, and the other gateway carries on."""
    answered: dict[str, int] = {}
    enough = threading.Event()

    def run(number: int) -> None:
        name = f"image-{number}"
        method, query = METHODS[number % 2]
        with contextlib.suppress(OSError):
            path = f"/v2.1/servers/11111111-2222-4333-8444-555555555555/action{query}"
            answered[name] = load.front.ask(method, path, create(name)).status
        if number == 40:
            enough.set()

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(run, number) for number in range(160)]
        assert enough.wait(PATIENCE)
        kill(load.gateways[0])
        for each in done:
            each.result(PATIENCE)
    names = load.names()
    assert max(names.values()) == 1, "an image action ran twice"
    assert set(answered.values()) <= {202, 502, 503}
    assert len(answered) == 160, "every request had an answer"
    assert all(names[name] == 1 for name, status in answered.items() if status == 202)
    assert sum(status == 202 for status in answered.values()) > 80
    # By now the dead one is known: a POST that it does not take goes to the other one.
    load.compute.asked.clear()
    for _ in range(20):
        assert load.front.ask("POST", "/v2.1/servers/x/action", {"reboot": {"type": "SOFT"}}).status == 202


def test_haproxy_takes_a_dead_gateway_out_and_a_living_one_in() -> None:
    with contextlib.ExitStack() as stack:
        nova, first, second = (Wire(name) for name in ("nova", "first", "second"))
        for each in (nova, first, second):
            stack.callback(each.close)
        front = stack.enter_context(serve_front("haproxy", nova.port, [first.port, second.port]))
        expect(front, "imagefilter/gateway1", "UP")
        first.close()
        expect(front, "imagefilter/gateway1", "DOWN")
        assert front.servers()["imagefilter/gateway2"] == "UP"
        assert {front.ask("PUT", "/", {}).body for _ in range(10)} == {b"second"}
        again = Wire("again", first.port)
        stack.callback(again.close)
        expect(front, "imagefilter/gateway1", "UP")
        assert {front.ask("PUT", "/", {}).body for _ in range(10)} == {b"again", b"second"}


def expect(front: Front, server: str, status: str) -> None:
    until = time.monotonic() + PATIENCE
    while not front.servers()[server].startswith(status):
        assert time.monotonic() < until, front.servers()
        time.sleep(0.2)


def test_nginx_leaves_a_dead_gateway_alone() -> None:
    """What must not be sent twice pays for it with a 502 each time that nginx looks whether the gateway is back."""
    with contextlib.ExitStack() as stack:
        nova, living = Wire("nova"), Wire("living")
        stack.callback(nova.close)
        stack.callback(living.close)
        front = stack.enter_context(serve_front("nginx", nova.port, [free_port(), living.port]))
        assert {front.ask("POST", "/", {}).body for _ in range(20)} == {b"living"}
        began = time.monotonic()
        failed = [front.ask("PUT", "/", {}).status for _ in range(40)].count(502)
        assert failed <= 2 + (time.monotonic() - began) / 5

"""What makes no image comes through the gateway unchanged: the same answer as from Nova itself, over real sockets."""

from __future__ import annotations

import re
from typing import Any, Callable

import pytest

from tests.gateway.conftest import Served
from tests.gateway.servers import Gateway, Response, ask
from tests.requests import encode
from tests.requests_without_image import PLAIN, Plain

# Between the client and its server, or different each time.
OF_THE_SERVER = {"date", "server", "connection", "keep-alive", "transfer-encoding"}
UNSTABLE = {"x-compute-request-id", "x-openstack-request-id"}
# gunicorn refuses such a method by itself.
UNCHANGED = [each for each in PLAIN if each.fault is None and each.method != "post"]
CHANGED = [each for each in PLAIN if each.fault is not None]


def request_of(plain: Plain, server: str) -> tuple[Any, ...]:
    body = encode(plain.document) or (None if plain.method in ("GET", "HEAD", "DELETE", "OPTIONS") else b"")
    return plain.method, plain.target.format(server=server), body, plain.headers


def comparable(response: Response) -> tuple[int, list[tuple[str, str]], bytes]:
    headers = [(name.lower(), value) for name, value in response.headers]
    kept = sorted(each for each in headers if each[0] not in OF_THE_SERVER | UNSTABLE)
    return response.status, kept, re.sub(rb'"updated": "[^"]*"', b"", response.body)


@pytest.mark.parametrize("plain", UNCHANGED, ids=[each.id for each in UNCHANGED])
def test_the_same_answer(plain: Plain, nova: Served, gateways: Callable[..., Gateway]) -> None:
    request = request_of(plain, nova.cloud.server)
    headers = {**request[3], "Host": "compute.example:8774"}  # Nova's links name the host that was asked
    bare = comparable(ask(nova.port, *request[:3], headers))
    nova.cloud.settle()
    forwarded = comparable(gateways(compute_url=nova.url).ask(*request[:3], headers))
    assert forwarded == bare


@pytest.mark.parametrize("plain", CHANGED, ids=[each.id for each in CHANGED])
def test_the_documented_differences(plain: Plain, nova: Served, gateways: Callable[..., Gateway]) -> None:
    response = gateways(compute_url=nova.url).ask(*request_of(plain, nova.cloud.server))
    if plain.headers.get("Content-Length") == "+2":  # which no server hands on
        assert response.status == 400
    else:
        assert (response.status, response.message) == plain.fault

"""Requests that make no image pass through the gateway unchanged: the response is Nova's own, over real sockets."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.gateway.client import Response, send_request
from tests.gateway.nova import ServedNova
from tests.gateway.servers import GatewayFactory
from tests.requests_without_image import PLAIN, Plain
from tests.wsgi import encode

# Between the client and its server, or different each time.
OMITTED_HEADERS = {
    "connection",
    "date",
    "keep-alive",
    "server",
    "transfer-encoding",
    "x-compute-request-id",
    "x-openstack-request-id",
}
WITHOUT_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")
# gunicorn refuses such a method itself.
UNCHANGED = [plain for plain in PLAIN if plain.fault is None and plain.method != "post"]
# No server passes such a length on.
REFUSED_BY_SERVER = [plain for plain in PLAIN if plain.headers.get("Content-Length") == "+2"]
CHANGED = [plain for plain in PLAIN if plain.fault is not None and plain not in REFUSED_BY_SERVER]


def build_request(plain: Plain, nova: ServedNova) -> tuple[Any, ...]:
    """Return method, target, body and headers of a request."""
    body = encode(plain.document)
    if not body and plain.method in WITHOUT_BODY:
        body = None
    # Nova's links name the host that was asked.
    headers = {"Host": "compute.example:8774", **plain.headers}
    return plain.method, plain.target.format(server=nova.cloud.server), body, headers


def select_comparable(response: Response) -> tuple[int, list[tuple[str, str]], bytes]:
    headers = [(name.lower(), value) for name, value in response.headers]
    compared = sorted(header for header in headers if header[0] not in OMITTED_HEADERS)
    return response.status, compared, re.sub(rb'"updated": "[^"]*"', b"", response.body)


@pytest.mark.parametrize("plain", UNCHANGED, ids=[plain.id for plain in UNCHANGED])
def test_response_is_novas_own(plain: Plain, nova: ServedNova, gateways: GatewayFactory) -> None:
    request = build_request(plain, nova)
    bare = select_comparable(send_request(nova.port, *request))
    nova.cloud.settle()
    forwarded = select_comparable(gateways(compute_url=nova.url).send_request(*request))
    assert forwarded == bare


@pytest.mark.parametrize("plain", CHANGED, ids=[plain.id for plain in CHANGED])
def test_response_differs_as_documented(plain: Plain, nova: ServedNova, gateways: GatewayFactory) -> None:
    response = gateways(compute_url=nova.url).send_request(*build_request(plain, nova))
    assert (response.status, response.message) == plain.fault


@pytest.mark.parametrize("plain", REFUSED_BY_SERVER, ids=[plain.id for plain in REFUSED_BY_SERVER])
def test_malformed_length_is_refused(plain: Plain, nova: ServedNova, gateways: GatewayFactory) -> None:
    assert gateways(compute_url=nova.url).send_request(*build_request(plain, nova)).status == 400

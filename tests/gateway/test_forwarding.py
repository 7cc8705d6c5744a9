"""The request that reaches the compute API, to the byte: the shipped pipeline under each server, over real sockets."""

from __future__ import annotations

import socket
import time
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from imagefilter.gateway.headers import IDENTITY_HEADERS
from tests.cases import image
from tests.gateway.client import chunked, send_raw
from tests.gateway.servers import Gateway, GatewayFactory
from tests.gateway.upstream import Upstream, build_response

SERVER = "11111111-2222-4333-8444-555555555555"
ACTION = f"/v2.1/servers/{SERVER}/action"
CREATE = b'{"createImage": {"name": "x", "name": "y"}}'
CANONICAL = b'{"createImage":{"name":"y"}}'
HEAD = b"Host: compute.example:8774\r\nConnection: close\r\nX-Auth-Token: t\r\n"


def send_to(gateway: Gateway, line: str, headers: bytes = b"", body: bytes = b"") -> bytes:
    """Send one request to the byte; return the whole response."""
    return send_raw(gateway.port, line.encode() + b" HTTP/1.1\r\n" + HEAD + headers + b"\r\n" + body, wait=30)


# --- method and target


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "FOO"])
def test_method_is_passed_on(method: str, gateway: Gateway, upstream: Upstream) -> None:
    gateway.send_request(method, "/v2.1/servers")
    assert upstream.request.line == f"{method} /v2.1/servers HTTP/1.1"


@pytest.mark.parametrize("server", ["granian"])  # gunicorn refuses these itself
@pytest.mark.parametrize("method", ["get", "Get", "post"])
def test_spelling_of_a_method_is_passed_on(method: str, gateway: Gateway, upstream: Upstream) -> None:
    gateway.send_request(method, "/v2.1/servers")
    assert upstream.request.line == f"{method} /v2.1/servers HTTP/1.1"


TARGETS = (
    "/",
    "/v2.1/servers/a%2Fb/c%2fd",
    "/v2.1/servers/x/%61ction",
    "/a%00b%0Ac%0D%0Ad",
    "/a%20b%3Fc%23d%25e",
    "/a/../b/./c",
    "/%2e%2e/a",
    "/a%C3%A9%E9",
    "/~x/!$&'()*+,;=:@-._",
    "/a;b=c/d",
    "/v2.1/servers?",
    "/v2.1/servers?x=%2f%41&y=a+b&&=&x=1",
    "/v2.1/servers?x=%zz&y=%&z=%41",
    "/v2.1/servers?a=http://b/c?d;_method=POST",
    "http://elsewhere.example:99/v2.1/servers?x",
)


def split_target(target: str) -> tuple[str, str]:
    """Return path and query of a target that a client wrote."""
    path, _, query = target.removeprefix("http://elsewhere.example:99").partition("?")
    return path, query


@pytest.mark.parametrize("target", TARGETS)
def test_target_keeps_its_meaning(target: str, gateway: Gateway, upstream: Upstream) -> None:
    send_to(gateway, f"GET {target}")
    method, sent, version = upstream.request.line.split(" ")
    assert (method, version) == ("GET", "HTTP/1.1")
    assert upstream.request.header("host") == "compute.example:8774"
    path, query = split_target(target)
    sent_path, _, sent_query = sent.partition("?")
    assert unquote_to_bytes(sent_path) == unquote_to_bytes(path)
    assert sent_query == query.replace("%zz", "%25zz").replace("%&", "%25&").replace("%2f", "%2F")


@pytest.mark.parametrize("server", ["gunicorn"])  # the only one of them that passes the raw path to an application
@pytest.mark.parametrize("target", TARGETS)
def test_path_is_passed_on_as_written(target: str, gateway: Gateway, upstream: Upstream) -> None:
    send_to(gateway, f"GET {target}")
    path, _ = split_target(target)
    # urllib3 writes its escapes in capitals.
    assert upstream.request.target.partition("?")[0] == path.replace("%2f", "%2F").replace("%2e", "%2E")


@pytest.mark.parametrize(("target", "path"), [("//a//b///c", "/a/b/c"), ("/a%", "/a%25"), ("/a%zz/%41", "/a%25zz/A")])
def test_ambiguous_path_is_passed_on_as_the_filter_read_it(
    target: str, path: str, gateway: Gateway, upstream: Upstream
) -> None:
    send_to(gateway, f"GET {target}")
    assert upstream.request.line == f"GET {path} HTTP/1.1"


# --- headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Accept", "application/json"),
        ("OpenStack-API-Version", "compute 2.45"),
        ("X-Auth-Token", "gAAAA"),
        ("X-Service-Token", "gBBBB"),
        ("User-Agent", "openstacksdk/4.0"),
        ("Cookie", "a=b; c=d"),
        ("If-None-Match", '"x", "y"'),
        ("Accept-Encoding", "gzip"),
    ],
)
def test_end_to_end_header_is_passed_on(name: str, value: str, gateway: Gateway, upstream: Upstream) -> None:
    gateway.send_request("GET", "/v2.1/servers", headers={name: value})
    assert upstream.request.header(name) == value


@pytest.mark.parametrize(("server", "values"), [("gunicorn", ["été"]), ("granian", ["été", "", None])])
def test_header_that_is_not_ascii_is_not_garbled(
    values: list[str | None], gateway: Gateway, upstream: Upstream
) -> None:
    """granian drops the text."""
    send_to(gateway, "GET /v2.1/servers", "X-Whatever: été\r\n".encode("latin-1"))
    assert upstream.request.header("X-Whatever") in values


def test_no_header_is_added_but_the_documented_ones(gateway: Gateway, upstream: Upstream) -> None:
    send_to(gateway, "GET /v2.1/servers")
    added = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-openstack-request-id"}
    assert upstream.request.header_names() == {"host", "x-auth-token"} | added


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_hop_by_hop_headers_are_not_passed_on(method: str, gateway: Gateway, upstream: Upstream) -> None:
    names = ("Keep-Alive", "TE", "Trailer", "Proxy-Authorization", "Proxy-Connection", "Proxy", "X-Named", "X-Other")
    headers = "".join(f"{name}: x\r\n" for name in names)
    send_to(gateway, f"{method} /v2.1/servers", f"Connection: X-Named, x-other\r\n{headers}Upgrade: h2c\r\n".encode())
    assert not {name.lower() for name in (*names, "Upgrade")} & upstream.request.header_names()


def test_connection_header_can_not_remove_the_gateways_own_headers(gateway: Gateway, upstream: Upstream) -> None:
    named = b"Host, Content-Length, Content-Type, X-Forwarded-For, X-Openstack-Request-Id"
    headers = b"Connection: " + named + b"\r\nContent-Type: text/plain\r\nContent-Length: 43\r\n"
    send_to(gateway, f"POST {ACTION}", headers, CREATE)
    request = upstream.request
    assert (request.body, request.header("content-length")) == (CANONICAL, str(len(CANONICAL)))
    assert request.header("content-type") == "application/json"
    assert request.header("host") == "compute.example:8774"
    assert request.header("x-forwarded-for") == "127.0.0.1"
    assert (request.header("x-openstack-request-id") or "").startswith("req-")


def test_identity_headers_are_not_passed_on(gateway: Gateway, upstream: Upstream) -> None:
    headers = {name.title(): "admin" for name in IDENTITY_HEADERS}
    gateway.send_request("GET", "/v2.1/servers", headers=headers)
    assert not IDENTITY_HEADERS & upstream.request.header_names()


@pytest.mark.parametrize("server", ["granian"])  # gunicorn drops them
def test_headers_with_underscores_can_not_forge_the_framing(gateway: Gateway, upstream: Upstream) -> None:
    """granian turns Content_Length into HTTP_CONTENT_LENGTH: passed on, it would be a second Content-Length."""
    headers = b"Content_Length: 3\r\nContent_Type: x/y\r\nTransfer_Encoding: chunked\r\nContent-Length: 43\r\n"
    send_to(gateway, f"POST {ACTION}", headers, CREATE)
    request = upstream.request
    assert (request.header("content-length"), request.body) == (str(len(CANONICAL)), CANONICAL)
    assert request.header("content-type") == "application/json"
    assert request.header("transfer-encoding") is None


# --- who asks, and through what


def forwarded_headers(upstream: Upstream) -> list[str | None]:
    return [upstream.request.header(f"x-forwarded-{name}") for name in ("for", "proto", "host")]


def test_request_without_a_front(gateway: Gateway, upstream: Upstream) -> None:
    gateway.send_request("GET", "/v2.1/servers", headers={"Host": "api.example:8774"})
    assert forwarded_headers(upstream) == ["127.0.0.1", "http", "api.example:8774"]


FRONT = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "api.example",
    "Host": "gateway.internal",
}


def test_forwarded_headers_of_a_front_are_believed_if_configured(
    server: str, upstream: Upstream, gateways: GatewayFactory
) -> None:
    gateway = gateways(server=server, compute_url=upstream.url, proxied=True)
    gateway.send_request("POST", ACTION, image(), FRONT)
    assert forwarded_headers(upstream) == ["203.0.113.7", "https", "api.example"]
    assert upstream.request.header("host") == "api.example"
    assert gateway.records("control")[-1]["initiator"]["host"]["address"] == "203.0.113.7"


def test_forwarded_headers_of_a_front_are_not_believed_by_default(gateway: Gateway, upstream: Upstream) -> None:
    gateway.send_request("POST", ACTION, image(), FRONT)
    assert forwarded_headers(upstream) == ["203.0.113.7, 127.0.0.1", "https", "api.example"]
    assert upstream.request.header("host") == "gateway.internal"
    assert gateway.records("control")[-1]["initiator"]["host"]["address"] == "127.0.0.1"


def test_prefix_that_a_front_removed_is_passed_on(gateway: Gateway, upstream: Upstream) -> None:
    gateway.send_request("GET", "/v2.1/servers", headers={"X-Forwarded-Prefix": "/compute"})
    assert (upstream.request.target, upstream.request.header("x-forwarded-prefix")) == ("/v2.1/servers", "/compute")


def test_prefix_can_not_choose_the_project(server: str, upstream: Upstream, gateways: GatewayFactory) -> None:
    """Without auth_token the project is the one in the path; Nova, which refuses another's, must see it there too."""
    gateway = gateways(server=server, compute_url=upstream.url, proxied=True)
    headers = {"X-Forwarded-Prefix": "/0123456789abcdef", "Accept": "application/json;version=2.1/x"}
    gateway.send_request("POST", f"/servers/{SERVER}/action", image(), headers)
    assert upstream.request.target == f"/0123456789abcdef/servers/{SERVER}/action"
    assert upstream.request.header("x-forwarded-prefix") is None


GLOBAL_ID = "req-11111111-2222-4333-8444-555555555555"
NOVA_IDS = ("X-Openstack-Request-Id: req-nova", "X-Compute-Request-Id: req-nova")


def test_request_id_of_a_client_is_the_global_one(gateway: Gateway, upstream: Upstream) -> None:
    upstream.respond(build_response("202 Accepted", b"", *NOVA_IDS))
    response = gateway.send_request("POST", ACTION, image(), {"X-Openstack-Request-Id": GLOBAL_ID})
    local_id = response.header("X-Openstack-Request-Id")
    assert local_id not in (None, GLOBAL_ID, "req-nova")
    assert response.header("X-Compute-Request-Id") == "req-nova"
    assert upstream.request.header("x-openstack-request-id") == GLOBAL_ID
    initiator = gateway.records("control")[-1]["initiator"]
    assert (initiator["request_id"], initiator["global_request_id"]) == (local_id, GLOBAL_ID)


@pytest.mark.parametrize("headers", [{"X-Openstack-Request-Id": "req-nonsense"}, {}], ids=["nonsense", "none"])
def test_request_without_a_global_id_has_the_local_one(
    headers: dict[str, str], gateway: Gateway, upstream: Upstream
) -> None:
    upstream.respond(build_response("202 Accepted", b"", *NOVA_IDS))
    response = gateway.send_request("POST", ACTION, image(), headers)
    local_id = response.header("X-Openstack-Request-Id")
    assert local_id not in (None, "req-nonsense", "req-nova")
    assert response.header("X-Compute-Request-Id") == "req-nova"
    assert upstream.request.header("x-openstack-request-id") == local_id
    initiator = gateway.records("control")[-1]["initiator"]
    assert (initiator["request_id"], "global_request_id" in initiator) == (local_id, False)


# --- bodies and their framing


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/xml", "a/b; c=d"])
def test_body_without_an_image_action_is_passed_on(content_type: str, gateway: Gateway, upstream: Upstream) -> None:
    body = bytes(range(256)).replace(b"\\", b"") * 400
    headers = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    send_to(gateway, "PUT /v2.1/servers", headers.encode(), body)
    assert (upstream.request.body, upstream.request.header("content-length")) == (body, str(len(body)))
    assert upstream.request.header("content-type") == content_type


def test_body_without_a_content_type_is_passed_on(gateway: Gateway, upstream: Upstream) -> None:
    body = bytes(range(256)).replace(b"\\", b"") * 400
    send_to(gateway, "PUT /v2.1/servers", b"Content-Length: %d\r\n" % len(body), body)
    assert (upstream.request.body, upstream.request.header("content-length")) == (body, str(len(body)))
    assert upstream.request.header("content-type") is None


def test_image_action_is_passed_on_as_it_was_judged(gateway: Gateway, upstream: Upstream) -> None:
    headers = b"Content-Length: 43\r\nExpect: 100-continue\r\nContent-Encoding: x\r\n"
    send_to(gateway, f"POST {ACTION}", headers, CREATE)
    assert (upstream.request.body, upstream.request.header("content-length")) == (CANONICAL, str(len(CANONICAL)))
    assert upstream.request.header("expect") is None


INNER = f"POST {ACTION} HTTP/1.1\r\nHost: x\r\nContent-Length: 43\r\n\r\n".encode() + CREATE.replace(b"Image", b"X")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "HEAD", "OPTIONS", "POST", "PUT", "FOO"])
@pytest.mark.parametrize(
    ("header", "framed"),
    [
        (b"Content-Length: %d\r\n" % len(INNER), INNER),
        (b"Transfer-Encoding: chunked\r\n", chunked([INNER])),
    ],
    ids=["length", "chunked"],
)
def test_body_is_framed_by_its_length_whatever_the_method(
    method: str, header: bytes, framed: bytes, gateway: Gateway, upstream: Upstream
) -> None:
    send_to(gateway, f"{method} /v2.1/servers", header, framed)
    request = upstream.request
    assert (request.body, request.header("content-length")) == (INNER, str(len(INNER)))
    assert (request.header("transfer-encoding"), request.header("connection")) == (None, "close")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_request_without_a_body_needs_no_length(method: str, gateway: Gateway, upstream: Upstream) -> None:
    send_to(gateway, f"{method} /v2.1/servers")
    assert upstream.request.header("content-length") is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "FOO"])
def test_empty_body_has_a_length_of_0(method: str, gateway: Gateway, upstream: Upstream) -> None:
    send_to(gateway, f"{method} /v2.1/servers")
    assert upstream.request.header("content-length") == "0"


SHORT_BY_LENGTH = b"Content-Length: 100\r\n\r\nshort"
SHORT_IN_CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n64\r\nshort"


def send_short(gateway: Gateway, upstream: Upstream, method: str, framed: bytes) -> list[tuple[bytes, str | None]]:
    """Send a body that breaks off; return bodies and lengths that reached the compute API."""
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(f"{method} /short HTTP/1.1\r\n".encode() + HEAD + framed)
    gateway.send_request("GET", "/the/next")  # is served
    time.sleep(0.2)  # long enough for the first one to go on, if it does
    requests = [request for request in upstream.requests if request.target != "/the/next"]
    return [(request.body, request.header("content-length")) for request in requests]


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "POST", "PUT"])
def test_body_shorter_than_its_length_is_not_passed_on(method: str, gateway: Gateway, upstream: Upstream) -> None:
    assert send_short(gateway, upstream, method, SHORT_BY_LENGTH) == []


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "POST", "PUT"])
@pytest.mark.parametrize(("server", "outcomes"), [("gunicorn", [[]]), ("granian", [[], [(b"short", "5")]])])
def test_chunked_body_that_breaks_off_is_not_passed_on_as_if_it_were_whole(
    method: str, outcomes: Any, gateway: Gateway, upstream: Upstream
) -> None:
    """granian does not report that it broke off. What is passed on is what was judged, and framed as such."""
    assert send_short(gateway, upstream, method, SHORT_IN_CHUNKS) in outcomes


TOO_LONG = b"x" * 114689


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "POST", "PUT"])
@pytest.mark.parametrize(
    ("header", "framed"),
    [
        (b"Content-Length: %d\r\n" % len(TOO_LONG), TOO_LONG),
        (b"Transfer-Encoding: chunked\r\n", chunked([TOO_LONG])),
    ],
    ids=["length", "chunked"],
)
def test_body_over_the_limit_is_not_passed_on(
    method: str, header: bytes, framed: bytes, gateway: Gateway, upstream: Upstream
) -> None:
    response = send_to(gateway, f"{method} /v2.1/servers", header, framed)
    assert b" 413 " in response.splitlines()[0] or response == b"<reset>"
    assert upstream.requests == []


# --- connections and the environment


def test_only_what_can_run_twice_goes_over_a_kept_connection(gateway: Gateway, upstream: Upstream) -> None:
    for method in ("GET", "HEAD", "OPTIONS", "GET"):
        gateway.send_request(method, "/v2.1/servers")
    assert len({request.connection for request in upstream.requests}) == 1
    for method, document in (("POST", {}), ("POST", None), ("DELETE", None), ("PUT", {}), ("GET", b"{}")):
        gateway.send_request(method, "/v2.1/servers", document)
    assert len({request.connection for request in upstream.requests}) == 6


def test_proxies_of_the_environment_are_not_used(server: str, upstream: Upstream, gateways: GatewayFactory) -> None:
    proxies: Any = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    gateway = gateways(server=server, compute_url=upstream.url, environ={**proxies, "HTTP_X_ROLES": "admin"})
    assert gateway.send_request("GET", "/v2.1/servers").status == 200
    assert upstream.request.header("proxy") is None


def test_environment_of_granian_is_not_taken_for_a_request(upstream: Upstream, gateways: GatewayFactory) -> None:
    """It puts all of it into each WSGI environ."""
    ambient: Any = {"HTTP_X_AMBIENT": "x", "keystone.token_auth": "x", "CONTENT_LENGTH": "5", "REQUEST_URI": "/x"}
    gateway = gateways(server="granian", compute_url=upstream.url, environ=ambient)
    headers = {"X-User-Id": "root", "X-Roles": "admin"}
    assert gateway.send_request("POST", ACTION, image(), headers).status == 200
    assert upstream.request.header("x-ambient") is None
    assert gateway.records("control")[-1]["initiator"]["authenticated"] is False
    assert gateway.send_request("GET", "/v2.1/servers").status == 200

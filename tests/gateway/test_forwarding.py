"""What reaches the compute API, to the byte: the shipped pipeline under each server, over real sockets."""

from __future__ import annotations

import socket
import time
from typing import Any, Callable
from urllib.parse import unquote_to_bytes

import pytest
from keystonemiddleware.auth_token import _request as auth_token

from imagefilter.forwarding import IDENTITY_HEADERS
from tests.cases import image
from tests.gateway.servers import Asked, Gateway, Upstream, answer, chunked, send_raw

SERVER = "11111111-2222-4333-8444-555555555555"
ACTION = f"/v2.1/servers/{SERVER}/action"
CREATE = b'{"createImage": {"name": "x", "name": "y"}}'
CANONICAL = b'{"createImage":{"name":"y"}}'
HEAD = b"Host: compute.example:8774\r\nConnection: close\r\nX-Auth-Token: t\r\n"


@pytest.fixture
def gateway(server: str, upstream: Upstream, gateways: Callable[..., Gateway]) -> Gateway:
    return gateways(server=server, compute_url=upstream.url)


def raw(gateway: Gateway, line: str, headers: bytes = b"", body: bytes = b"") -> bytes:
    """One request to the byte; waits for the whole answer."""
    return send_raw(gateway.port, line.encode() + b" HTTP/1.1\r\n" + HEAD + headers + b"\r\n" + body, wait=30)


def one(upstream: Upstream) -> Asked:
    [asked] = upstream.asked
    return asked


# --- method and target


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "FOO"])
def test_the_method_as_received(method: str, gateway: Gateway, upstream: Upstream) -> None:
    gateway.ask(method, "/v2.1/servers")
    assert one(upstream).line == f"{method} /v2.1/servers HTTP/1.1"


@pytest.mark.parametrize("server", ["granian"])  # gunicorn refuses these itself
@pytest.mark.parametrize("method", ["get", "Get", "post"])
def test_a_method_is_never_written_anew(method: str, gateway: Gateway, upstream: Upstream) -> None:
    gateway.ask(method, "/v2.1/servers")
    assert one(upstream).line == f"{method} /v2.1/servers HTTP/1.1"


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


@pytest.mark.parametrize("target", TARGETS)
def test_the_target_means_what_it_meant(target: str, server: str, gateway: Gateway, upstream: Upstream) -> None:
    raw(gateway, f"GET {target}")
    method, sent, version = one(upstream).line.split(" ")
    assert (method, version) == ("GET", "HTTP/1.1")
    assert one(upstream).header("host") == "compute.example:8774"
    path, _, query = target.removeprefix("http://elsewhere.example:99").partition("?")
    sent_path, _, sent_query = sent.partition("?")
    assert unquote_to_bytes(sent_path) == unquote_to_bytes(path)
    assert sent_query == query.replace("%zz", "%25zz").replace("%&", "%25&").replace("%2f", "%2F")
    if server == "gunicorn":  # which tells the raw path; urllib3 writes its escapes in capitals
        assert sent_path == path.replace("%2f", "%2F").replace("%2e", "%2E")


@pytest.mark.parametrize(("target", "path"), [("//a//b///c", "/a/b/c"), ("/a%", "/a%25"), ("/a%zz/%41", "/a%25zz/A")])
def test_a_path_that_would_be_read_in_two_ways(target: str, path: str, gateway: Gateway, upstream: Upstream) -> None:
    """It goes on as the filter read it."""
    raw(gateway, f"GET {target}")
    assert one(upstream).line == f"GET {path} HTTP/1.1"


# --- headers


def test_end_to_end_headers_go_on(gateway: Gateway, upstream: Upstream) -> None:
    sent = {
        "Accept": "application/json",
        "OpenStack-API-Version": "compute 2.45",
        "X-Auth-Token": "gAAAA",
        "X-Service-Token": "gBBBB",
        "User-Agent": "openstacksdk/4.0",
        "Cookie": "a=b; c=d",
        "X-Whatever": "  été  ".strip(),
        "If-None-Match": '"x", "y"',
        "Accept-Encoding": "gzip",
    }
    gateway.ask("GET", "/v2.1/servers", headers={name: value.encode("latin-1") for name, value in sent.items()})  # type: ignore[misc]
    for name, value in sent.items():
        if name != "X-Whatever" or "\u00e9" in (one(upstream).header(name) or ""):  # granian drops what is not ASCII
            assert one(upstream).header(name) == value


def test_nothing_is_added_that_a_client_did_not_say(gateway: Gateway, upstream: Upstream) -> None:
    raw(gateway, "GET /v2.1/servers")
    names = {name.lower() for name, _ in one(upstream).headers}
    ours = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-openstack-request-id"}
    assert names == {"host", "x-auth-token"} | ours


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_hop_by_hop_headers_end_here(method: str, gateway: Gateway, upstream: Upstream) -> None:
    names = ("Keep-Alive", "TE", "Trailer", "Proxy-Authorization", "Proxy-Connection", "Proxy", "X-Named", "X-Other")
    headers = "".join(f"{name}: x\r\n" for name in names)
    raw(gateway, f"{method} /v2.1/servers", f"Connection: X-Named, x-other\r\n{headers}Upgrade: h2c\r\n".encode())
    gone = {name.lower() for name in (*names, "Upgrade")}
    assert not gone & {name.lower() for name, _ in one(upstream).headers}


def test_a_connection_header_can_not_take_away_what_is_ours(gateway: Gateway, upstream: Upstream) -> None:
    named = b"Host, Content-Length, Content-Type, X-Forwarded-For, X-Openstack-Request-Id"
    headers = b"Connection: " + named + b"\r\nContent-Type: text/plain\r\nContent-Length: 43\r\n"
    raw(gateway, f"POST {ACTION}", headers, CREATE)
    asked = one(upstream)
    assert (asked.body, asked.header("content-length")) == (CANONICAL, str(len(CANONICAL)))
    assert asked.header("content-type") == "application/json"
    assert asked.header("host") == "compute.example:8774"
    assert asked.header("x-forwarded-for") == "127.0.0.1"
    assert (asked.header("x-openstack-request-id") or "").startswith("req-")


def test_identity_headers_end_here(gateway: Gateway, upstream: Upstream) -> None:
    gateway.ask("GET", "/v2.1/servers", headers={name.title(): "admin" for name in IDENTITY_HEADERS})
    assert not IDENTITY_HEADERS & {name.lower() for name, _ in one(upstream).headers}


def test_they_are_all_that_auth_token_sets() -> None:
    request = auth_token._AuthTokenRequest.blank("/")
    theirs = {name.lower() for name in request._all_auth_headers()} | {request._SYSTEM_SCOPE_HEADER.lower()}
    assert theirs == IDENTITY_HEADERS


@pytest.mark.parametrize("server", ["granian"])  # gunicorn drops them
def test_underscores_can_not_forge_the_framing(gateway: Gateway, upstream: Upstream) -> None:
    """granian makes HTTP_CONTENT_LENGTH of Content_Length, which would go on as a second Content-Length."""
    headers = b"Content_Length: 3\r\nContent_Type: x/y\r\nTransfer_Encoding: chunked\r\nContent-Length: 43\r\n"
    raw(gateway, f"POST {ACTION}", headers, CREATE)
    asked = one(upstream)
    assert (asked.header("content-length"), asked.body) == (str(len(CANONICAL)), CANONICAL)
    assert asked.header("content-type") == "application/json"
    assert asked.header("transfer-encoding") is None


# --- who asked, and through what


def test_a_request_without_a_front(gateway: Gateway, upstream: Upstream) -> None:
    gateway.ask("GET", "/v2.1/servers", headers={"Host": "api.example:8774"})
    asked = one(upstream)
    forwarded = [asked.header(f"x-forwarded-{what}") for what in ("for", "proto", "host")]
    assert forwarded == ["127.0.0.1", "http", "api.example:8774"]


FRONT = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example"}


@pytest.mark.parametrize("proxied", [False, True])
def test_a_request_through_a_front(
    proxied: bool, server: str, upstream: Upstream, gateways: Callable[..., Gateway]
) -> None:
    gateway = gateways(server=server, compute_url=upstream.url, proxied=proxied)
    gateway.ask("POST", ACTION, image(), {**FRONT, "Host": "gateway.internal"})
    asked = one(upstream)
    forwarded = [asked.header(f"x-forwarded-{what}") for what in ("for", "proto", "host")]
    assert forwarded == ["203.0.113.7" if proxied else "203.0.113.7, 127.0.0.1", "https", "api.example"]
    assert asked.header("host") == ("api.example" if proxied else "gateway.internal")
    address = gateway.records()[-1]["initiator"]["host"]["address"]
    assert address == ("203.0.113.7" if proxied else "127.0.0.1")


def test_a_prefix_that_the_front_took_away(gateway: Gateway, upstream: Upstream) -> None:
    gateway.ask("GET", "/v2.1/servers", headers={"X-Forwarded-Prefix": "/compute"})
    asked = one(upstream)
    assert (asked.line.split()[1], asked.header("x-forwarded-prefix")) == ("/v2.1/servers", "/compute")


def test_a_prefix_can_not_choose_the_project(server: str, upstream: Upstream, gateways: Callable[..., Gateway]) -> None:
    """Without auth_token the project is the one in the path; Nova, which refuses another's, must see it there too."""
    gateway = gateways(server=server, compute_url=upstream.url, proxied=True)
    headers = {"X-Forwarded-Prefix": "/0123456789abcdef", "Accept": "application/json;version=2.1/x"}
    gateway.ask("POST", f"/servers/{SERVER}/action", image(), headers)
    asked = one(upstream)
    assert asked.line.split()[1] == f"/0123456789abcdef/servers/{SERVER}/action"
    assert asked.header("x-forwarded-prefix") is None


GLOBAL = "req-11111111-2222-4333-8444-555555555555"


@pytest.mark.parametrize("given", [GLOBAL, "req-nonsense", None])
def test_request_ids(given: str | None, gateway: Gateway, upstream: Upstream) -> None:
    upstream.answer(answer("202 Accepted", b"", "X-Openstack-Request-Id: req-nova", "X-Compute-Request-Id: req-nova"))
    response = gateway.ask("POST", ACTION, image(), {"X-Openstack-Request-Id": given} if given else {})
    local = response.header("X-Openstack-Request-Id")
    assert local is not None
    assert local not in (given, "req-nova")
    assert response.header("X-Compute-Request-Id") == "req-nova"
    known = given if given == GLOBAL else None
    assert one(upstream).header("x-openstack-request-id") == (known or local)
    initiator = gateway.records()[-1]["initiator"]
    assert (initiator["request_id"], initiator.get("global_request_id")) == (local, known)


# --- bodies and their framing


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/xml", "a/b; c=d", None])
def test_a_body_that_is_no_image_action(content_type: str | None, gateway: Gateway, upstream: Upstream) -> None:
    body = bytes(range(256)).replace(b"\\", b"") * 400
    line = f"Content-Type: {content_type}\r\n".encode() if content_type else b""
    raw(gateway, "PUT /v2.1/servers", line + b"Content-Length: %d\r\n" % len(body), body)
    asked = one(upstream)
    assert (asked.body, asked.header("content-length")) == (body, str(len(body)))
    assert asked.header("content-type") == content_type


def test_an_image_action_is_forwarded_as_it_was_judged(gateway: Gateway, upstream: Upstream) -> None:
    raw(gateway, f"POST {ACTION}", b"Content-Length: 43\r\nExpect: 100-continue\r\nContent-Encoding: x\r\n", CREATE)
    asked = one(upstream)
    assert (asked.body, asked.header("content-length")) == (CANONICAL, str(len(CANONICAL)))
    assert asked.header("expect") is None


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "HEAD", "OPTIONS", "POST", "PUT", "FOO"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_is_framed_by_its_length_whatever_the_method(
    method: str, framing: str, gateway: Gateway, upstream: Upstream
) -> None:
    body = f"POST {ACTION} HTTP/1.1\r\nHost: x\r\nContent-Length: 43\r\n\r\n".encode() + CREATE.replace(b"Image", b"X")
    if framing == "length":
        raw(gateway, f"{method} /v2.1/servers", b"Content-Length: %d\r\n" % len(body), body)
    else:
        raw(gateway, f"{method} /v2.1/servers", b"Transfer-Encoding: chunked\r\n", chunked([body]))
    asked = one(upstream)
    assert (asked.body, asked.header("content-length")) == (body, str(len(body)))
    assert (asked.header("transfer-encoding"), asked.header("connection")) == (None, "close")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_no_body_needs_no_length(method: str, gateway: Gateway, upstream: Upstream) -> None:
    raw(gateway, f"{method} /v2.1/servers")
    assert one(upstream).header("content-length") is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "FOO"])
def test_an_empty_body_is_said_to_be_empty(method: str, gateway: Gateway, upstream: Upstream) -> None:
    raw(gateway, f"{method} /v2.1/servers")
    assert one(upstream).header("content-length") == "0"


SHORT = (b"Content-Length: 100\r\n\r\nshort", b"Transfer-Encoding: chunked\r\n\r\n64\r\nshort")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "POST", "PUT"])
@pytest.mark.parametrize("framing", SHORT, ids=["length", "chunked"])
def test_what_never_came_whole_never_goes_on_as_if(
    method: str, framing: bytes, server: str, gateway: Gateway, upstream: Upstream
) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(f"{method} /short HTTP/1.1\r\n".encode() + HEAD + framing)
    gateway.ask("GET", "/the/next")  # is served
    time.sleep(0.2)
    gone_on = [asked for asked in upstream.asked if "/the/next" not in asked.line]
    if server == "granian" and b"chunked" in framing:
        # granian does not say that a chunked body broke off. What goes on is what was judged, and framed as such.
        assert [(asked.body, asked.header("content-length")) for asked in gone_on] in ([], [(b"short", "5")])
    else:
        assert gone_on == []


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "POST", "PUT"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_too_long_a_body_goes_nowhere(method: str, framing: str, gateway: Gateway, upstream: Upstream) -> None:
    body = b"x" * 114689
    if framing == "length":
        came = raw(gateway, f"{method} /v2.1/servers", b"Content-Length: %d\r\n" % len(body), body)
    else:
        came = raw(gateway, f"{method} /v2.1/servers", b"Transfer-Encoding: chunked\r\n", chunked([body]))
    assert b" 413 " in came.splitlines()[0] or came == b"<reset>"
    assert upstream.asked == []


def test_only_what_can_run_twice_goes_over_a_kept_connection(gateway: Gateway, upstream: Upstream) -> None:
    for method, body in (("GET", None), ("HEAD", None), ("OPTIONS", None), ("GET", None)):
        gateway.ask(method, "/v2.1/servers", body)
    assert len({asked.connection for asked in upstream.asked}) == 1
    for method, document in (("POST", {}), ("POST", None), ("DELETE", None), ("PUT", {}), ("GET", b"{}")):
        gateway.ask(method, "/v2.1/servers", document)
    assert len({asked.connection for asked in upstream.asked}) == 6


def test_the_environments_proxies_are_not_used(
    server: str, upstream: Upstream, gateways: Callable[..., Gateway]
) -> None:
    proxies: Any = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    gateway = gateways(server=server, compute_url=upstream.url, environ={**proxies, "HTTP_X_ROLES": "admin"})
    assert gateway.ask("GET", "/v2.1/servers").status == 200
    assert one(upstream).header("proxy") is None


@pytest.mark.parametrize("server", ["granian"])
def test_the_environment_is_no_clients_word(server: str, upstream: Upstream, gateways: Callable[..., Gateway]) -> None:
    """granian puts it into each WSGI environ."""
    ambient: Any = {"HTTP_X_AMBIENT": "x", "keystone.token_auth": "x", "CONTENT_LENGTH": "5", "REQUEST_URI": "/x"}
    gateway = gateways(server=server, compute_url=upstream.url, environ=ambient)
    headers = {"X-User-Id": "root", "X-Roles": "admin"}
    assert gateway.ask("POST", ACTION, image(), headers).status == 200
    assert one(upstream).header("x-ambient") is None
    assert gateway.records()[-1]["initiator"]["vouched"] is False
    assert gateway.ask("GET", "/v2.1/servers").status == 200

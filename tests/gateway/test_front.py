"""nginx and haproxy in front: whatever can make an image goes through the gateway, however it is written."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest

from tests.gateway.backend import Backend, ReceivedBytes
from tests.gateway.client import chunked, find_free_port
from tests.gateway.front import FRONTS, Front, prepare, serve_front

STRAIGHT = ("GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE")
ACTION = "/v2.1/servers/11111111-2222-4333-8444-555555555555/action"
BODY = b'{"createImage": {"name": "x"}}'


class Split(NamedTuple):
    """A front, and the two backends that it splits requests between."""

    front: Front
    nova: Backend
    gateway: Backend

    def take_requests(self) -> tuple[list[ReceivedBytes], list[ReceivedBytes]]:
        """Return what Nova and the gateway received since the last call."""
        return self.nova.take_requests(), self.gateway.take_requests()


@pytest.fixture(scope="module")
def splits() -> Iterator[Callable[[str], Split]]:
    """Run fronts, one of each kind at most."""
    running: dict[str, Split] = {}
    with contextlib.ExitStack() as stack:

        def run(kind: str) -> Split:
            if kind not in running:
                nova, gateway = stack.enter_context(Backend("nova")), stack.enter_context(Backend("gateway"))
                front = stack.enter_context(serve_front(kind, nova.port, [gateway.port] * 2))
                running[kind] = Split(front, nova, gateway)
            return running[kind]

        yield run


@pytest.fixture
def split(kind: str, splits: Callable[[str], Split]) -> Split:
    """A front of each kind, the same for all tests."""
    return splits(kind)


def build_request(method: str, target: str, body: bytes = b"", *headers: str) -> bytes:
    """Return the bytes of a request that asks for the connection to be closed after it."""
    lines = [f"{method} {target} HTTP/1.1", "Host: compute.example", "Connection: close"]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + body


def read_status(response: bytes) -> bytes:
    return response[9:12]


@pytest.mark.parametrize("half_open", [False, True], ids=["closed", "half open"])
@pytest.mark.parametrize(("kind", "check"), [("nginx", "-t"), ("haproxy", "-c")], ids=FRONTS)
def test_shipped_file_is_valid(kind: str, check: str, half_open: bool) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # Nova's fixtures make others too deep for a socket's path
        command, _ = prepare(kind, find_free_port(), 9, [9, 9], half_open, Path(folder))
        done = subprocess.run([*command, check], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in (done.stdout + done.stderr).lower(), done.stderr


# --- the split by method

NO_LENGTHS = pytest.mark.parametrize("length", [(), ("Content-Length: 0",), ("Content-Length: 000",)], ids=str)


def send_without_body(split: Split, method: str, length: tuple[str, ...]) -> tuple[bytes, list[bytes]]:
    """Send a request without a body; return the status and the request lines that Nova received."""
    response = split.front.send_raw(build_request(method, f"{ACTION}?a=b", b"", *length))
    nova, gateway = split.take_requests()
    assert gateway == []
    return read_status(response), [request.head.partition(b"\r\n")[0] for request in nova]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH"])
@NO_LENGTHS
def test_methods_without_a_body_go_straight_to_nova(split: Split, method: str, length: tuple[str, ...]) -> None:
    assert send_without_body(split, method, length) == (b"200", [f"{method} {ACTION}?a=b HTTP/1.1".encode()])


@pytest.mark.parametrize("kind", ["haproxy"])
@NO_LENGTHS
def test_haproxy_sends_trace_straight_to_nova(split: Split, length: tuple[str, ...]) -> None:
    assert send_without_body(split, "TRACE", length) == (b"200", [f"TRACE {ACTION}?a=b HTTP/1.1".encode()])


@pytest.mark.parametrize("kind", ["nginx"])
@NO_LENGTHS
def test_nginx_refuses_trace(split: Split, length: tuple[str, ...]) -> None:
    assert send_without_body(split, "TRACE", length) == (b"405", [])


PASSED_ON_METHODS = ("POST", "PUT", "PROPFIND", "FOO", "COPY")
REFUSED_OR_PASSED_ON_METHODS = (
    "post",
    "PoST",
    "Put",
    "get",
    "Get",
    "gET",
    "head",
    "delete",
    "patch",
    "MKCOL",
    "GETS",
    "POST-",
    "_POST",
    "QUERY",
    "GE",
    "LOCK",
    "CONNECT",
    "P",
    "X" * 200,
    "GET\x0b",
    "G\xcbT",
)


def send_action(split: Split, method: str) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Send an image action; return the status, and methods and bodies that the gateway received."""
    response = split.front.send_raw(build_request(method, f"{ACTION}?_method=POST", BODY))
    nova, gateway = split.take_requests()
    assert nova == []
    return read_status(response), [(request.method.decode("latin-1"), request.body) for request in gateway]


@pytest.mark.parametrize("method", PASSED_ON_METHODS)
def test_methods_with_a_body_go_through_the_gateway(split: Split, method: str) -> None:
    _, received = send_action(split, method)
    assert received == [(method, BODY)]


@pytest.mark.parametrize("method", REFUSED_OR_PASSED_ON_METHODS)
def test_every_other_method_goes_through_the_gateway_or_is_refused(split: Split, method: str) -> None:
    status, received = send_action(split, method)
    assert received == [(method, BODY)] or (status, received) in ((b"400", []), (b"405", []))


INNER = build_request("POST", ACTION, BODY)


def frame_by_length(method: str) -> bytes:
    return build_request(method, ACTION, INNER)


def frame_by_chunks(method: str) -> bytes:
    return build_request(method, ACTION, b"", "Transfer-Encoding: chunked") + chunk(INNER)


@pytest.mark.parametrize("frame", [frame_by_length, frame_by_chunks])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH"])
def test_request_with_a_body_goes_through_the_gateway(split: Split, method: str, frame: Any) -> None:
    """A server that leaves the body of a GET unread may take it for the next request on that connection."""
    split.front.send_raw(frame(method))
    nova, gateway = split.take_requests()
    assert nova == []
    assert [request.method for request in gateway] == [method.encode()]


@pytest.mark.parametrize("frame", [frame_by_length, frame_by_chunks])
@pytest.mark.parametrize(("kind", "received"), [("nginx", []), ("haproxy", [b"TRACE"])], ids=FRONTS)
def test_trace_with_a_body_does_not_reach_nova(split: Split, frame: Any, received: list[bytes]) -> None:
    split.front.send_raw(frame("TRACE"))
    nova, gateway = split.take_requests()
    assert nova == []
    assert [request.method for request in gateway] == received


# --- the target


@pytest.mark.parametrize(
    "target",
    [
        "//v2.1//servers//x//action",
        "/v2.1/servers/x%2Faction",
        "/v2.1/servers/x%2faction",
        "/v2.1/servers/x/%61ction",
        "/v2.1/servers/x/action%0a",
        "/v2.1/servers/x/action%00",
        "/v2.1/servers/x/./action",
        "/v2.1/servers/y/../x/action",
        "/v2.1/flavors/../servers/x/action",
        "/v2.1/servers/x/%2e%2e/x/action",
        "/v2.1/servers/x/%2561ction",
        "/v2.1/servers/x/action;a=b",
        "/v2.1/servers/x/action?_method=POST&a=%zz",
        "/v2.1/servers/x/action?",
        "/v2.1/servers/\xe9/action",
        "/../v2.1/servers/x/action",
        "/v2%2e1/servers/x/action",
        "/%zz/action",
        "/v2.1/servers/x/action#fragment",
        "http://compute.example/v2.1/servers/x/action",
        "http://other.example//v2.1/servers/x/action",
        "*",
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_target_is_passed_on_as_sent_to_the_gateway_or_refused(split: Split, method: str, target: str) -> None:
    response = split.front.send_raw(build_request(method, target, BODY))
    nova, gateway = split.take_requests()
    assert nova == []
    status = read_status(response)
    received = [(request.target.decode("latin-1"), request.body) for request in gateway]
    path = target.removeprefix("http://compute.example").removeprefix("http://other.example")
    is_refused = received == [] and status in (b"400", b"404")
    assert is_refused or received in ([(target, BODY)], [(path, BODY)], [(path.partition("#")[0], BODY)]), response


@pytest.mark.parametrize(
    "target", ["//v2.1//servers", "/v2.1/a%2Fb/%61", "/v2.1/a/./b/../c", "/v2.1/a?b=%2F&c=d?e", "/v2.1/a?"]
)
def test_target_is_passed_on_as_sent_to_nova(split: Split, target: str) -> None:
    split.front.send_raw(build_request("GET", target))
    nova, gateway = split.take_requests()
    assert ([request.target.decode() for request in nova], gateway) == ([target], [])


# --- request smuggling


def chunk(body: bytes, line_end: bytes = b"\r\n") -> bytes:
    """Return a body as one chunk."""
    return b"%x%b%b%b0%b%b" % (len(body), line_end, body, line_end, line_end, line_end)


def get(*headers: str) -> bytes:
    return build_request("GET", "/", b"", *headers)


CLOSE = b"Connection: close\r\n"
SMUGGLED = {
    "CL.TE": get("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + INNER,
    "CL 0 and TE": get("Content-Length: 0", "Transfer-Encoding: chunked") + chunk(INNER),
    "TE.CL": get("Transfer-Encoding: chunked", "Content-Length: 4") + chunk(INNER),
    "two lengths": get("Content-Length: 0", f"Content-Length: {len(INNER)}") + INNER,
    "two lengths, the other way": get(f"Content-Length: {len(INNER)}", "Content-Length: 0") + INNER,
    "a list of lengths": get(f"Content-Length: 0, {len(INNER)}") + INNER,
    "Content-Length: +n": get(f"Content-Length: +{len(INNER)}") + INNER,
    "Content-Length: -0": get("Content-Length: -0") + INNER,
    "Content-Length: 0x0": get("Content-Length: 0x0") + INNER,
    "Content-Length of nothing": get("Content-Length:") + INNER,
    "a length over 64 bits": get("Content-Length: 18446744073709551616") + INNER,
    "Content_Length": get(f"Content_Length: {len(INNER)}") + INNER,
    "Transfer_Encoding": get("Transfer_Encoding: chunked") + chunk(INNER),
    "a blank before the colon": get("Transfer-Encoding : chunked") + chunk(INNER),
    "a tab after the colon": get("Transfer-Encoding:\tchunked") + chunk(INNER),
    "a vertical tab": get("Transfer-Encoding: \x0bchunked") + chunk(INNER),
    "xchunked": get("Transfer-Encoding: xchunked") + chunk(INNER),
    "identity": get("Transfer-Encoding: identity") + INNER,
    "gzip, chunked": get("Transfer-Encoding: gzip, chunked") + chunk(INNER),
    "chunked, chunked": get("Transfer-Encoding: chunked, chunked") + chunk(INNER),
    "two encodings": get("Transfer-Encoding: chunked", "Transfer-Encoding: x") + chunk(INNER),
    "an empty encoding": get("Transfer-Encoding:") + chunk(INNER),
    "a folded encoding": get("Transfer-Encoding:", " chunked") + chunk(INNER),
    "a folded header": get("X: a", f" Content-Length: {len(INNER)}") + INNER,
    "bare line feeds": get("Transfer-Encoding: chunked").replace(b"\r\n", b"\n") + chunk(INNER, b"\n"),
    "a bare line feed in a header": get("X: a\nTransfer-Encoding: chunked") + chunk(INNER),
    "a bare carriage return": get("X: a\rTransfer-Encoding: chunked") + chunk(INNER),
    "a NUL in a header": get("X: a\0b\r\nTransfer-Encoding: chunked") + chunk(INNER),
    "a blank line first": b"\r\n" + INNER,
    "HTTP/1.0 and chunks": get("Transfer-Encoding: chunked").replace(b"1.1", b"1.0", 1) + chunk(INNER),
    "HTTP/0.9": b"GET /\r\n" + INNER,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + INNER,
    "pipelined": get().replace(CLOSE, b"") + INNER,
    "pipelined behind a length of 0": get("Content-Length: 0").replace(CLOSE, b"") + INNER,
    "a request line in a request line": b"GET / HTTP/1.1\rPOST / HTTP/1.1\r\nHost: a\r\n\r\n" + INNER,
    "a version of another kind": get().replace(b"HTTP/1.1", b"HTTP/1.9") + INNER,
    "no version": get().replace(b" HTTP/1.1", b"", 1) + INNER,
    "a tab between": get().replace(b"GET /", b"GET\t/", 1),
    "two blanks": build_request("POST", ACTION, BODY).replace(b"POST /", b"POST  /", 1),
    "a blank first": b" " + INNER,
    "Expect: 100-continue": build_request("GET", "/", INNER, "Expect: 100-continue"),
    "Connection: Content-Length": build_request("POST", ACTION, BODY).replace(b"close", b"close, Content-Length"),
    "a chunk with an extension": get("Transfer-Encoding: chunked") + chunk(INNER).replace(b"\r\n", b";a=b\n\r\n", 1),
    "a trailer": get("Transfer-Encoding: chunked") + b"0\r\nContent-Length: 99\r\n\r\n" + INNER,
}  # fmt: skip


@pytest.mark.parametrize("name", SMUGGLED)
def test_nova_receives_no_body_and_no_method_that_has_one(split: Split, name: str) -> None:
    """Whatever a server behind it makes of what it receives: nothing in it can be taken for an action."""
    split.front.send_raw(SMUGGLED[name])
    nova, _ = split.take_requests()
    for request in nova:
        assert request.method.decode() in STRAIGHT
        assert request.body == b""
        assert request.header("Transfer-Encoding") is None
        assert request.header("Content-Length") in (None, b"0", b"000")
        assert b"\n" not in request.head.replace(b"\r\n", b"")
        assert b"\r" not in request.head.replace(b"\r\n", b"")


def test_smuggled_request_would_be_seen(split: Split) -> None:
    """Guard the test above: what is smuggled there is a request that would be run."""
    split.front.send_raw(SMUGGLED["pipelined"])
    nova, gateway = split.take_requests()
    assert ([request.method for request in nova], [request.method for request in gateway]) == ([b"GET"], [b"POST"])
    assert gateway[0].body == BODY


def test_no_tunnel_is_opened(split: Split) -> None:
    """An Apache in front of Nova may speak HTTP/2 in clear when asked: a tunnel that nothing is judged in."""
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
    with split.front.connect() as connection:
        connection.sendall(build_request("GET", "/", b"", *upgrade).replace(CLOSE, b""))
        assert connection.recv(4096)
    nova, gateway = split.take_requests()
    assert (len(nova), gateway) == (1, [])
    assert nova[0].header("Upgrade") is None
    assert b"upgrade" not in (nova[0].header("Connection") or b"").lower()


# --- headers

FORGED = (
    "X_Roles: admin",
    "X_Forwarded_Host: evil.example",
    "Content_Type: text/html",
    "X.Roles: admin",
    "Forwarded: for=192.0.2.66;host=evil.example",
    "X-Forwarded-Prefix: /evil",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Proto: gopher",
    "X-Forwarded-For: 192.0.2.66",
)


@pytest.mark.parametrize(("method", "body"), [("GET", b""), ("POST", BODY)], ids=["GET", "POST"])
def test_headers_that_only_a_front_may_set_are_replaced(split: Split, method: str, body: bytes) -> None:
    split.front.send_raw(build_request(method, ACTION, body, *FORGED))
    nova, gateway = split.take_requests()
    [request] = nova + gateway
    assert b"_roles" not in request.head.lower()
    assert b"_forwarded" not in request.head.lower()
    assert b"content_type" not in request.head.lower()
    assert b"evil" not in request.head
    assert request.header("Host") == b"compute.example"
    assert request.header("X-Forwarded-Host") == b"compute.example"
    assert request.header("X-Forwarded-Proto") == b"https"
    assert request.header("X-Forwarded-For") == b"127.0.0.1", "oslo takes all of it for the address"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_header_does_not_override_the_method(split: Split, method: str, header: str) -> None:
    split.front.send_raw(build_request(method, ACTION, b"", f"{header}: POST"))
    nova, gateway = split.take_requests()
    assert ([(request.method, request.body) for request in nova], gateway) == ([(method.encode(), b"")], [])


# --- bodies and slow clients


@pytest.mark.parametrize("size", [114688, 114689, 900_000])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_body_over_the_limit_is_refused_by_the_front(split: Split, size: int, is_chunked: bool) -> None:
    """A gateway would answer before it has read it."""
    request = build_request("POST", ACTION, b"x" * size)
    if is_chunked:
        head = build_request("POST", ACTION, b"", "Transfer-Encoding: chunked")
        request = head + chunked([b"x" * size])
    response = split.front.send_raw(request)
    nova, gateway = split.take_requests()
    received = [len(request.body) for request in gateway]
    if size > 114688:
        assert (read_status(response), received, nova) == (b"413", [], [])
    else:
        assert (read_status(response), received, nova) == (b"200", [size], [])


def test_long_head_and_long_body_are_passed_on_whole(split: Split) -> None:
    headers = [f"X-Long-{number}: {'x' * 4000}" for number in range(7)]
    split.front.send_raw(build_request("POST", ACTION, b"x" * 114688, *headers))
    nova, gateway = split.take_requests()
    assert ([len(request.body) for request in gateway], nova) == ([114688], [])


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT"])
@pytest.mark.parametrize(
    "path", ["/healthcheck", "/healthcheck/live", "//healthcheck", "/%68ealthcheck", "/healthcheck/", "/healthcheck?x"]
)
def test_health_of_the_gateways_is_nobody_s_business(split: Split, method: str, path: str) -> None:
    response = split.front.send_raw(build_request(method, path, b"", "Content-Length: 0"))
    assert (read_status(response), split.take_requests()) == (b"404", ([], []))


def test_slow_request_is_passed_on_when_it_is_complete(split: Split) -> None:
    """No thread of a gateway waits for the client."""
    data = build_request("POST", ACTION, BODY)
    with split.front.connect() as connection:
        for part in (data[:40], data[40:-10]):
            connection.sendall(part)
            time.sleep(0.5)  # long enough to be passed on
            assert split.take_requests() == ([], [])
        connection.sendall(data[-10:])
        assert b"200 OK" in connection.recv(4096)
    assert [request.body for request in split.gateway.take_requests()] == [BODY]


def test_client_that_waits_for_100_continue_gets_it(split: Split) -> None:
    head, _, body = build_request("POST", ACTION, BODY, "Expect: 100-continue").partition(b"\r\n\r\n")
    with split.front.connect() as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 Continue\r\n")
        connection.sendall(body)
        assert b"200 OK" in connection.recv(4096)
    assert [request.body for request in split.gateway.take_requests()] == [BODY]

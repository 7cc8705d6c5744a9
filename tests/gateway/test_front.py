"""nginx and haproxy in front: what can make an image goes through the gateway, however it is written."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.gateway.front import FRONTS, Front, Heard, Wire, prepare, serve_front
from tests.gateway.servers import free_port

STRAIGHT = ("GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE")
ACTION = "/v2.1/servers/11111111-2222-4333-8444-555555555555/action"
BODY = b'{"createImage": {"name": "x"}}'


class Split(NamedTuple):
    """A front, and what stands behind it: what went the one way and what went the other."""

    front: Front
    nova: Wire
    gateway: Wire

    def heard(self) -> tuple[list[Heard], list[Heard]]:
        return self.nova.heard(), self.gateway.heard()


@pytest.fixture(scope="module", params=FRONTS)
def split(request: pytest.FixtureRequest) -> Iterator[Split]:
    nova, gateway = Wire("nova"), Wire("gateway")
    with serve_front(request.param, nova.port, [gateway.port] * 2) as front:
        yield Split(front, nova, gateway)
    nova.close()
    gateway.close()


@pytest.mark.parametrize("fail_open", [False, True], ids=["fail closed", "fail open"])
@pytest.mark.parametrize("kind", FRONTS)
def test_the_shipped_file_is_valid(kind: str, fail_open: bool, tmp_path: Path) -> None:
    command, _ = prepare(kind, free_port(), 9, [9, 9], fail_open, tmp_path)
    check = "-t" if kind == "nginx" else "-c"
    done = subprocess.run([*command, check], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in (done.stdout + done.stderr).lower(), done.stderr


def request_of(method: str, target: str, body: bytes = b"", *headers: str) -> bytes:
    """The bytes of a request, which asks for the connection to be closed behind it."""
    length = [f"Content-Length: {len(body)}"] if body else []
    lines = [f"{method} {target} HTTP/1.1", "Host: compute.example", "Connection: close", *length, *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@pytest.mark.parametrize("method", STRAIGHT)
@pytest.mark.parametrize("length", [(), ("Content-Length: 0",), ("Content-Length: 000",)], ids=str)
def test_straight_to_nova_goes_what_it_reads_no_body_of(split: Split, method: str, length: tuple[str, ...]) -> None:
    came = split.front.send(request_of(method, f"{ACTION}?a=b", b"", *length))
    nova, gateway = split.heard()
    assert gateway == []
    if method == "TRACE" and split.front.kind == "nginx":
        assert (nova, came[9:12]) == ([], b"405")
        return
    assert (len(nova), came[9:12]) == (1, b"200")
    assert nova[0].head.startswith(f"{method} {ACTION}?a=b HTTP/1.1\r\n".encode())


METHODS = [
    *("POST", "PUT", "post", "PoST", "Put", "get", "Get", "gET", "head", "delete", "patch", "PROPFIND", "FOO", "MKCOL"),
    *("GETS", "POST-", "_POST", "QUERY", "GE", "COPY", "LOCK", "CONNECT", "P", "X" * 200, "GET\x0b", "G\xcbT"),
]


@pytest.mark.parametrize("method", METHODS)
def test_every_other_method_goes_through_the_gateway_or_nowhere(split: Split, method: str) -> None:
    came = split.front.send(request_of(method, f"{ACTION}?_method=POST", BODY))
    nova, gateway = split.heard()
    assert nova == []
    if gateway:
        assert [(each.method.decode("latin-1"), each.body) for each in gateway] == [(method, BODY)]
    else:
        assert came[9:12] in (b"400", b"405"), came
    assert gateway or method not in ("POST", "PUT", "PROPFIND", "FOO", "COPY")


@pytest.mark.parametrize("method", STRAIGHT)
def test_with_a_body_everything_goes_through_the_gateway(split: Split, method: str) -> None:
    """A server that leaves the body of a GET unread may take it for the next request on that connection."""
    inner = request_of("POST", ACTION, BODY)
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)
    for data in (
        request_of(method, ACTION, inner),
        request_of(method, ACTION, b"", "Transfer-Encoding: chunked") + chunks,
    ):
        split.front.send(data)
        nova, gateway = split.heard()
        assert nova == []
        assert [each.method for each in gateway] in ([], [method.encode()])
        assert gateway or (method, split.front.kind) == ("TRACE", "nginx")


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
def test_the_path_decides_nothing_and_arrives_as_it_was_sent(split: Split, method: str, target: str) -> None:
    came = split.front.send(request_of(method, target, BODY))
    nova, gateway = split.heard()
    assert nova == []
    if not gateway:
        assert came[9:12] in (b"400", b"404"), came
        return
    sent = target.removeprefix("http://compute.example").removeprefix("http://other.example")
    assert [each.target.decode("latin-1") for each in gateway] in ([target], [sent], [sent.partition("#")[0]])
    assert gateway[0].body == BODY


@pytest.mark.parametrize(
    "target", ["//v2.1//servers", "/v2.1/a%2Fb/%61", "/v2.1/a/./b/../c", "/v2.1/a?b=%2F&c=d?e", "/v2.1/a?"]
)
def test_what_goes_straight_arrives_as_it_was_sent(split: Split, target: str) -> None:
    split.front.send(request_of("GET", target))
    nova, gateway = split.heard()
    assert ([each.target.decode() for each in nova], gateway) == ([target], [])


def chunked(body: bytes, end: bytes = b"\r\n") -> bytes:
    return b"%x%b%b%b0%b%b" % (len(body), end, body, end, end, end)


def get(*headers: str) -> bytes:
    return request_of("GET", "/", b"", *headers)


CLOSE = b"Connection: close\r\n"
INNER = request_of("POST", ACTION, BODY)
SMUGGLED = {
    "CL.TE": get("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + INNER,
    "CL 0 and TE": get("Content-Length: 0", "Transfer-Encoding: chunked") + chunked(INNER),
    "TE.CL": get("Transfer-Encoding: chunked", "Content-Length: 4") + chunked(INNER),
    "two lengths": get("Content-Length: 0", f"Content-Length: {len(INNER)}") + INNER,
    "two lengths, the other way": get(f"Content-Length: {len(INNER)}", "Content-Length: 0") + INNER,
    "a list of lengths": get(f"Content-Length: 0, {len(INNER)}") + INNER,
    "Content-Length: +n": get(f"Content-Length: +{len(INNER)}") + INNER,
    "Content-Length: -0": get("Content-Length: -0") + INNER,
    "Content-Length: 0x0": get("Content-Length: 0x0") + INNER,
    "Content-Length of nothing": get("Content-Length:") + INNER,
    "a length over 64 bits": get("Content-Length: 18446744073709551616") + INNER,
    "Content_Length": get(f"Content_Length: {len(INNER)}") + INNER,
    "Transfer_Encoding": get("Transfer_Encoding: chunked") + chunked(INNER),
    "a blank before the colon": get("Transfer-Encoding : chunked") + chunked(INNER),
    "a tab after the colon": get("Transfer-Encoding:\tchunked") + chunked(INNER),
    "a vertical tab": get("Transfer-Encoding: \x0bchunked") + chunked(INNER),
    "xchunked": get("Transfer-Encoding: xchunked") + chunked(INNER),
    "identity": get("Transfer-Encoding: identity") + INNER,
    "gzip, chunked": get("Transfer-Encoding: gzip, chunked") + chunked(INNER),
    "chunked, chunked": get("Transfer-Encoding: chunked, chunked") + chunked(INNER),
    "two encodings": get("Transfer-Encoding: chunked", "Transfer-Encoding: x") + chunked(INNER),
    "an empty encoding": get("Transfer-Encoding:") + chunked(INNER),
    "a folded encoding": get("Transfer-Encoding:", " chunked") + chunked(INNER),
    "a folded header": get("X: a", f" Content-Length: {len(INNER)}") + INNER,
    "bare line feeds": get("Transfer-Encoding: chunked").replace(b"\r\n", b"\n") + chunked(INNER, b"\n"),
    "a bare line feed in a header": get("X: a\nTransfer-Encoding: chunked") + chunked(INNER),
    "a bare carriage return": get("X: a\rTransfer-Encoding: chunked") + chunked(INNER),
    "a NUL in a header": get("X: a\0b\r\nTransfer-Encoding: chunked") + chunked(INNER),
    "a blank line first": b"\r\n" + INNER,
    "HTTP/1.0 and chunks": get("Transfer-Encoding: chunked").replace(b"1.1", b"1.0", 1) + chunked(INNER),
    "HTTP/0.9": b"GET /\r\n" + INNER,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + INNER,
    "pipelined": get().replace(CLOSE, b"") + INNER,
    "pipelined behind a length of 0": get("Content-Length: 0").replace(CLOSE, b"") + INNER,
    "a request line in a request line": b"GET / HTTP/1.1\rPOST / HTTP/1.1\r\nHost: a\r\n\r\n" + INNER,
    "a version of another kind": get().replace(b"HTTP/1.1", b"HTTP/1.9") + INNER,
    "no version": get().replace(b" HTTP/1.1", b"", 1) + INNER,
    "a tab between": get().replace(b"GET /", b"GET\t/", 1),
    "two blanks": request_of("POST", ACTION, BODY).replace(b"POST /", b"POST  /", 1),
    "a blank first": b" " + INNER,
    "Expect: 100-continue": request_of("GET", "/", INNER, "Expect: 100-continue"),
    "Connection: Content-Length": request_of("POST", ACTION, BODY).replace(b"close", b"close, Content-Length"),
    "a chunk with an extension": get("Transfer-Encoding: chunked") + chunked(INNER).replace(b"\r\n", b";a=b\n\r\n", 1),
    "a trailer": get("Transfer-Encoding: chunked") + b"0\r\nContent-Length: 99\r\n\r\n" + INNER,
}  # fmt: skip


@pytest.mark.parametrize("name", SMUGGLED)
def test_nova_hears_no_body_and_no_method_that_has_one(split: Split, name: str) -> None:
    """Whatever a server behind us makes of what it is sent: there is nothing in it to be taken for an action."""
    split.front.send(SMUGGLED[name])
    nova, _ = split.heard()
    for each in nova:
        assert each.method.decode() in STRAIGHT
        assert each.body == b""
        assert each.header("Transfer-Encoding") is None
        assert each.header("Content-Length") in (None, b"0", b"000")
        assert b"\n" not in each.head.replace(b"\r\n", b"")
        assert b"\r" not in each.head.replace(b"\r\n", b"")


def test_a_request_behind_another_is_seen(split: Split) -> None:
    """The guard of the test above: what is smuggled there is a request that would be run."""
    split.front.send(SMUGGLED["pipelined"])
    nova, gateway = split.heard()
    assert ([each.method for each in nova], [each.method for each in gateway]) == ([b"GET"], [b"POST"])
    assert gateway[0].body == BODY


def test_no_tunnel_is_opened(split: Split) -> None:
    """An Apache in front of Nova may speak HTTP/2 in clear when asked: a tunnel in which nothing is looked at."""
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
    split.front.send(request_of("GET", "/", b"", *upgrade).replace(CLOSE, b""))
    nova, gateway = split.heard()
    assert (len(nova), gateway) == (1, [])
    assert nova[0].header("Upgrade") is None
    assert b"upgrade" not in (nova[0].header("Connection") or b"").lower()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_headers_that_are_not_a_clients_to_send(split: Split, method: str) -> None:
    forged = (
        *("X_Roles: admin", "X_Forwarded_Host: evil.example", "Content_Type: text/html", "X.Roles: admin"),
        *("Forwarded: for=192.0.2.66;host=evil.example", "X-Forwarded-Prefix: /evil"),
        *("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: gopher", "X-Forwarded-For: 192.0.2.66"),
    )
    split.front.send(request_of(method, ACTION, BODY if method == "POST" else b"", *forged))
    nova, gateway = split.heard()
    [heard] = [*nova, *gateway]
    assert b"_roles" not in heard.head.lower()
    assert b"_forwarded" not in heard.head.lower()
    assert b"content_type" not in heard.head.lower()
    assert b"evil" not in heard.head
    assert heard.header("Host") == b"compute.example"
    assert heard.header("X-Forwarded-Host") == b"compute.example"
    assert heard.header("X-Forwarded-Proto") == b"https"
    assert heard.header("X-Forwarded-For") == b"127.0.0.1", "oslo takes all of it for the address"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_header_is_no_method(split: Split, method: str, header: str) -> None:
    split.front.send(request_of(method, ACTION, b"", f"{header}: POST"))
    nova, gateway = split.heard()
    assert ([(each.method, each.body) for each in nova], gateway) == ([(method.encode(), b"")], [])


@pytest.mark.parametrize("size", [114688, 114689, 900_000])
def test_bodies_over_the_limit_are_the_gateways_to_refuse(split: Split, size: int) -> None:
    split.front.send(request_of("POST", ACTION, b"x" * size))
    nova, gateway = split.heard()
    assert ([len(each.body) for each in gateway], nova) == ([size], [])


def test_a_client_that_dawdles_is_the_fronts_to_wait_for(split: Split) -> None:
    """No thread of a gateway waits with it."""
    data = request_of("POST", ACTION, BODY)
    with split.front.connect() as connection:
        for part in (data[:40], data[40:-10]):
            connection.sendall(part)
            time.sleep(0.5)
            assert split.heard() == ([], [])
        connection.sendall(data[-10:])
        assert b"200 OK" in connection.recv(4096)
    assert [each.body for each in split.gateway.heard()] == [BODY]


def test_a_client_that_waits_for_100_continue(split: Split) -> None:
    head, _, body = request_of("POST", ACTION, BODY, "Expect: 100-continue").partition(b"\r\n\r\n")
    with split.front.connect() as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 Continue\r\n")
        connection.sendall(body)
        assert b"200 OK" in connection.recv(4096)
    assert [each.body for each in split.gateway.heard()] == [BODY]

"""What comes back from the compute API: unchanged, streamed, and never cut short without saying so."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.cases import image
from tests.gateway.servers import Asked, Gateway, Upstream, answer, ask, chunked, send_raw, serve_gateway

SERVER = "11111111-2222-4333-8444-555555555555"
ACTION = f"/v2.1/servers/{SERVER}/action"
MB = 1024 * 1024


@pytest.fixture
def gateway(server: str, upstream: Upstream, gateways: Callable[..., Gateway]) -> Gateway:
    return gateways(server=server, compute_url=upstream.url)


def get(gateway: Gateway, method: str = "GET") -> bytes:
    """The answer as it comes over the socket."""
    request = f"{method} /v2.1/servers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    return send_raw(gateway.port, request.encode(), wait=30)


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "300 Multiple Choices", "404 Not Found",
                                    "409 Conflict", "429 Too Many Requests", "500 Internal Server Error",
                                    "503 Service Unavailable", "299 Odd", "599 Odder"])  # fmt: skip
def test_the_status_as_it_is(status: str, gateway: Gateway, upstream: Upstream) -> None:
    upstream.answer(answer(status, b"{}"))
    assert gateway.ask("GET", "/").status == int(status[:3])


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_redirects_are_the_clients_to_follow(status: str, method: str, gateway: Gateway, upstream: Upstream) -> None:
    upstream.answer(answer(status, b"", f"Location: {upstream.url}/elsewhere", "Retry-After: 1"))
    response = gateway.ask(method, ACTION, image() if method == "POST" else None)
    assert (response.status, response.header("Location")) == (int(status[:3]), f"{upstream.url}/elsewhere")
    assert len(upstream.asked) == 1


def test_no_cookies_are_kept(gateway: Gateway, upstream: Upstream) -> None:
    upstream.answer(answer("200 OK", b"", "Set-Cookie: a=b", "Set-Cookie: c=d"))
    response = gateway.ask("GET", "/")
    assert [value for name, value in response.headers if name.lower() == "set-cookie"] == ["a=b", "c=d"]
    gateway.ask("GET", "/")
    assert upstream.asked[-1].header("cookie") is None


def test_headers_of_an_answer(gateway: Gateway, upstream: Upstream) -> None:
    end_to_end = ["Vary: A", "Vary: B", "Link: <x>, <y>", "OpenStack-API-Version: compute 2.45", 'ETag: "x"',
                  "WWW-Authenticate: Keystone", "Retry-After: 7", "Content-Type: application/json"]  # fmt: skip
    hop = [
        "Connection: X-Named",
        "X-Named: x",
        "Keep-Alive: timeout=5",
        "Proxy-Authenticate: x",
        "Trailer: x",
        "Upgrade: h2c",
    ]
    upstream.answer(answer("200 OK", b"{}", *end_to_end, *hop, "X-Folded: a\r\n  b"))
    response = gateway.ask("GET", "/v2.1/servers")
    came = [(name.lower(), value) for name, value in response.headers]
    for line in end_to_end:
        name, _, value = line.partition(": ")
        assert (name.lower(), value) in came
    names = {name for name, _ in came}
    assert not names & {"x-named", "keep-alive", "proxy-authenticate", "trailer", "upgrade"}
    assert " ".join((response.header("X-Folded") or "").split()) == "a b"


def test_an_encoded_body_stays_encoded(gateway: Gateway, upstream: Upstream) -> None:
    body = gzip.compress(b"{}" * 5000)
    upstream.answer(answer("200 OK", body, "Content-Encoding: gzip", "Content-Type: application/json"))
    response = gateway.ask("GET", "/", headers={"Accept-Encoding": "gzip"})
    assert (response.body, response.header("Content-Encoding")) == (body, "gzip")
    assert response.header("Content-Length") == str(len(body))


def test_head(gateway: Gateway, upstream: Upstream) -> None:
    upstream.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nContent-Type: a/b\r\n\r\n")
    came = get(gateway, "HEAD")
    head, _, body = came.partition(b"\r\n\r\n")
    assert (b"content-length: 1234" in head.lower(), body) == (True, b"")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_a_body(status: str, gateway: Gateway, upstream: Upstream) -> None:
    upstream.answer(f'HTTP/1.1 {status}\r\nETag: "x"\r\n\r\n'.encode())
    head, _, body = get(gateway).partition(b"\r\n\r\n")
    assert (head.splitlines()[0].decode(), body) == (f"HTTP/1.1 {status}", b"")
    assert b"transfer-encoding" not in head.lower()


@pytest.mark.parametrize("body", [b"", b"x", b"x" * 100_000, b"y" * (2 * MB)], ids=["0", "1", "100k", "2M"])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_body_comes_whole(body: bytes, framing: str, gateway: Gateway, upstream: Upstream) -> None:
    parts = [body[at : at + 30_000] for at in range(0, len(body), 30_000)]
    upstream.answer({
        "length": answer("200 OK", body),
        # With both, the length does not count (RFC 9112, 6.3); passed on, it would cut the client's answer in two.
        "chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(parts),
        "close": (lambda _, peer: peer.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + body)),
    }[framing])  # fmt: skip
    response = gateway.ask("GET", "/")
    if not body and framing == "close":  # which is what a head looks like that broke off
        assert response.status == 502
        return
    assert (response.status, len(response.body)) == (200, len(body))
    assert response.body == body


def test_the_beginning_does_not_wait_for_the_end(gateway: Gateway, upstream: Upstream) -> None:
    more = threading.Event()

    def slowly(asked: Asked, peer: socket.socket) -> bool:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        more.wait(60)
        peer.sendall(b"def")
        return True

    upstream.answer(slowly)
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.read(3) == b"abc"
    more.set()
    assert response.read() == b"def"
    connection.close()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_200_mb_are_not_held_in_memory(framing: str, gateway: Gateway, upstream: Upstream) -> None:
    count, chunk = 200, b"x" * MB

    def send(asked: Asked, peer: socket.socket) -> bool:
        head = f"Content-Length: {count * MB}" if framing == "length" else "Transfer-Encoding: chunked"
        peer.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        for _ in range(count):
            peer.sendall(chunk if framing == "length" else chunked([chunk], end=False))
        if framing == "chunked":
            peer.sendall(b"0\r\n\r\n")
        return True

    upstream.answer(send)
    assert read_all(gateway) == count * MB  # the first time, buffers of all kinds are made
    before = peak_of(gateway)
    assert read_all(gateway) == count * MB
    assert peak_of(gateway) - before < 2 * MB


def read_all(gateway: Gateway) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=120)
    connection.request("GET", "/")
    response = connection.getresponse()
    size = 0
    while chunk := response.read(MB):
        size += len(chunk)
    connection.close()
    return size


def peak_of(gateway: Gateway) -> int:
    """Most memory that the worker ever held, in bytes."""
    [worker] = [
        pid for pid in gateway.workers() if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    lines = Path(f"/proc/{worker}/status").read_text().splitlines()
    [peak] = [line for line in lines if line.startswith("VmHWM")]
    return int(peak.split()[1]) * 1024


# --- broken off


def broken(asked: Asked, peer: socket.socket) -> None:
    """Answers that end too early; what the client asked for says which."""
    kind = asked.line.split()[1].rpartition("/")[2]
    length = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n"
    many = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    peer.sendall({
        "nothing": b"",
        "status": b"HTTP/1.1 200",
        "headers": b"HTTP/1.1 200 OK\r\nContent-Type: application/j",
        "garbage": b"\x00\x01\x02 no HTTP at all\r\n\r\n",
        "length": length + b"x" * 1000,
        "chunked": many + chunked([b"x" * 1000], end=False),
        "chunk": many + b"ffff\r\nxxx",
        "size": many + b"zz\r\nxxx\r\n0\r\n\r\n",
        "large": many + chunked([b"x" * 100_000] * 15, end=False),
        "lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxx",
    }[kind])  # fmt: skip


@pytest.mark.parametrize("kind", ["nothing", "status", "headers", "garbage", "chunked", "chunk", "size", "lengths"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_that_broke_off_is_a_502(kind: str, method: str, gateway: Gateway, upstream: Upstream) -> None:
    upstream.answer(broken)
    response = gateway.ask(method, f"/v2.1/{kind}", {} if method == "POST" else None)
    assert response.status == 502
    assert response.json == {"computeFault": {"message": "The compute API broke off its answer.", "code": 502}}
    assert len(upstream.asked) == (2 if (method, kind) == ("GET", "nothing") else 1)


def test_an_image_action_is_sent_once_and_its_end_recorded(server: str, upstream: Upstream) -> None:
    with serve_gateway(server, upstream.url) as gateway:
        upstream.answer(lambda asked, peer: None)
        assert gateway.ask("POST", ACTION, image()).status == 502
        [outcome] = gateway.outcomes(1)
    assert len(upstream.asked) == 1
    assert (outcome["attachments"][0]["content"]["status"], outcome["outcome"]) == (502, "failure")


def test_a_length_is_passed_on_so_that_a_short_answer_shows(gateway: Gateway, upstream: Upstream) -> None:
    upstream.answer(broken)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        gateway.ask("GET", "/v2.1/length")
    assert gateway.ask("GET", "/v2.1/nothing").status == 502  # and the worker lives


@pytest.mark.parametrize("server", ["gunicorn"])  # granian ends it as if it were whole, as the docs say
def test_a_long_answer_that_broke_off_breaks_the_connection(gateway: Gateway, upstream: Upstream) -> None:
    upstream.answer(broken)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        gateway.ask("GET", "/v2.1/large")


def test_a_client_that_goes_away_costs_a_connection_not_an_answer(gateway: Gateway, upstream: Upstream) -> None:
    gone = threading.Event()

    def endless(asked: Asked, peer: socket.socket) -> bool:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
        try:
            for _ in range(2000):
                peer.sendall(b"x" * 65536)
        except OSError:
            gone.set()
        return False

    upstream.answer(endless)
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(b"GET /v2.1/servers HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(1000)
    assert gone.wait(60)
    upstream.answer(answer("200 OK", b"next"))
    assert ask(gateway.port, "GET", "/").body == b"next"


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_an_interim_answer_is_never_the_next_requests(status: int, gateway: Gateway, upstream: Upstream) -> None:
    secret = answer("200 OK", b"somebody's own")

    def hinting(asked: Asked, peer: socket.socket) -> bool:
        peer.sendall(f"HTTP/1.1 {status} Soon\r\nLink: <x>\r\n\r\n".encode() + secret)
        return True

    upstream.answer(hinting)
    first = gateway.ask("GET", "/mine")
    assert (first.status, first.body) == (200, b"somebody's own") if status == 100 else first.status == 502
    upstream.answer(answer("200 OK", b"next"))
    for _ in range(10):
        assert gateway.ask("GET", "/next").body == b"next"


def test_more_bytes_than_announced_are_nobodys_answer(gateway: Gateway, upstream: Upstream) -> None:
    upstream.answer(answer("200 OK", b"mine") + answer("200 OK", b"forged"))
    assert gateway.ask("GET", "/mine").body == b"mine"
    upstream.answer(answer("200 OK", b"next"))
    for _ in range(10):
        assert gateway.ask("GET", "/next").body == b"next"


# --- connections that were kept


def closes_after_each(asked: Asked, peer: socket.socket) -> bool:
    peer.sendall(answer("200 OK", b"{}"))
    return False


def test_a_stale_connection_is_noticed(gateway: Gateway, upstream: Upstream) -> None:
    for method in ("GET", "GET", "POST", "DELETE", "GET"):
        upstream.answer(closes_after_each)
        assert gateway.ask(method, "/v2.1/servers").status == 200
        time.sleep(0.05)
    assert len(upstream.asked) == 5


@pytest.mark.parametrize(("method", "times"), [("GET", 2), ("HEAD", 2), ("OPTIONS", 2), ("POST", 1), ("DELETE", 1)])
def test_what_breaks_before_the_answer_is_sent_again_only_if_nothing_can_run_twice(
    method: str, times: int, gateway: Gateway, upstream: Upstream
) -> None:
    """The other end closes an idle connection just when it is used again: it gets the request, and never answers."""
    first: list[Any] = []

    def once(asked: Asked, peer: socket.socket) -> bool:
        if not first:
            first.append(asked)
            return False
        peer.sendall(answer("200 OK", b""))
        return True

    upstream.answer(once)
    assert gateway.ask(method, "/v2.1/servers").status == (200 if times == 2 else 502)
    assert len(upstream.asked) == times

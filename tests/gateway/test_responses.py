"""The compute API's responses: unchanged, streamed, and never cut short without the client noticing."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.cases import image
from tests.gateway.client import chunked, send_raw, send_request
from tests.gateway.servers import Gateway
from tests.gateway.upstream import ReceivedRequest, Upstream, build_response, close_after_response
from tests.waiting import wait_until

SERVER = "11111111-2222-4333-8444-555555555555"
ACTION = f"/v2.1/servers/{SERVER}/action"
MB = 1024 * 1024


def get_raw(gateway: Gateway, method: str = "GET") -> tuple[bytes, bytes]:
    """Return head and body of a response as they come over the socket."""
    request = f"{method} /v2.1/servers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    head, _, body = send_raw(gateway.port, request.encode(), wait=30).partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "300 Multiple Choices", "404 Not Found",
                                    "409 Conflict", "429 Too Many Requests", "500 Internal Server Error",
                                    "503 Service Unavailable", "299 Odd", "599 Odder"])  # fmt: skip
def test_status_is_unchanged(status: str, gateway: Gateway, upstream: Upstream) -> None:
    upstream.respond(build_response(status, b"{}"))
    assert gateway.send_request("GET", "/").status == int(status[:3])


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize(("method", "document"), [("GET", None), ("POST", image())], ids=["GET", "POST"])
def test_redirects_are_not_followed(
    status: str, method: str, document: Any, gateway: Gateway, upstream: Upstream
) -> None:
    upstream.respond(build_response(status, b"", f"Location: {upstream.url}/elsewhere", "Retry-After: 1"))
    response = gateway.send_request(method, ACTION, document)
    assert (response.status, response.header("Location")) == (int(status[:3]), f"{upstream.url}/elsewhere")
    assert len(upstream.requests) == 1


def test_cookies_are_passed_on_and_not_kept(gateway: Gateway, upstream: Upstream) -> None:
    upstream.respond(build_response("200 OK", b"", "Set-Cookie: a=b", "Set-Cookie: c=d"))
    assert gateway.send_request("GET", "/").header_values("Set-Cookie") == ["a=b", "c=d"]
    gateway.send_request("GET", "/")
    assert upstream.requests[-1].header("cookie") is None


END_TO_END = {
    ("Vary", "A"),
    ("Vary", "B"),
    ("Link", "<x>, <y>"),
    ("OpenStack-API-Version", "compute 2.45"),
    ("ETag", '"x"'),
    ("WWW-Authenticate", "Keystone"),
    ("Retry-After", "7"),
    ("Content-Type", "application/json"),
}
HOP_BY_HOP = {
    ("Connection", "X-Named"),
    ("X-Named", "x"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Authenticate", "x"),
    ("Trailer", "x"),
    ("Upgrade", "h2c"),
}


def test_end_to_end_headers_are_passed_on_and_no_others(gateway: Gateway, upstream: Upstream) -> None:
    lines = [f"{name}: {value}" for name, value in sorted(END_TO_END) + sorted(HOP_BY_HOP)]
    upstream.respond(build_response("200 OK", b"{}", *lines, "X-Folded: a\r\n  b"))
    response = gateway.send_request("GET", "/v2.1/servers")
    received = {(name.lower(), value) for name, value in response.headers}
    assert {(name.lower(), value) for name, value in END_TO_END} <= received
    names = {name for name, _ in received}
    assert not names & {"x-named", "keep-alive", "proxy-authenticate", "trailer", "upgrade"}
    assert (response.header("X-Folded") or "").split() == ["a", "b"]


def test_encoded_body_stays_encoded(gateway: Gateway, upstream: Upstream) -> None:
    body = gzip.compress(b"{}" * 5000)
    upstream.respond(build_response("200 OK", body, "Content-Encoding: gzip", "Content-Type: application/json"))
    response = gateway.send_request("GET", "/", headers={"Accept-Encoding": "gzip"})
    assert (response.body, response.header("Content-Encoding")) == (body, "gzip")
    assert response.header("Content-Length") == str(len(body))


def test_response_to_head_keeps_its_length(gateway: Gateway, upstream: Upstream) -> None:
    upstream.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nContent-Type: a/b\r\n\r\n")
    head, body = get_raw(gateway, "HEAD")
    assert (b"content-length: 1234" in head.lower(), body) == (True, b"")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_response_without_a_body_stays_without(status: str, gateway: Gateway, upstream: Upstream) -> None:
    upstream.respond(f'HTTP/1.1 {status}\r\nETag: "x"\r\n\r\n'.encode())
    head, body = get_raw(gateway)
    assert (head.splitlines()[0].decode(), body) == (f"HTTP/1.1 {status}", b"")
    assert b"transfer-encoding" not in head.lower()


BODIES = {"0": b"", "1": b"x", "100k": b"x" * 100_000, "2M": b"y" * (2 * MB)}
CLOSED_AT_ITS_END = b"HTTP/1.0 200 OK\r\n\r\n"


def frame_by_length(body: bytes) -> bytes:
    return build_response("200 OK", body)


def frame_by_chunks(body: bytes) -> bytes:
    parts = [body[start : start + 30_000] for start in range(0, len(body), 30_000)]
    # With both, the length does not count (RFC 9112, 6.3); passed on, it would cut the client's response in two.
    return b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(parts)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("frame", [frame_by_length, frame_by_chunks])
def test_body_comes_whole(body: bytes, frame: Any, gateway: Gateway, upstream: Upstream) -> None:
    upstream.respond(frame(body))
    response = gateway.send_request("GET", "/")
    assert (response.status, len(response.body)) == (200, len(body))
    assert response.body == body


@pytest.mark.parametrize("size", ["1", "100k", "2M"])
def test_body_that_ends_with_the_connection_comes_whole(size: str, gateway: Gateway, upstream: Upstream) -> None:
    upstream.respond(lambda _, connection: connection.sendall(CLOSED_AT_ITS_END + BODIES[size]))
    response = gateway.send_request("GET", "/")
    assert (response.status, len(response.body)) == (200, len(BODIES[size]))
    assert response.body == BODIES[size]


def test_empty_body_that_ends_with_the_connection_is_a_502(gateway: Gateway, upstream: Upstream) -> None:
    """A head that broke off looks the same."""
    upstream.respond(lambda _, connection: connection.sendall(CLOSED_AT_ITS_END))
    assert gateway.send_request("GET", "/").status == 502


def test_beginning_does_not_wait_for_the_end(gateway: Gateway, upstream: Upstream) -> None:
    more = threading.Event()

    def send_in_two_parts(request: ReceivedRequest, connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        more.wait(60)
        connection.sendall(b"def")
        return True

    upstream.respond(send_in_two_parts)
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.read(3) == b"abc"
    more.set()
    assert response.read() == b"def"
    connection.close()


# --- large responses


def send_by_length(connection: socket.socket, chunks: int) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (chunks * MB))
    for _ in range(chunks):
        connection.sendall(b"x" * MB)


def send_in_chunks(connection: socket.socket, chunks: int) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(chunks):
        connection.sendall(chunked([b"x" * MB], end=False))
    connection.sendall(b"0\r\n\r\n")


@pytest.mark.parametrize("send", [send_by_length, send_in_chunks])
def test_200_mb_are_not_held_in_memory(send: Any, gateway: Gateway, upstream: Upstream) -> None:
    def send_megabytes(request: ReceivedRequest, connection: socket.socket) -> bool:
        send(connection, int(request.target.removeprefix("/")))
        return True

    upstream.respond(send_megabytes)
    assert read_megabytes(gateway, 20) == 20 * MB  # the first time, buffers of all kinds are made
    [worker] = gateway.workers()
    before = reset_peak_memory(worker)
    assert read_megabytes(gateway, 200) == 200 * MB
    assert peak_memory(worker) - before < 2 * MB


def read_megabytes(gateway: Gateway, megabytes: int) -> int:
    """Ask for a response of this size; return the size of the body that came."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=120)
    connection.request("GET", f"/{megabytes}")
    response = connection.getresponse()
    size = 0
    while chunk := response.read(MB):
        size += len(chunk)
    connection.close()
    return size


def reset_peak_memory(pid: int) -> int:
    """Make a process's present memory its peak; return it, in bytes."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_memory(pid)


def peak_memory(pid: int) -> int:
    """Return the most memory that a process held since :func:`reset_peak_memory`, in bytes."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


# --- responses that break off

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN_HEADS = {
    "nothing": b"",
    "status": b"HTTP/1.1 200",
    "headers": b"HTTP/1.1 200 OK\r\nContent-Type: application/j",
    "garbage": b"\x00\x01\x02 no HTTP at all\r\n\r\n",
    "lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxx",
}
BROKEN_BODIES = {
    "chunked": CHUNKED + chunked([b"x" * 1000], end=False),
    "chunk": CHUNKED + b"ffff\r\nxxx",
    "size": CHUNKED + b"zz\r\nxxx\r\n0\r\n\r\n",
}
SHORT = LENGTH + b"x" * 1000
LONG_AND_BROKEN = CHUNKED + chunked([b"x" * 100_000] * 15, end=False)


def respond_and_close(upstream: Upstream, response: bytes) -> None:
    upstream.respond(lambda _, connection: connection.sendall(response))


@pytest.mark.parametrize(
    ("method", "document", "kind", "times"),
    [
        ("GET", None, "nothing", 2),  # sent again: a kept connection may have been closed just then
        ("GET", None, "status", 1),
        ("GET", None, "headers", 1),
        ("GET", None, "garbage", 1),
        ("GET", None, "lengths", 1),
        ("GET", None, "chunked", 1),
        ("GET", None, "chunk", 1),
        ("GET", None, "size", 1),
        ("POST", {}, "nothing", 1),
        ("POST", {}, "status", 1),
        ("POST", {}, "headers", 1),
        ("POST", {}, "garbage", 1),
        ("POST", {}, "lengths", 1),
        ("POST", {}, "chunked", 1),
        ("POST", {}, "chunk", 1),
        ("POST", {}, "size", 1),
    ],
)
def test_response_that_breaks_off_is_a_502(
    method: str, document: Any, kind: str, times: int, gateway: Gateway, upstream: Upstream
) -> None:
    respond_and_close(upstream, {**BROKEN_HEADS, **BROKEN_BODIES}[kind])
    response = gateway.send_request(method, f"/v2.1/{kind}", document)
    assert response.status == 502
    assert response.json == {"computeFault": {"message": "The compute API broke off its response.", "code": 502}}
    assert len(upstream.requests) == times


def test_broken_image_action_is_sent_once_and_its_outcome_recorded(gateway: Gateway, upstream: Upstream) -> None:
    respond_and_close(upstream, b"")
    response = gateway.send_request("POST", ACTION, image())
    outcome = gateway.wait_for_outcome(response)
    assert (response.status, len(upstream.requests)) == (502, 1)
    assert (outcome["attachments"][0]["content"]["status"], outcome["outcome"]) == (502, "failure")


def test_response_shorter_than_its_length_is_noticed_by_the_client(gateway: Gateway, upstream: Upstream) -> None:
    respond_and_close(upstream, SHORT)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        gateway.send_request("GET", "/v2.1/length")
    respond_and_close(upstream, b"")
    assert gateway.send_request("GET", "/v2.1/nothing").status == 502  # and the worker lives


@pytest.mark.parametrize("server", ["gunicorn"])  # granian ends it as if it were whole, as the docs say
def test_long_response_that_breaks_off_breaks_the_connection(gateway: Gateway, upstream: Upstream) -> None:
    respond_and_close(upstream, LONG_AND_BROKEN)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        gateway.send_request("GET", "/v2.1/large")


def test_client_that_goes_away_does_not_spoil_the_next_response(gateway: Gateway, upstream: Upstream) -> None:
    gone = threading.Event()

    def send_without_end(request: ReceivedRequest, connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
        try:
            for _ in range(2000):
                connection.sendall(b"x" * 65536)
        except OSError:
            gone.set()
        return False

    upstream.respond(send_without_end)
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(b"GET /v2.1/servers HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(1000)
    assert gone.wait(60)
    upstream.respond(build_response("200 OK", b"next"))
    assert send_request(gateway.port, "GET", "/").body == b"next"


def assert_next_responses_are_their_own(gateway: Gateway, upstream: Upstream) -> None:
    upstream.respond(build_response("200 OK", b"next"))
    for _ in range(10):
        assert gateway.send_request("GET", "/next").body == b"next"


def test_final_response_after_100_is_the_response(gateway: Gateway, upstream: Upstream) -> None:
    upstream.respond(b"HTTP/1.1 100 Soon\r\nLink: <x>\r\n\r\n" + build_response("200 OK", b"somebody's own"))
    response = gateway.send_request("GET", "/mine")
    assert (response.status, response.body) == (200, b"somebody's own")
    assert_next_responses_are_their_own(gateway, upstream)


@pytest.mark.parametrize("status", [102, 103, 199])
def test_final_response_after_an_interim_one_is_nobodys(status: int, gateway: Gateway, upstream: Upstream) -> None:
    interim = f"HTTP/1.1 {status} Soon\r\nLink: <x>\r\n\r\n".encode()
    upstream.respond(interim + build_response("200 OK", b"somebody's own"))
    assert gateway.send_request("GET", "/mine").status == 502
    assert_next_responses_are_their_own(gateway, upstream)


def test_more_bytes_than_announced_are_nobodys_response(gateway: Gateway, upstream: Upstream) -> None:
    upstream.respond(build_response("200 OK", b"mine") + build_response("200 OK", b"forged"))
    assert gateway.send_request("GET", "/mine").body == b"mine"
    assert_next_responses_are_their_own(gateway, upstream)


# --- connections that are kept


def test_closed_connection_is_noticed(gateway: Gateway, upstream: Upstream) -> None:
    upstream.respond(close_after_response)
    for method in ("GET", "GET", "POST", "DELETE", "GET"):
        assert gateway.send_request(method, "/v2.1/servers").status == 200
        wait_until(lambda: not upstream.has_connections)
    assert len(upstream.requests) == 5


@pytest.mark.parametrize(
    ("method", "times", "status"),
    [("GET", 2, 200), ("HEAD", 2, 200), ("OPTIONS", 2, 200), ("POST", 1, 502), ("DELETE", 1, 502)],
)
def test_only_what_can_run_twice_is_sent_again(
    method: str, times: int, status: int, gateway: Gateway, upstream: Upstream
) -> None:
    """The other end closes an idle connection just when it is used again: it gets the request, and never responds."""

    def close_the_first_time(request: ReceivedRequest, connection: socket.socket) -> bool:
        if len(upstream.requests) == 1:
            return False
        connection.sendall(build_response("200 OK", b""))
        return True

    upstream.respond(close_the_first_time)
    assert gateway.send_request(method, "/v2.1/servers").status == status
    assert len(upstream.requests) == times

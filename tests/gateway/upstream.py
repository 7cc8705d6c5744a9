"""A compute API of bare sockets: it records what it receives to the byte, and responds as a test tells it to."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import Any, Callable, NamedTuple, Optional


class ReceivedRequest(NamedTuple):
    """A request as it came over a socket."""

    line: str  # method, target, version
    headers: list[tuple[str, str]]
    body: bytes  # all that came after the head and before the response
    connection: int  # number of the connection that it came on

    @property
    def target(self) -> str:
        return self.line.split()[1]

    @property
    def is_health_check(self) -> bool:
        """Whether it is the gateway's own health check."""
        agent = self.header("user-agent") or ""
        return self.line == "GET / HTTP/1.1" and agent.startswith("python-urllib3")

    def header(self, name: str) -> str | None:
        """Return the value of a header, None if it is not there.

        :raises AssertionError: if it is there twice.
        """
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, values
        if not values:
            return None
        return values[0]

    def header_names(self) -> set[str]:
        """Return the names of all headers, in lower case."""
        return {name.lower() for name, _ in self.headers}


#: Responds to a request; True keeps the connection open.
Handler = Callable[[ReceivedRequest, socket.socket], Optional[bool]]


def build_response(status: str = "200 OK", body: bytes = b"", *headers: str) -> bytes:
    """Return a response as bytes, with a Content-Length."""
    head = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Upstream:
    """A server in the place of the compute API. Each connection has a thread of its own.

    ``requests`` are those that it received, without the gateway's own health checks. ``tls`` is the context of new
    connections.
    """

    def __init__(self, response: Handler | bytes = b"", tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.requests: list[ReceivedRequest] = []
        self._handler: Handler
        self.tls = tls
        self._connections: set[socket.socket] = set()
        self.respond(response or build_response())
        self._socket = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        scheme = "http"
        if self.tls:
            scheme = "https"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def request(self) -> ReceivedRequest:
        """The only request that it received."""
        [request] = self.requests
        return request

    @property
    def has_connections(self) -> bool:
        return bool(self._connections)

    def respond(self, response: Handler | bytes) -> None:
        """Respond like this from now on."""
        if isinstance(response, bytes):
            response = _sender(response)
        self._handler = response

    def reset(self) -> None:
        """Forget all requests, break all connections, and respond 200 again."""
        self.break_connections()
        self.requests.clear()
        self.respond(build_response())

    def break_connections(self) -> None:
        """Break all connections, as happens to idle ones."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening, and break all connections."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.break_connections()

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _accept(self) -> None:
        number = 0
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                number += 1
                threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            self._connections.add(connection)
            try:
                with connection, connection.makefile("rb") as stream:
                    self._serve_requests(connection, stream, number)
            finally:
                self._connections.discard(connection)

    def _serve_requests(self, connection: socket.socket, stream: Any, number: int) -> None:
        while request := _read_request(stream, number):
            if not request.is_health_check:
                self.requests.append(request)
            if not self._handler(request, connection):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                return


def close_after_response(request: ReceivedRequest, connection: socket.socket) -> bool:
    """Respond, and close the connection without saying so."""
    connection.sendall(build_response("200 OK", b"{}"))
    return False


def _sender(response: bytes) -> Handler:
    def handle(request: ReceivedRequest, connection: socket.socket) -> bool:
        connection.sendall(response)
        return True

    return handle


def _read_request(stream: Any, number: int) -> ReceivedRequest | None:
    line = stream.readline()
    if not line:
        return None
    headers = []
    for raw in iter(stream.readline, b"\r\n"):
        name, _, value = raw.decode("latin-1").partition(":")
        headers.append((name, value.strip()))
    request = ReceivedRequest(line.decode("latin-1").rstrip("\r\n"), headers, b"", number)
    assert request.header("transfer-encoding") is None
    length = request.header("content-length")
    if length is None:
        return request
    return request._replace(body=stream.read(int(length)))

"""A server behind nginx or haproxy: it keeps what a front sends it, to the byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, NamedTuple

#: What haproxy asks gateways for.
HEALTH = b"/healthcheck/live"


class ReceivedBytes(NamedTuple):
    """A request as a front passed it on."""

    head: bytes
    body: bytes

    @property
    def method(self) -> bytes:
        return self.head.split(b" ", 1)[0]

    @property
    def target(self) -> bytes:
        return self.head.split(b" ", 2)[1]

    def header(self, name: str) -> bytes | None:
        """Return all values of a header, joined; None if there is none."""
        values = []
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.decode("latin-1").lower() == name.lower():
                values.append(value.strip())
        if not values:
            return None
        return b", ".join(values)


class Backend:
    """A server in the place of Nova or of a gateway; its response has its name in ``X-Way`` and in the body.

    :param mute: hang up on every request but a health check, as a gateway does that dies over it.
    """

    def __init__(self, name: str, port: int = 0, mute: bool = False) -> None:
        self._name = name.encode()
        self._mute = mute
        self._requests: list[ReceivedBytes] = []
        self._socket = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def take_requests(self) -> list[ReceivedBytes]:
        """Return what it received since the last call, without health checks."""
        requests, self._requests = self._requests, []
        return [request for request in requests if request.target != HEALTH]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> Backend:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            while request := _read_request(stream):
                self._requests.append(request)
                if self._mute and request.target != HEALTH:
                    return
                connection.sendall(self._build_response(request))

    def _build_response(self, request: ReceivedBytes) -> bytes:
        head = b"HTTP/1.1 200 OK\r\nX-Way: %b\r\nContent-Length: %d\r\n\r\n" % (self._name, len(self._name))
        if request.method == b"HEAD":
            return head
        return head + self._name


def _read_request(stream: Any) -> ReceivedBytes | None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            break
        head += line
    if not head:
        return None
    request = ReceivedBytes(head, b"")
    return request._replace(body=_read_body(request, stream))


def _read_body(request: ReceivedBytes, stream: Any) -> bytes:
    if request.header("Transfer-Encoding") is None:
        return bytes(stream.read(int(request.header("Content-Length") or b"0")))
    body = b""
    while size := int(stream.readline().partition(b";")[0], 16):
        body += stream.read(size)
        stream.readline()
    while stream.readline().strip():  # trailers
        pass
    return body

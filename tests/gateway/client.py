"""A client that sends a request exactly as a test wants it, and free ports for servers."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

PATIENCE = 60  # seconds: the machine may be slow


class Response(NamedTuple):
    """A response as a client gets it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return all values of a header, joined; None if there is none."""
        values = self.header_values(name)
        if not values:
            return None
        return ", ".join(values)

    def header_values(self, name: str) -> list[str]:
        """Return the values of a header, in the order they came."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The message of a fault."""
        [fault] = self.json.values()
        return str(fault["message"])


def send_request(
    port: int, method: str, target: str, document: Any = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Send one request on a connection of its own.

    :param document: the body if it is bytes, otherwise to be sent as JSON; None is no body.
    """
    body = encode_body(document)
    sent = {"X-Auth-Token": "member", "Content-Type": "application/json", **(headers or {})}
    if body is None:
        del sent["Content-Type"]
    elif "Content-Length" not in sent and "Transfer-Encoding" not in sent:
        sent["Content-Length"] = str(len(body))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.putrequest(method, target, skip_host="Host" in sent, skip_accept_encoding=True)
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return Response(response.status, response.getheaders(), response.read())


def encode_body(document: Any) -> bytes | None:
    """Return a body as it is sent; None if there is none."""
    if document is None or isinstance(document, bytes):
        return document
    return json.dumps(document).encode()


def send_raw(port: int, data: bytes, wait: float = 3.0) -> bytes:
    """Send bytes on one connection; return all that comes back until it is closed, or nothing more comes for a while.

    What is returned ends with ``b"<open>"`` if the other end kept the connection open, with ``b"<reset>"`` if it broke
    it.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        with contextlib.suppress(ConnectionError):  # the other end may refuse before it has read all
            connection.sendall(data)
        connection.settimeout(wait)
        return receive_all(connection)


def receive_all(connection: socket.socket) -> bytes:
    """Return what comes on a connection until its end, see :func:`send_raw`."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except TimeoutError:
        return received + b"<open>"
    except OSError:
        return received + b"<reset>"
    return received


def chunked(parts: list[bytes], end: bool = True) -> bytes:
    """Return a body in chunks; without its end it is broken off."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    if end:
        body += b"0\r\n\r\n"
    return body


def find_free_port() -> int:
    """Return a port of this host that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""The fuzzed part of the gateway: it sends a request over a wire, whose bytes are then read by strict rules.

They must be one request and nothing after it: the judged one, framed by its length alone.
"""

from __future__ import annotations

import io
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection

from imagefilter.gateway.app import Gateway
from imagefilter.gateway.headers import IDENTITY_HEADERS

RESPONSE = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"

# RFC 9112, 3 and 5, and no more than it allows.
_LINE = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.1")
_HEADER = re.compile(rb"([a-z0-9!#$%&'*+.^_`|~-]+): ([^\r\n\0]*)", re.IGNORECASE)
_NEVER_SENT = {b"transfer-encoding", b"te", b"trailer", b"upgrade", b"expect", b"keep-alive", b"proxy-connection"}
_NEVER_SENT.update(name.encode() for name in IDENTITY_HEADERS)


class Wire:
    """The compute API's end of a connection: it keeps what is sent, and responds."""

    def __init__(self) -> None:
        self.sent = b""

    def connect(self, **settings: Any) -> HTTPConnectionPool:
        """Return a pool of one connection to this wire."""
        wire = self

        class Connection(HTTPConnection):
            def _new_conn(self) -> Any:
                return wire

        pool = HTTPConnectionPool("compute", 8774)
        pool.ConnectionCls = Connection  # type: ignore[assignment,misc]
        return pool

    def sendall(self, data: bytes) -> None:
        self.sent += bytes(data)

    def makefile(self, mode: str, *args: Any, **kwargs: Any) -> io.BytesIO:
        return io.BytesIO(RESPONSE)

    def settimeout(self, seconds: float) -> None:
        pass

    def shutdown(self, how: int) -> None:
        pass

    def close(self) -> None:
        pass


def forward(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Forward a request through the gateway, as a WSGI application, and check what it sends.

    :raises AssertionError: if that is not the same request.
    """
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    stream = environ["wsgi.input"]
    body = stream.getvalue()[stream.tell() :]
    wire = Wire()
    statuses: list[str] = []
    given = {"wsgi.url_scheme": "http", "REMOTE_ADDR": "203.0.113.7", **environ}
    response = list(Gateway(wire.connect).forward(given, lambda *args: statuses.append(args[0][:3])))
    [status] = statuses
    if wire.sent:
        assert status == "202"
        _check_sent(wire.sent, environ["REQUEST_METHOD"], path.encode("latin-1"), body)
    else:
        assert status in ("400", "413")
    start_response(f"{status} Forwarded", [])
    return response


def _check_sent(sent: bytes, method: str, path: bytes, body: bytes) -> None:
    """Check the bytes on the wire.

    :param body: the bytes that the client sent; no more of them than the body may be on the wire.
    """
    head, _, sent_body = sent.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    parts = _LINE.fullmatch(line)
    assert parts, line
    assert parts[1] == method.encode()
    assert unquote_to_bytes(parts[2].partition(b"?")[0]) == (path or b"/")
    headers = _parse_headers(lines)
    assert not _NEVER_SENT.intersection(headers), headers
    assert headers.get(b"content-length", b"0") == str(len(sent_body)).encode()
    assert body.startswith(sent_body)
    assert b"host" in headers


def _parse_headers(lines: list[bytes]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        assert header, line
        name = header[1].lower()
        assert name not in headers, lines
        headers[name] = header[2]
    return headers

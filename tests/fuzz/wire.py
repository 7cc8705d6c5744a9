"""What is fuzzed of the gateway: a request goes through it onto a wire, and the bytes there are read by strict rules.

They must be one request and nothing after it, the one that was judged, framed by its length alone.
"""

from __future__ import annotations

import io
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection

from imagefilter.forwarding import IDENTITY_HEADERS
from imagefilter.gateway import Gateway

ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"

# RFC 9112, 3 and 5, and no more than it allows.
_LINE = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.1")
_HEADER = re.compile(rb"([a-z0-9!#$%&'*+.^_`|~-]+): ([^\r\n\0]*)", re.IGNORECASE)
_NEVER = {b"transfer-encoding", b"te", b"trailer", b"upgrade", b"expect", b"keep-alive", b"proxy-connection"}
_NEVER.update(name.encode() for name in IDENTITY_HEADERS)


class Wire:
    """The compute API's end of a connection: keeps what is sent, and answers."""

    def __init__(self) -> None:
        self.sent = b""

    def connect(self, **settings: Any) -> HTTPConnectionPool:
        """A pool of one connection, which ends here."""
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
        return io.BytesIO(ANSWER)

    def settimeout(self, seconds: float) -> None:
        pass

    def shutdown(self, how: int) -> None:
        pass

    def close(self) -> None:
        pass


def forward(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """A compute API behind the gateway: checks what arrives there of the request that the gateway is given.

    :raises AssertionError: if it is not that request.
    """
    method, path = environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    stream = environ["wsgi.input"]
    given = stream.getvalue()[stream.tell() :]
    wire, started = Wire(), []
    environ = {"wsgi.url_scheme": "http", "REMOTE_ADDR": "203.0.113.7", **environ}
    answer = Gateway(wire.connect).forward(environ, lambda *args: started.append(args[0][:3]))
    answer = list(answer)
    assert len(started) == 1
    if wire.sent:
        assert started == ["202"]
        _is_that_request(wire.sent, method, path.encode("latin-1"), given)
    else:
        assert started[0] in ("400", "413"), started
    start_response(f"{started[0]} Forwarded", [])
    return answer


def _is_that_request(sent: bytes, method: str, path: bytes, given: bytes) -> None:
    head, _, body = sent.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    parts = _LINE.fullmatch(line)
    assert parts, line
    assert parts[1] == method.encode()
    assert unquote_to_bytes(parts[2].partition(b"?")[0]) == (path or b"/")
    headers = [_HEADER.fullmatch(each) for each in lines]
    assert all(headers), lines
    names = [header[1].lower() for header in headers if header]
    assert len(set(names)) == len(names), names
    assert not _NEVER.intersection(names), names
    values = {header[1].lower(): header[2] for header in headers if header}
    assert values.get(b"content-length", b"0") == str(len(body)).encode()
    assert given.startswith(body)
    assert b"host" in values

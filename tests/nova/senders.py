"""Send requests of the grammar: into this process, or over HTTP."""

from __future__ import annotations

import contextlib
import http.client
from typing import Any, Callable, NamedTuple

from tests.nova.grammar import Request

_SERVER_HEADERS = ("server", "via", "connection", "keep-alive", "transfer-encoding")


class Response(NamedTuple):
    """A response as the client gets it."""

    status: int  # 0: the application raised
    headers: tuple[tuple[str, str], ...]
    body: bytes


Send = Callable[[Request], Response]


def send_in_process(app: Any, server: str) -> Send:
    """Return a function that sends requests to a WSGI application."""

    def send(request: Request) -> Response:
        started: list[Any] = []

        def start_response(*args: Any) -> Callable[[bytes], None]:
            started.append(args)
            return lambda data: None

        try:
            chunks = app(request.environ_for(server), start_response)
            body = b"".join(chunks)
            if hasattr(chunks, "close"):
                chunks.close()
        except Exception as error:
            return Response(0, (), type(error).__name__.encode())
        status, headers, *_ = started[-1]
        return Response(int(status[:3]), tuple(headers), body)

    return send


def send_over_http(port: int, server: str) -> Send:
    """Return a function that sends requests to a port of this host, if they fit HTTP (:attr:`Request.fits_http`)."""

    def send(request: Request) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(request.method, request.target_for(server), skip_host=True, skip_accept_encoding=True)
            for name, value in _http_headers(request).items():
                connection.putheader(name, value)
            connection.endheaders(request.body, encode_chunked=request.is_chunked)
            response = connection.getresponse()
            headers = [header for header in response.getheaders() if header[0].lower() not in _SERVER_HEADERS]
            return Response(response.status, tuple(headers), response.read())

    return send


def _http_headers(request: Request) -> dict[str, str]:
    headers = {"Host": "localhost", "Content-Type": "application/json"}
    headers.update(request.headers)
    if request.is_chunked:
        headers["Transfer-Encoding"] = "chunked"
    else:
        headers["Content-Length"] = str(len(request.body))
    return headers

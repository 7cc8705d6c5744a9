"""Forward requests to the compute API, and its responses to the clients.

The compute API must read exactly what the filter judged, so no framing of a client's is passed on: bodies are read
whole and sent with a ``Content-Length`` of what is really there. A request that has a body, or must not run twice, gets
a connection of its own. Only what can run twice (``GET``, ``HEAD``, ``OPTIONS``) uses connections that are kept open,
and is sent once more if one of them turns out to be closed.
"""

from __future__ import annotations

import http.client
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Callable

from urllib3 import BaseHTTPResponse, HTTPConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as UpstreamTimeout

from imagefilter.fault import Fault
from imagefilter.gateway import upstream
from imagefilter.gateway.forwarding import Request, build_request, read_length
from imagefilter.gateway.headers import build_response_headers
from imagefilter.policy.config import paste_location

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOG = logging.getLogger(__name__)

# A response without a length is read up to here before the client's begins: if it breaks off, the client gets a 502.
# After that only a broken connection can show it, and some servers end the response as if it were whole (granian).
_READ_AHEAD_BYTES = 1024 * 1024
_CHUNK_BYTES = 65536

# What a load balancer before the compute API responds if that did not answer it: the request may be carried out.
_UNKNOWN_STATUSES = frozenset((502, 504))

# Nothing runs twice if one of these is sent twice.
_REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS"))


class Gateway:
    """A WSGI application that forwards each request to the compute API: :meth:`forward` is the callable.

    :param connect: returns a new pool of connections to it; takes ``maxsize``, how many of them are kept open.
    """

    __slots__ = ("_connect", "_kept")

    def __init__(self, connect: Callable[..., HTTPConnectionPool]) -> None:
        self._connect = connect
        self._kept = connect()

    def forward(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Forward a request; respond as the compute API does, or with a fault like its own."""
        try:
            response = self._send(build_request(environ))
            response.read_ahead()
        except Fault as fault:
            return fault(environ, start_response)
        except HTTPError as error:
            failure = _build_fault(error)
            if failure.status != 503:  # the compute API may have got the request
                environ["imagefilter.unknown_outcome"] = True
            LOG.error("%s %a: %s %s", environ["REQUEST_METHOD"], environ.get("PATH_INFO"), failure.message, error)
            return failure(environ, start_response)
        if response.upstream.status in _UNKNOWN_STATUSES:
            environ["imagefilter.unknown_outcome"] = True
        start_response(response.status, build_response_headers(environ, response.upstream, response.length))
        return response

    def _send(self, request: Request) -> _ForwardedResponse:
        if request.method in _REPEATABLE and request.body is None:
            return _ForwardedResponse(self._send_again_if_closed(request))
        # A server that responds without having read the body may take the rest of it for another request, which nobody
        # has judged, if the connection goes on. And a connection that nobody kept can't turn out to be closed.
        request.headers["connection"] = "close"
        pool = self._connect(maxsize=1)
        return _ForwardedResponse(_send_once(pool, request), pool)

    def _send_again_if_closed(self, request: Request) -> BaseHTTPResponse:
        try:
            return _send_once(self._kept, request)
        except ProtocolError as error:
            if not isinstance(error.args[-1], ConnectionError):  # http.client's RemoteDisconnected is one
                raise
        return _send_once(self._kept, request)


class _ForwardedResponse:
    """The compute API's response on its way to the client, as a WSGI iterable.

    ``length`` is that of the body, None if it is not known.

    :param pool: to be closed with the response; None if its connections are kept.
    """

    def __init__(self, upstream_response: BaseHTTPResponse, pool: HTTPConnectionPool | None = None) -> None:
        self.upstream = upstream_response
        self.length = read_length(upstream_response)
        self._pool = pool
        self._chunks = _read_chunks(upstream_response)
        self._chunks_ahead: list[bytes] = []

    @property
    def status(self) -> str:
        """The status line as WSGI wants it."""
        code = self.upstream.status
        reason = self.upstream.reason or http.client.responses.get(code, "Unknown")
        return f"{code} {reason}"

    def read_ahead(self) -> None:
        """Read what must be known before the client's response begins: without a length, as much as can be held.

        :raises HTTPError: if the response breaks off.
        """
        if self.upstream.length_remaining == 0:  # to HEAD, a 204, a 304, or just empty
            self.upstream.drain_conn()  # the connection is free before the client can ask again
        elif self.length is None:
            self._read_up_to(_READ_AHEAD_BYTES)

    def _read_up_to(self, limit: int) -> None:
        size = 0
        for chunk in self._chunks:
            self._chunks_ahead.append(chunk)
            size += len(chunk)
            if size > limit:
                return
        if size == 0 and not self.upstream.chunked:  # http.client takes a head that breaks off for a whole one
            raise ProtocolError("The response has neither a length nor a body")
        self.length = size

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks_ahead
        self._chunks_ahead.clear()
        try:
            yield from self._chunks
        except HTTPError as error:
            LOG.error("the compute API's response broke off: %s", error)
            raise

    def close(self) -> None:
        """Release the connection: the server has sent the response, or given it up.

        A connection with a rest of the response in it is not used again.
        """
        self.upstream.close()
        self.upstream.release_conn()
        if self._pool is not None:
            self._pool.close()


def app_factory(global_conf: Mapping[str, str] | None, **local_conf: str) -> WSGIApplication:
    """Build the gateway from a paste section.

    :param global_conf: paste's global options; none of them is an option of the gateway.
    :param local_conf: the keys of the app's section.
    :raises ConfigError: for unknown options and values that can't be used.
    """
    endpoint = upstream.load(local_conf, paste_location(global_conf or {}, local_conf, "app"))
    return Gateway(endpoint.connect).forward


def _send_once(pool: HTTPConnectionPool, request: Request) -> BaseHTTPResponse:
    # Not request(), which would upper-case the method, nor a PoolManager, which would rewrite the path: both are ways
    # round the filter. Each of the last four arguments keeps urllib3 from doing what a browser does.
    try:
        response = pool.urlopen(
            request.method,
            request.target,
            body=request.body,
            headers=request.headers,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
    except ValueError as error:  # a method, a target or a header that can't be written
        raise Fault(400, "Malformed request") from error
    if response.status < 200:  # http.client skips a 100 alone: the final one is still to come, for the next request
        response.close()
        raise ProtocolError(f"The compute API responded {response.status}, which is not a final response")
    return response


def _read_chunks(response: BaseHTTPResponse) -> Iterator[bytes]:
    """Read the body as it comes, without waiting for whole chunks."""
    if response.chunked:
        yield from response.stream(_CHUNK_BYTES, decode_content=False)
        return
    while chunk := response.read1(_CHUNK_BYTES, decode_content=False):
        yield chunk


def _build_fault(error: HTTPError) -> Fault:
    if isinstance(error, (NewConnectionError, ConnectTimeoutError, SSLError)):
        return Fault(503, "The compute API could not be reached.")
    if isinstance(error, UpstreamTimeout) or isinstance(error.args[-1], TimeoutError):
        return Fault(504, "The compute API did not respond in time.")
    return Fault(502, "The compute API broke off its response.")

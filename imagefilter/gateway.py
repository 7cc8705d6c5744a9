"""The compute API over HTTP: the last app of a pipeline that guards a Nova which may not be touched.

In a paste file, behind the filter::

    [app:compute]
    use = egg:imagefilter#gateway
    compute_url = https://nova.internal:8774

Keys of the section:

* ``compute_url``: scheme, host and port of the compute API. A path is none of it: the path of each request goes on;
* ``compute_ca_file``: certificates of the authorities that may vouch for it (default: the system's own);
* ``compute_client_cert``, ``compute_client_key``: files with the certificate that it wants to see, and its key;
* ``compute_verify`` (``true``): whether its certificate is verified; ``false`` lets anybody answer in its place;
* ``connect_timeout`` (``5``), ``read_timeout`` (``60``): seconds; the second one between any two bytes of an answer;
* ``pool_size`` (``16``): connections that a process keeps open: as many as it has threads.

What the compute API reads is what the filter judged, so nothing of a client's framing goes on: bodies are read whole
and sent with a ``Content-Length`` of what is really there. What has a body, or must not run twice, has a connection of
its own. Only what can run twice (``GET``, ``HEAD``, ``OPTIONS``) goes over connections that are kept open, and is sent
once more if one of them turns out to be closed.
"""

from __future__ import annotations

import http.client
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Callable, Optional

from urllib3 import BaseHTTPResponse, HTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProtocolError, SSLError
from urllib3.exceptions import TimeoutError as TooSlow

from imagefilter.fault import Fault
from imagefilter.forwarding import answer_headers, body_of, length_of, method_of, request_headers, target_of
from imagefilter.sources import paste_place
from imagefilter.upstream import connector

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOG = logging.getLogger(__name__)

# An answer without a length is read up to here before it begins: if it breaks off, the client gets a 502. Later on
# only a broken connection can tell it, and some servers end the answer as if it were whole (granian).
_READ_AHEAD_BYTES = 1024 * 1024
_CHUNK_BYTES = 65536

_Request = tuple[str, str, Optional[bytes], dict[str, str]]  # method, target, body, headers

# Nothing runs twice if one of these is sent twice.
_REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS"))


class Gateway:
    """A WSGI application that forwards each request to the compute API.

    :param connect: makes a pool of connections to it; takes the settings of one.
    """

    __slots__ = ("_connect", "_kept")

    def __init__(self, connect: Callable[..., HTTPConnectionPool]) -> None:
        self._connect = connect
        self._kept = connect()

    def forward(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Ask the compute API and answer with what it says, or with a fault like its own."""
        try:
            answer = self._ask(environ)
            answer.read_ahead()
        except Fault as fault:
            return fault(environ, start_response)
        except HTTPError as error:
            failure = _fault_of(error)
            LOG.error("%s %a: %s %s", environ["REQUEST_METHOD"], environ.get("PATH_INFO"), failure.message, error)
            return failure(environ, start_response)
        start_response(answer.status, answer_headers(environ, answer.response, answer.length))
        return answer

    def _ask(self, environ: WSGIEnvironment) -> _Answer:
        request = (method_of(environ), target_of(environ), body_of(environ), request_headers(environ))
        if request[0] in _REPEATABLE and request[2] is None:
            return _Answer(self._send_again_if_closed(request))
        # A server that answers without having read the body may take the rest of it for another request, which nobody
        # has judged, if the connection goes on. And a connection that nobody kept can't turn out to be closed.
        request[3]["connection"] = "close"
        own = self._connect(maxsize=1)
        return _Answer(_send(own, request), own)

    def _send_again_if_closed(self, request: _Request) -> BaseHTTPResponse:
        try:
            return _send(self._kept, request)
        except ProtocolError as error:
            if not isinstance(error.args[-1], ConnectionError):  # http.client's RemoteDisconnected is one
                raise
        return _send(self._kept, request)


def _send(pool: HTTPConnectionPool, request: _Request) -> BaseHTTPResponse:
    # Not request(), which would upper-case the method, nor a PoolManager, which would rewrite the path: both are ways
    # round the filter. Each of these arguments keeps urllib3 from doing what a browser does.
    try:
        response = pool.urlopen(*request, retries=False, redirect=False, preload_content=False, decode_content=False)
    except ValueError as error:  # a method, a target or a header that can't be written
        raise Fault(400, "Malformed request") from error
    if response.status < 200:  # http.client skips a 100 alone: the answer is still to come, and not to the next request
        response.close()
        raise ProtocolError(f"The compute API answered {response.status}, which is no final answer")
    return response


class _Answer:
    """The compute API's answer on its way, as a WSGI iterable."""

    def __init__(self, response: BaseHTTPResponse, own: HTTPConnectionPool | None = None) -> None:
        self.response = response
        self._own = own
        self.length = length_of(response)
        self._chunks = _chunks_of(response)
        self._read: list[bytes] = []

    @property
    def status(self) -> str:
        """Status line, as WSGI wants it."""
        code = self.response.status
        return f"{code} {self.response.reason or http.client.responses.get(code, 'Unknown')}"

    def read_ahead(self) -> None:
        """Read what has to be known before the answer begins: one without a length as far as it can be held.

        :raises HTTPError: if it breaks off.
        """
        if self.response.length_remaining == 0:  # to HEAD, a 204, a 304, or just empty
            self.response.drain_conn()  # the connection is free before the client can ask again
        elif self.length is None:
            self._read_up_to(_READ_AHEAD_BYTES)

    def _read_up_to(self, limit: int) -> None:
        size = 0
        for chunk in self._chunks:
            self._read.append(chunk)
            size += len(chunk)
            if size > limit:
                return
        if size == 0 and not self.response.chunked:  # http.client takes a head that breaks off for a whole one
            raise ProtocolError("The answer has neither a length nor a body")
        self.length = size

    def __iter__(self) -> Iterator[bytes]:
        yield from self._read
        self._read.clear()
        try:
            yield from self._chunks
        except HTTPError as error:
            LOG.error("the compute API's answer broke off: %s", error)
            raise

    def close(self) -> None:
        """The server has done with the answer, or given it up: a connection with a rest in it is not used again."""
        self.response.close()
        self.response.release_conn()
        if self._own is not None:
            self._own.close()


def _chunks_of(response: BaseHTTPResponse) -> Iterator[bytes]:
    """The body as it comes, not waiting for whole chunks."""
    if response.chunked:
        yield from response.stream(_CHUNK_BYTES, decode_content=False)
        return
    while chunk := response.read1(_CHUNK_BYTES, decode_content=False):
        yield chunk


def _fault_of(error: HTTPError) -> Fault:
    if isinstance(error, (NewConnectionError, ConnectTimeoutError, SSLError)):
        return Fault(503, "The compute API can not be reached.")
    if isinstance(error, TooSlow) or isinstance(error.args[-1], TimeoutError):
        return Fault(504, "The compute API did not answer in time.")
    return Fault(502, "The compute API broke off its answer.")


def app_factory(global_conf: Mapping[str, str] | None, **local_conf: str) -> WSGIApplication:
    """The paste app factory.

    :param global_conf: paste's global options; none of them is an option of ours.
    :param local_conf: the keys of the app's section.
    :raises ConfigError: for unknown options and values that can't be used.
    """
    return Gateway(connector(local_conf, paste_place(global_conf or {}, local_conf, "app"))).forward

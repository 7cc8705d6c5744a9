"""Read the body of a request once, within limits, and leave it to be read again."""

from __future__ import annotations

import io
import logging
import sys
from typing import IO, TYPE_CHECKING, Any

from imagefilter.fault import Fault

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

LOG = logging.getLogger(__name__)

#: The message of Nova's own 400 for a body that it can't read.
MALFORMED = "Malformed request body"

# int() takes long, and then refuses, for thousands of digits.
_MAX_LENGTH_DIGITS = 19


def read_body(environ: WSGIEnvironment, limit: int) -> bytes:
    """Read the whole body once and leave it to be read again.

    :param limit: bytes.
    :raises Fault: 413 if the body is over the limit; 400 if ``Content-Length`` is not a number, or if the body is
        shorter than it says. What was read of the body can then be read again all the same.
    """
    length = _content_length(environ)
    if length is None:
        body = _read_to_end(environ, limit)
    elif length <= limit:
        body = _read(environ["wsgi.input"], length)
        if len(body) < length:
            _put_back(environ, body)
            raise Fault(400, MALFORMED)
    else:
        raise _too_large(limit)
    set_body(environ, body)
    return body


def set_body(environ: WSGIEnvironment, body: bytes) -> None:
    """Make ``body`` the body of the request, framed by its length alone."""
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ.pop("wsgi.input_terminated", None)


def _content_length(environ: WSGIEnvironment) -> int | None:
    text = environ.get("CONTENT_LENGTH")
    if not text:
        return None
    # WebOb, and so Nova, reads it with int(), which accepts "+5", " 5", "5_0" and Arabic digits. The next server may
    # not, and then the two would not agree where the body ends.
    if not (text.isascii() and text.isdigit()):
        raise Fault(400, MALFORMED)
    digits = text.lstrip("0") or "0"
    if len(digits) > _MAX_LENGTH_DIGITS:
        return sys.maxsize
    return int(digits)


def _read_to_end(environ: WSGIEnvironment, limit: int) -> bytes:
    """Read a body without a length: PEP 3333 servers say with this key whether the stream ends by itself (chunked)."""
    if not environ.get("wsgi.input_terminated"):
        return b""
    body = _read(environ["wsgi.input"], limit + 1)
    if len(body) > limit:
        _put_back(environ, body)
        raise _too_large(limit)
    return body


def _read(stream: IO[bytes], size: int) -> bytes:
    chunk = stream.read(size)
    if len(chunk) == size:
        return chunk
    chunks = [chunk]
    while chunk and size > len(chunk):  # a socket may return less than was asked for
        size -= len(chunk)
        chunk = stream.read(size)
        chunks.append(chunk)
    return b"".join(chunks)


def _put_back(environ: WSGIEnvironment, start: bytes) -> None:
    """Leave a body as it was before its start was read."""
    environ["wsgi.input"] = io.BufferedReader(_Rejoined(start, environ["wsgi.input"]))


class _Rejoined(io.RawIOBase):
    """A stream whose start was read already."""

    def __init__(self, start: bytes, rest: IO[bytes]) -> None:
        super().__init__()
        self._start = io.BytesIO(start)
        self._rest = rest

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into a buffer."""
        chunk = self._start.read(len(buffer)) or self._rest.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _too_large(limit: int) -> Fault:
    LOG.warning(
        "a body has more than %d bytes, so it is not judged: [imagefilter] max_body_bytes must be at least the compute"
        " API's own [oslo_middleware] max_request_body_size",
        limit,
    )
    return Fault(413, f"Request is too large. Larger than max_body_bytes ({limit}).")

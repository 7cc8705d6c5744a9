"""Build the request to the compute API out of a client's.

No framing of a client's is passed on. What the client said about lengths, encodings and connections was for the server
in front of the gateway; repeated to the compute API, it might make it see another request than the one that was judged.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from urllib3 import BaseHTTPResponse

from imagefilter.fault import Fault
from imagefilter.gateway.headers import build_request_headers
from imagefilter.request.body import read_body

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Longest body of a request that the filter does not read (a ``GET``, a ``DELETE``), in bytes: Nova's own limit.
UNREAD_BODY_BYTES = 114688

_METHOD = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a token (RFC 9110, 5.6.2)

# A path and a query that urllib3 leaves as they are (it writes escapes in capitals). A "%" that begins no escape would
# make it encode all others once more.
_PLAIN_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
_SAFE = "~!$&'()*+,;=:@/"
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Request(NamedTuple):
    """A request to the compute API."""

    method: str
    target: str  # path and query
    body: bytes | None
    headers: dict[str, str]  # without those that frame the body


def build_request(environ: WSGIEnvironment) -> Request:
    """Build the request to the compute API out of a client's.

    :raises Fault: 400 or 413 for one that can't be passed on.
    """
    return Request(
        method=read_method(environ),
        target=build_target(environ),
        body=take_body(environ),
        headers=build_request_headers(environ),
    )


def read_method(environ: WSGIEnvironment) -> str:
    """Return the method, spelled as the client did.

    :raises Fault: 400 for one that is no token (RFC 9110, 5.6.2): with a space in it the target would begin elsewhere.
    """
    method: str = environ["REQUEST_METHOD"]
    if not _METHOD.fullmatch(method):
        raise Fault(400, "Malformed request method.")
    return method


def build_target(environ: WSGIEnvironment) -> str:
    """Return the request target: path and query, as the client wrote them where that means what the filter saw.

    :raises Fault: 400 for a target that is not a path: ``OPTIONS *``.
    """
    path = _encode_path(environ)
    if not path.startswith("/"):
        raise Fault(400, "The request target must be a path.")
    query = _STRAY_PERCENT.sub("%25", environ.get("QUERY_STRING", ""))
    if not query:
        return path
    return f"{path}?{quote(query.encode('latin-1'), _SAFE + '?%')}"


def take_body(environ: WSGIEnvironment) -> bytes | None:
    """Return the whole body of a request, None if it is empty.

    :raises Fault: 413 over the limit, 400 if it is shorter than announced: then nothing may be sent at all.
    """
    stream = environ["wsgi.input"]
    if isinstance(stream, io.BytesIO):  # what the filter has read and judged
        return stream.read() or None
    return read_body(environ, UNREAD_BODY_BYTES) or None


def read_length(response: BaseHTTPResponse) -> int | None:
    """Return the length that a response says its body has; None if it says nothing that can be relied on."""
    if "transfer-encoding" in response.headers:  # RFC 9112, 6.3: then a length does not count
        return None
    lengths = {text.strip() for text in response.headers.get("content-length", "").split(",")}
    if len(lengths) != 1:
        return None
    [length] = lengths
    if not (length.isascii() and length.isdigit()):
        return None
    return int(length)


def _encode_path(environ: WSGIEnvironment) -> str:
    """Return the path as the client wrote it if that means what the filter saw; otherwise encode what it saw."""
    path = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1")
    raw_target: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    written = raw_target.partition("?")[0]
    # Not if it is an absolute URI, if a middleware changed the path, or if a server reads escapes in a way of its own.
    if _PLAIN_PATH.fullmatch(written) and unquote_to_bytes(written) == path:
        return written
    return quote(path, _SAFE) or "/"

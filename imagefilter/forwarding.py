"""What of a request goes on to the compute API, and what of its answer comes back: all that is end to end.

Nothing of a client's framing goes on. What the client said about lengths, encodings and connections was for the server
in front of us; said again to the compute API, it might make it see another request than the one that was judged.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from urllib3 import BaseHTTPResponse
from urllib3.util import SKIP_HEADER

from imagefilter.action import read_body
from imagefilter.fault import Fault

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Longest body of a request that the filter does not read (a ``GET``, a ``DELETE``), in bytes: Nova's own limit.
UNREAD_BODY_BYTES = 114688

# RFC 9110, 7.6.1, and what else is between two neighbours. "Proxy" is never a client's to set: to a CGI program behind
# it would be the variable HTTP_PROXY.
_HOP_BY_HOP = frozenset(
    (
        *("connection", "keep-alive", "proxy", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    )
)

# Said anew by us. A header Content_Length is HTTP_CONTENT_LENGTH to some servers, so the names can come from a client.
_OURS = frozenset(("content-length", "content-type", "expect", "host", "x-openstack-request-id"))

#: What auth_token puts into a request. Nova has an auth_token of its own, which would throw it away; whoever listens
#: on the way has no business with it, and a catalog may be longer than the headers that a server takes.
IDENTITY_HEADERS = frozenset(
    (
        *(
            f"{prefix}-{what}"
            for prefix in ("x", "x-service")
            for what in (
                *("domain-id", "domain-name", "project-domain-id", "project-domain-name", "project-id", "project-name"),
                *("roles", "user-domain-id", "user-domain-name", "user-id", "user-name"),
            )
        ),
        *("openstack-system-scope", "x-identity-status", "x-is-admin-project", "x-service-catalog"),
        *("x-service-identity-status", "x-role", "x-tenant", "x-tenant-id", "x-tenant-name", "x-user"),
    )
)

# The token that was judged goes on, whatever a client's Connection says. auth_token reads X-Storage-Token where there
# is no X-Auth-Token, so without it Nova would act as another user than the one that was judged and recorded.
_TOKENS = frozenset(("x-auth-token", "x-service-token", "x-storage-token"))

_NAME = re.compile(r"[a-z0-9!#$%&'*+.^`|~-]+")  # RFC 9110, 5.6.2; an underscore has become a hyphen
_BREAK = re.compile(r"[\r\n\0]")

_NEVER_SENT = _HOP_BY_HOP | _OURS | IDENTITY_HEADERS

# A path and a query that urllib3 leaves as they are (it writes escapes in capitals). A "%" that begins no escape would
# make it encode all others once more.
_PLAIN_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
_SAFE = "~!$&'()*+,;=:@/"
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def method_of(environ: WSGIEnvironment) -> str:
    """The method, spelled as the client did.

    :raises Fault: 400 for one that is no token (RFC 9110, 5.6.2): with a space in it the target would begin elsewhere.
    """
    method: str = environ["REQUEST_METHOD"]
    if not _NAME.fullmatch(method.lower().replace("_", "-")):
        raise Fault(400, "Malformed request method.")
    return method


def target_of(environ: WSGIEnvironment) -> str:
    """The request target: path and query, as the client wrote them where that means what the filter saw.

    :raises Fault: 400 for a target that is no path: ``OPTIONS *``.
    """
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    meant = path.encode("latin-1")
    written = (environ.get("RAW_URI") or environ.get("REQUEST_URI") or "").partition("?")[0]
    # Not if it is an absolute URI, if a middleware changed the path, or if a server reads escapes in a way of its own.
    if not (_PLAIN_PATH.fullmatch(written) and unquote_to_bytes(written) == meant):
        written = quote(meant, _SAFE) or "/"
    if not written.startswith("/"):
        raise Fault(400, "The request target must be a path.")
    query = _query(environ.get("QUERY_STRING", ""))
    return f"{written}?{query}" if query else written


def request_headers(environ: WSGIEnvironment) -> dict[str, str]:
    """The headers of a request to the compute API, without those that frame its body.

    :raises Fault: 400 for one that a server should never have handed on: "Transfer-Encoding " might frame a body yet.
    """
    dropped = _NEVER_SENT.union(_named_in(environ.get("HTTP_CONNECTION", ""))) - _TOKENS
    if "HTTP_X_AUTH_TOKEN" in environ:
        dropped = dropped.union(("x-storage-token",))
    if environ.get("SCRIPT_NAME"):
        # http_proxy_to_wsgi puts it before the path, where the filter may have read a project in it. So it goes on
        # there: taken out of the path again, it would let a client choose the project that he is judged as.
        dropped = dropped.union(("x-forwarded-prefix",))
    headers = {"user-agent": SKIP_HEADER, "accept-encoding": SKIP_HEADER}  # urllib3's and http.client's own
    for key, text in environ.items():
        if key[:5] == "HTTP_" and (name := key[5:].replace("_", "-").lower()) not in dropped:
            headers[name] = text
    given = (("host", "HTTP_HOST"), ("content-type", "CONTENT_TYPE"))
    headers.update((name, environ[key]) for name, key in given if environ.get(key))
    request_id = _global_request_id(environ)
    if request_id:
        headers["x-openstack-request-id"] = request_id
    headers.update(_forwarded(environ))
    if any(not _NAME.fullmatch(name) or _BREAK.search(text) for name, text in headers.items()):
        raise Fault(400, "Malformed request header.")
    return headers


def body_of(environ: WSGIEnvironment) -> bytes | None:
    """The whole body of a request, None if it is empty.

    :raises Fault: 413 over the limit, 400 if less is there than announced: then nothing may be sent at all.
    """
    stream = environ["wsgi.input"]
    if isinstance(stream, io.BytesIO):  # what the filter has read and judged
        return stream.read() or None
    return read_body(environ, UNREAD_BODY_BYTES) or None


def answer_headers(environ: WSGIEnvironment, response: BaseHTTPResponse, length: int | None) -> list[tuple[str, str]]:
    """The headers of an answer to the client.

    :param length: of the body, if it is known.
    """
    dropped = _HOP_BY_HOP.union(_named_in(response.headers.get("connection", "")), ("content-length",))
    if environ.get("openstack.request_id"):  # the client is told ours; Nova's own is X-Compute-Request-Id as well
        dropped = dropped.union(("x-openstack-request-id",))
    headers = [(name, _unfolded(text)) for name, text in response.headers.iteritems() if name.lower() not in dropped]
    return headers if length is None else [*headers, ("Content-Length", str(length))]


def length_of(response: BaseHTTPResponse) -> int | None:
    """The length that an answer says it has; None if it says nothing that can be relied on."""
    if "transfer-encoding" in response.headers:  # RFC 9112, 6.3: then a length does not count
        return None
    lengths = {text.strip() for text in response.headers.get("content-length", "").split(",")}
    text = lengths.pop()
    return int(text) if not lengths and text.isascii() and text.isdigit() else None


def _query(text: str) -> str:
    return quote(_STRAY_PERCENT.sub("%25", text).encode("latin-1"), _SAFE + "?%")


def _named_in(connection: str) -> Iterable[str]:
    return [name.strip().lower() for name in connection.split(",")] if connection else ()


def _global_request_id(environ: WSGIEnvironment) -> str | None:
    """The id that ties Nova's log to our record: the client's own if it is one, else that of the pipeline."""
    own: str | None = environ.get("openstack.request_id")
    # If there is none, nobody looked at the client's.
    return environ.get("openstack.global_request_id") or own or environ.get("HTTP_X_OPENSTACK_REQUEST_ID")


def _forwarded(environ: WSGIEnvironment) -> Iterable[tuple[str, str]]:
    """Where a request came from, and as what: so that the links in the answer lead to us."""
    peer, before = environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")
    # http_proxy_to_wsgi makes the header the address.
    hops = [before] if before == peer else [before, peer]
    made = {
        "x-forwarded-for": ", ".join(filter(None, hops)),
        "x-forwarded-proto": environ.get("HTTP_X_FORWARDED_PROTO") or environ.get("wsgi.url_scheme", ""),
        "x-forwarded-host": environ.get("HTTP_X_FORWARDED_HOST") or environ.get("HTTP_HOST", ""),
    }
    return [(name, text) for name, text in made.items() if text]


def _unfolded(text: str) -> str:
    """A header's value in one line (RFC 9112, 5.2)."""
    return re.sub(r"[\r\n]+[ \t]*", " ", text) if "\n" in text or "\r" in text else text

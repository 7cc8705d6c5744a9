"""The headers that are passed on to the compute API and back to the client: all that are end to end."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from urllib3 import BaseHTTPResponse
from urllib3.util import SKIP_HEADER

from imagefilter.fault import Fault

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# RFC 9110, 7.6.1, and what else is between two neighbours. "Proxy" is never a client's to set: to a CGI program behind
# it would be the variable HTTP_PROXY.
_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)

# The gateway sets these itself. A header Content_Length is HTTP_CONTENT_LENGTH to some servers, so the names can come
# from a client.
_SET_BY_GATEWAY = frozenset(("content-length", "content-type", "expect", "host", "x-openstack-request-id"))

#: What auth_token puts into a request. Nova has an auth_token of its own, which would throw it away; nobody who listens
#: on the way needs to know it, and a catalog may be longer than the headers that a server accepts.
IDENTITY_HEADERS = frozenset(
    (
        "openstack-system-scope",
        "x-domain-id",
        "x-domain-name",
        "x-identity-status",
        "x-is-admin-project",
        "x-project-domain-id",
        "x-project-domain-name",
        "x-project-id",
        "x-project-name",
        "x-role",
        "x-roles",
        "x-service-catalog",
        "x-service-domain-id",
        "x-service-domain-name",
        "x-service-identity-status",
        "x-service-project-domain-id",
        "x-service-project-domain-name",
        "x-service-project-id",
        "x-service-project-name",
        "x-service-roles",
        "x-service-user-domain-id",
        "x-service-user-domain-name",
        "x-service-user-id",
        "x-service-user-name",
        "x-tenant",
        "x-tenant-id",
        "x-tenant-name",
        "x-user",
        "x-user-domain-id",
        "x-user-domain-name",
        "x-user-id",
        "x-user-name",
    )
)

# The token that was judged is passed on, whatever a client's Connection says. auth_token reads X-Storage-Token where
# there is no X-Auth-Token, so without it Nova would act as another user than the one that was judged and recorded.
_TOKENS = frozenset(("x-auth-token", "x-service-token", "x-storage-token"))

_NEVER_SENT = _HOP_BY_HOP | _SET_BY_GATEWAY | IDENTITY_HEADERS

_NAME = re.compile(r"[a-z0-9!#$%&'*+.^`|~-]+")  # RFC 9110, 5.6.2; an underscore has become a hyphen
_BREAK = re.compile(r"[\r\n\0]")


def build_request_headers(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the headers of the request to the compute API, without those that frame its body.

    :raises Fault: 400 for one that a server should never have passed on: "Transfer-Encoding " might still frame a body.
    """
    excluded = _excluded_headers(environ)
    headers = {"user-agent": SKIP_HEADER, "accept-encoding": SKIP_HEADER}  # urllib3's and http.client's own
    for key, text in environ.items():
        if key.startswith("HTTP_"):
            name = key[5:].replace("_", "-").lower()
            if name not in excluded:
                headers[name] = text
    headers.update(_own_headers(environ))
    for name, text in headers.items():
        if not _NAME.fullmatch(name) or _BREAK.search(text):
            raise Fault(400, "Malformed request header.")
    return headers


def build_response_headers(
    environ: WSGIEnvironment, response: BaseHTTPResponse, length: int | None
) -> list[tuple[str, str]]:
    """Return the headers of the response to the client.

    :param length: of the body, None if it is not known.
    """
    excluded = _HOP_BY_HOP.union(_names_in(response.headers.get("connection", "")), ("content-length",))
    if environ.get("openstack.request_id"):  # the client gets the gateway's; Nova's own is X-Compute-Request-Id as well
        excluded = excluded.union(("x-openstack-request-id",))
    headers = []
    for name, text in response.headers.iteritems():
        if name.lower() not in excluded:
            headers.append((name, _unfold(text)))
    if length is not None:
        headers.append(("Content-Length", str(length)))
    return headers


def _excluded_headers(environ: WSGIEnvironment) -> Collection[str]:
    """Return the names of headers that are not passed on to the compute API."""
    excluded = _NEVER_SENT.union(_names_in(environ.get("HTTP_CONNECTION", ""))) - _TOKENS
    if "HTTP_X_AUTH_TOKEN" in environ:
        excluded = excluded.union(("x-storage-token",))
    if environ.get("SCRIPT_NAME"):
        # http_proxy_to_wsgi puts it before the path, where the filter may have read a project in it. So it is passed on
        # there: taken out of the path again, it would let clients choose the project that they are judged as.
        excluded = excluded.union(("x-forwarded-prefix",))
    return excluded


def _own_headers(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the headers that the gateway sets itself, but for those that would be empty.

    ``X-Forwarded-*`` say where the request came from, so that the links in the response lead to the gateway.
    """
    host: str = environ.get("HTTP_HOST", "")
    scheme: str = environ.get("wsgi.url_scheme", "")
    headers = {
        "host": host,
        "content-type": environ.get("CONTENT_TYPE", ""),
        "x-openstack-request-id": _find_request_id(environ),
        "x-forwarded-for": _forwarded_for(environ),
        "x-forwarded-proto": environ.get("HTTP_X_FORWARDED_PROTO") or scheme,
        "x-forwarded-host": environ.get("HTTP_X_FORWARDED_HOST") or host,
    }
    return {name: text for name, text in headers.items() if text}


def _find_request_id(environ: WSGIEnvironment) -> str:
    """Return the id that ties Nova's log to the record: the client's own if it is one, or that of the pipeline."""
    for key in ("openstack.global_request_id", "openstack.request_id"):
        request_id: str = environ.get(key, "")
        if request_id:
            return request_id
    claimed: str = environ.get("HTTP_X_OPENSTACK_REQUEST_ID", "")  # in a pipeline without request_id nobody read it
    return claimed


def _forwarded_for(environ: WSGIEnvironment) -> str:
    """Return the addresses that the request came through, the peer's last."""
    peer: str = environ.get("REMOTE_ADDR", "")
    before: str = environ.get("HTTP_X_FORWARDED_FOR", "")
    if before == peer:  # http_proxy_to_wsgi makes the header the address
        return peer
    return ", ".join(filter(None, (before, peer)))


def _names_in(connection: str) -> Collection[str]:
    """Return the names of headers in a ``Connection`` header."""
    if not connection:
        return ()
    return [name.strip().lower() for name in connection.split(",")]


def _unfold(text: str) -> str:
    """Return a header's value in one line (RFC 9112, 5.2)."""
    if "\n" not in text and "\r" not in text:
        return text
    return re.sub(r"[\r\n]+[ \t]*", " ", text)

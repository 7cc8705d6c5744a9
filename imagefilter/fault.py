"""The compute API's error bodies.

A refusal must look like Nova's own: clients (openstacksdk, gophercloud, novaclient) read ``message`` out of the
first object of the body, and operators grep for the fault's name. The model is Nova's
``nova.api.openstack.wsgi.Fault``; ``message`` comes before ``code`` as in the compute API's documented samples.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import microversion_parse
import webob

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: Fault names by status, as in ``nova.api.openstack.wsgi.Fault._fault_names``; any other status is computeFault.
FAULT_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    409: "conflictingRequest",
    413: "overLimit",
    429: "overLimit",
    502: "computeFault",
    503: "serviceUnavailable",
    504: "computeFault",
}

MICROVERSION_HEADER = "OpenStack-API-Version"
LEGACY_MICROVERSION_HEADER = "X-OpenStack-Nova-API-Version"

_VERSION = re.compile(r"[0-9]+\.[0-9]+")

# A message repeats at most this many characters of what a client sent.
_EXCERPT_LENGTH = 80

# Longest text of a warning, before quoting, which at most doubles it.
_WARNING_LENGTH = 240


class Fault(Exception):
    """A refusal that is also the WSGI application that responds with it.

    :param status: HTTP status code, one of :data:`FAULT_NAMES`.
    :param message: for the client.
    :param www_authenticate: for 401 only, the value of ``WWW-Authenticate``.
    :param retry_after: seconds after which a client may try again.
    :param headers: others.
    """

    def __init__(
        self,
        status: int,
        message: str,
        www_authenticate: str | None = None,
        retry_after: int | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.www_authenticate = www_authenticate
        self.retry_after = retry_after
        self.headers = headers

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = json.dumps(self._document()).encode("ascii")
        content_type = "application/json; charset=UTF-8"
        if self.status == 401:  # as keystonemiddleware's
            content_type = "application/json"
        headers = [("Content-Type", content_type)]
        if self.www_authenticate:
            headers.append(("WWW-Authenticate", self.www_authenticate))
        if self.retry_after is not None:
            headers.append(("Retry-After", str(self.retry_after)))
        headers += self.headers
        headers += _request_id_headers(environ)
        headers += _microversion_headers(environ)
        return webob.Response(status=self.status, body=body, headerlist=headers)(environ, start_response)

    def _document(self) -> dict[str, dict[str, object]]:
        fault: dict[str, object] = {"message": self.message, "code": self.status}
        if self.status == 401:  # keystonemiddleware's body: Nova itself never responds to a missing token
            return {"error": {"code": 401, "title": "Unauthorized", "message": self.message}}
        if self.status == 429:  # as Nova's own
            fault["retryAfter"] = str(self.retry_after)
        return {FAULT_NAMES[self.status]: fault}


def warning(rule: str, message: str) -> str:
    """Return the value of a ``Warning`` header (RFC 7234, 5.5): printable ASCII, escaped, 512 bytes at most."""
    text = f"{rule}: {message}".encode("unicode_escape").decode("ascii")[:_WARNING_LENGTH]
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 imagefilter "{quoted}"'


def excerpt(text: str) -> str:
    """Return at most 80 characters of what a client sent, for a message."""
    if len(text) <= _EXCERPT_LENGTH:
        return text
    return text[: _EXCERPT_LENGTH - 3] + "..."


def _request_id_headers(environ: WSGIEnvironment) -> Sequence[tuple[str, str]]:
    # Nova's compute_req_id adds them only if they are missing, so they are never there twice.
    request_id = environ.get("openstack.request_id")
    if not request_id:
        return ()
    return (("X-OpenStack-Request-Id", request_id), ("X-Compute-Request-Id", request_id))


def _microversion_headers(environ: WSGIEnvironment) -> list[tuple[str, str]]:
    """Return the headers of Nova's own faults on ``/v2.1`` (on ``/v2`` microversions don't exist)."""
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    if "v2.1" not in path.split("/"):
        return []
    version = microversion_parse.get_version(
        microversion_parse.headers_from_wsgi_environ(environ), "compute", [LEGACY_MICROVERSION_HEADER]
    )
    vary = [("Vary", MICROVERSION_HEADER), ("Vary", LEGACY_MICROVERSION_HEADER)]
    if version is None:
        version = "2.1"
    if not _VERSION.fullmatch(version):  # "latest": only Nova knows what that is
        return vary
    return [(MICROVERSION_HEADER, f"compute {version}"), (LEGACY_MICROVERSION_HEADER, version), *vary]

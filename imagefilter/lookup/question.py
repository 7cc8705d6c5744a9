"""Build a question to the compute API behind the filter out of the client's own request."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from imagefilter.request.action import Target

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# Of the client's request only this goes into a question: who asks, whom, and through which server.
_KEPT = (
    "SCRIPT_NAME",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "REMOTE_ADDR",
    "HTTP_HOST",
    "HTTP_X_AUTH_TOKEN",
    "HTTP_X_STORAGE_TOKEN",
    "HTTP_X_SERVICE_TOKEN",
    "HTTP_AUTHORIZATION",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "wsgi.version",
    "wsgi.url_scheme",
    "wsgi.errors",
    "wsgi.multithread",
    "wsgi.multiprocess",
    "wsgi.run_once",
    "nova.context",
    "nova.best_content_type",
    "keystone.token_auth",
    "keystone.token_info",
    "external.token_info",
    "openstack.request_id",
    "openstack.global_request_id",
)


def build_question(environ: WSGIEnvironment, target: Target, *path: str, version: str | None = None) -> WSGIEnvironment:
    """Return the environ of a GET.

    :param path: below the version and the project of the client's request.
    :param version: the microversion; None: the base one.
    """
    client_path = environ.get("PATH_INFO", "").removesuffix("\n").rstrip("/")
    segments = [segment for segment in client_path.split("/") if segment][:-3]
    if not target.versioned:
        # The request may have its version in Accept; the question would get a list of versions (300).
        segments.insert(0, "v2.1")
    question = {key: environ[key] for key in _KEPT if key in environ}
    question["REQUEST_METHOD"] = "GET"
    question["PATH_INFO"] = "/" + "/".join([*segments, *path])
    question["QUERY_STRING"] = ""
    question["CONTENT_LENGTH"] = "0"
    question["HTTP_ACCEPT"] = "application/json"
    question["wsgi.input"] = io.BytesIO()
    if version:
        question["HTTP_OPENSTACK_API_VERSION"] = f"compute {version}"
        question["HTTP_X_OPENSTACK_NOVA_API_VERSION"] = version
    return question

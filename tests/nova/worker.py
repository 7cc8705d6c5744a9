"""The application of the processes that the kill test kills: the filter in front of a compute API on a port."""

from __future__ import annotations

import contextlib
import http.client
import os
from typing import Any

from imagefilter import filter_factory


def forward(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Forward a request to the compute API, as far as the test needs it."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["COMPUTE_PORT"]), timeout=60)
    headers = {"Content-Type": environ["CONTENT_TYPE"], "X-Auth-Token": environ["HTTP_X_AUTH_TOKEN"]}
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    with contextlib.closing(connection):
        connection.request(environ["REQUEST_METHOD"], environ["PATH_INFO"], body, headers)
        response = connection.getresponse()
        content = response.read()
    start_response(f"{response.status} {response.reason}", response.getheaders())
    return [content]


def application() -> Any:
    """Return the application, for gunicorn."""
    return filter_factory({}, audit_journal=os.environ["JOURNAL"])(forward)

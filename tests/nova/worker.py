"""What the processes that the kill test kills run: the filter in front of a compute API on a port."""

from __future__ import annotations

import http.client
import os
from typing import Any

from imagefilter import filter_factory


def forward(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Hand a request on to the compute API; as much of a proxy as the test needs."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["COMPUTE_PORT"]), timeout=60)
    headers = {"Content-Type": environ["CONTENT_TYPE"], "X-Auth-Token": environ["HTTP_X_AUTH_TOKEN"]}
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    connection.request(environ["REQUEST_METHOD"], environ["PATH_INFO"], body, headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    start_response(f"{response.status} {response.reason}", response.getheaders())
    return [answer]


def application() -> Any:
    return filter_factory({}, audit_journal=os.environ["JOURNAL"])(forward)

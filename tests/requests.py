"""Send a request to a WSGI application exactly as written: no client to tidy it up on the way."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import webob


def encode(document: Any) -> bytes:
    """A JSON body as clients send it; bytes stay as they are. Not escaped, so that 64 KB of CJK fit the limit."""
    return document if isinstance(document, bytes) else json.dumps(document, ensure_ascii=False).encode()


def environ_of(
    method: str, target: str, document: Any = b"", headers: Mapping[str, str] | None = None, **environ: Any
) -> dict[str, Any]:
    """The environ a WSGI server would make of a request; ``environ`` overrides, and None removes, single keys."""
    body = encode(document)
    path, _, query = target.partition("?")
    made: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "REMOTE_ADDR": "203.0.113.7",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in (headers or {}).items():
        key = name.upper().replace("-", "_")
        made[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    made.update(environ)
    return {key: value for key, value in made.items() if value is not None}


def send(app: Any, *args: Any, **kwargs: Any) -> webob.Response:
    """Send a request made by :func:`environ_of` and read the whole answer."""
    response = webob.Request(environ_of(*args, **kwargs)).get_response(app)
    response.body  # noqa: B018  # reading it is the point
    return response

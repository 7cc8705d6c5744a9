"""A real Nova, served over HTTP."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import waitress


class ServedNova(NamedTuple):
    """A real Nova (``tests.nova.cloud.Cloud``) on a port of this host."""

    cloud: Any
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serve_wsgi(app: Any) -> Iterator[int]:
    """Serve a WSGI application in threads of this process, on the port that this yields."""
    server = waitress.create_server(
        app, host="127.0.0.1", port=0, threads=16, clear_untrusted_proxy_headers=False, ident=None
    )
    threading.Thread(target=server.run, daemon=True).start()
    yield server.effective_port
    server.close()

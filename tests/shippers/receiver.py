"""A TCP receiver of lines, as a SIEM has one."""

from __future__ import annotations

import socketserver
import threading
import time
from typing import Any

_WAIT_SECONDS = 60.0


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class Receiver:
    """Keeps the lines that it got. It may be away for a while."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.port = 0
        self._server: _Server | None = None

    def start(self) -> None:
        """Listen, always on the same port."""
        lines = self.lines

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    if line.endswith(b"\n"):
                        lines.append(line[:-1])

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more. Connections that are there stay."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        self._server = None

    def wait_for(self, expected: set[bytes]) -> None:
        """Wait until all of these lines have come.

        :raises AssertionError: if some don't come.
        """
        until = time.monotonic() + _WAIT_SECONDS
        missing: Any = expected
        while missing and time.monotonic() < until:
            time.sleep(0.1)
            missing = expected - set(self.lines)
        assert not missing, f"{len(missing)} of {len(expected)} lines are missing, one is {min(missing)[:300]!r}"

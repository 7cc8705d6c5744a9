"""A WSGI application in a server process of its own, on a free loopback port."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import requests

from tests.waiting import wait_until

PATIENCE = 120  # seconds: the machine may be slow

_SETTINGS = """\
wsgi_app = "{app}"
bind = "fd://{descriptor}"
workers = {workers}
threads = {threads}
timeout = 120
control_socket_disable = True
"""


def listen() -> socket.socket:
    """Open the socket here and hand it on as a file descriptor: nobody else can take the port in between."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=64)
    sock.set_inheritable(True)
    return sock


def url_of(sock: socket.socket) -> str:
    return f"http://127.0.0.1:{sock.getsockname()[1]}"


@contextlib.contextmanager
def serve_app(
    app: str, folder: Path, sock: socket.socket, environ: Mapping[str, str], *, workers: int = 1, threads: int = 8
) -> Iterator[subprocess.Popen[bytes]]:
    """Run an application under gunicorn until the block ends; its output goes to ``folder/gunicorn.out``."""
    # The application takes sys.argv for its own options, so gunicorn's are in a file that the environment names.
    settings = folder / "gunicorn.conf.py"
    text = _SETTINGS.format(app=app, descriptor=sock.fileno(), workers=workers, threads=threads)
    settings.write_text(text)
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("gunicorn"))],
        env={**os.environ, **environ, "GUNICORN_CMD_ARGS": f"--config {settings}", "PYTHONWARNINGS": "ignore"},
        pass_fds=[sock.fileno()],
        stdout=(folder / "gunicorn.out").open("wb"),
        stderr=subprocess.STDOUT,
    )
    try:
        wait_until(lambda: _responds(url_of(sock), process, folder), PATIENCE, interval=0.1)
        yield process
    finally:
        process.send_signal(signal.SIGQUIT)  # at once: SIGTERM would wait for connections that clients keep
        process.wait(PATIENCE)


def _responds(url: str, process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Return whether the application responds. Its socket listens already, so a dead one would be waited for."""
    assert process.poll() is None, (folder / "gunicorn.out").read_text()
    with contextlib.suppress(requests.RequestException):
        return requests.get(url, timeout=2).status_code < 500
    return False

"""Real back ends of locks on free loopback ports, and back ends in every bad state."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from tests.gateway.client import find_free_port
from tests.ports import is_listening
from tests.waiting import wait_until

KINDS = ("host", "redis", "etcd")

#: States in which a back end may be, by name: what it does with a connection.
BAD_STATES = ("refuses", "hangs", "closes", "answers nonsense", "answers HTTP 500", "is slow", "drips")


class Server:
    """A Redis or an etcd, to be stopped, started again and frozen."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.port = find_free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._peer_port = find_free_port()
        self.start()

    @property
    def url(self) -> str:
        scheme = {"redis": "redis", "etcd": "etcd3+http"}[self.kind]
        return f"{scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, cwd=self._folder)
        wait_until(lambda: is_listening(self.port))

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _command(self) -> list[str]:
        if self.kind == "redis":
            options = [
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
            ]
            return ["redis-server", *options, "--save", ""]
        client, peer = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self._peer_port}"
        return [
            "etcd",
            *("--data-dir", str(self._folder / "data"), "--log-level", "error"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}"),
        ]


@contextlib.contextmanager
def serve(kind: str, folder: Path) -> Iterator[Server]:
    """Run a Redis or an etcd."""
    program = {"redis": "redis-server", "etcd": "etcd"}[kind]
    if not shutil.which(program):
        pytest.skip(f"no {program}: apt-get install redis-server etcd-server")
    pytest.importorskip({"redis": "redis", "etcd": "etcd3gw"}[kind])
    folder.mkdir(exist_ok=True)
    server = Server(kind, folder)
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def serve_bad(state: str) -> Iterator[int]:
    """Run a back end in a bad state; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        if state == "refuses":
            listener.close()
            yield port
            return
        stop = threading.Event()
        behave = _BEHAVIOUR[state]
        threading.Thread(target=_accept, args=(listener, behave, stop), daemon=True).start()
        yield port
        stop.set()


def _accept(
    listener: socket.socket, behave: Callable[[socket.socket, threading.Event], None], stop: threading.Event
) -> None:
    with contextlib.suppress(OSError):
        while not stop.is_set():
            connection, _ = listener.accept()
            threading.Thread(target=_run, args=(connection, behave, stop), daemon=True).start()


def _run(
    connection: socket.socket, behave: Callable[[socket.socket, threading.Event], None], stop: threading.Event
) -> None:
    with contextlib.suppress(OSError), connection:
        behave(connection, stop)


def _hang(connection: socket.socket, stop: threading.Event) -> None:
    stop.wait(60)


def _close(connection: socket.socket, stop: threading.Event) -> None:
    connection.recv(1)


def _answer_nonsense(connection: socket.socket, stop: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(b"\x00\xff nonsense\r\n" * 10)


def _answer_500(connection: socket.socket, stop: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\noops")


def _be_slow(connection: socket.socket, stop: threading.Event) -> None:
    while connection.recv(65536):
        time.sleep(0.4)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def _drip(connection: socket.socket, stop: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not stop.wait(0.05):
        connection.sendall(b" ")


_BEHAVIOUR = {
    "hangs": _hang,
    "closes": _close,
    "answers nonsense": _answer_nonsense,
    "answers HTTP 500": _answer_500,
    "is slow": _be_slow,
    "drips": _drip,
}

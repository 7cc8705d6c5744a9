"""A memcached as the shipped unit runs it: on a socket of the service's own."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.gateway.client import PATIENCE
from tests.gateway.servers import PASTE, stop
from tests.paths import ETC
from tests.waiting import wait_until

UNIT = ETC / "imagefilter-memcached.service"
_SOCKET = "/run/imagefilter-memcached/memcached.sock"


@contextlib.contextmanager
def serve_memcached() -> Iterator[dict[str, str]]:
    """Run a memcached; yield the options of auth_token that name it, as the shipped paste file shows them."""
    with tempfile.TemporaryDirectory(
        prefix="memcached-", dir="/tmp"
    ) as folder:  # a socket's path has room for a short one
        path = Path(folder, "memcached.sock")
        options = read_shown_options(path)
        # The advanced pool imports eventlet if that is installed (Nova brings it here, a gateway's own virtualenv has
        # none), and then a worker of gunicorn's doesn't end before its master kills it.
        options["memcache_use_advanced_pool"] = "false"
        program = shutil.which("memcached")
        if program is None:
            yield options
            return
        process = subprocess.Popen([program, *read_arguments(path)])
        try:
            wait_until(path.exists, PATIENCE)
            yield options
        finally:
            stop(process)


def read_shown_options(path: Path) -> dict[str, str]:
    """Return the options that the shipped paste file shows, with another socket and a secret."""
    shown = dict(re.findall(r"^# (memcache\w+) = (.*)$", PASTE.read_text(), re.MULTILINE))
    assert shown["memcached_servers"] == f"unix:{_SOCKET}"
    return {**shown, "memcached_servers": f"unix:{path}", "memcache_secret_key": os.urandom(16).hex()}


def read_arguments(path: Path) -> list[str]:
    """Return the arguments of the shipped unit, with another socket."""
    line = re.search(r"^ExecStart=/usr/bin/memcached (.*)$", UNIT.read_text(), re.MULTILINE)
    assert line
    arguments = shlex.split(line[1].replace(_SOCKET, str(path)))
    if os.getuid() == 0:
        arguments += ["-u", "root"]
    return arguments


def ask(options: dict[str, str], command: str) -> str:
    """Send a command to the memcached that the options name; return what it responds."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(options["memcached_servers"][len("unix:") :])
        connection.sendall(command.encode() + b"\r\n")
        received = b""
        while not re.search(rb"(END|STORED|ERROR|RESET|OK)\r\n$", received):
            received += connection.recv(65536)
    return received.decode("latin-1")

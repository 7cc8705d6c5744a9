"""Check what only a start of the gateway would show: that its whole pipeline loads, and that its port is free."""

from __future__ import annotations

import configparser
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Iterator

from imagefilter.cli.preflight import Result

_LAST_PORT = 65535


def check_load(name: str) -> Result:
    """Load a pipeline as the gateway's server does, with all of its filters.

    :param name: a paste file, and after a ``#`` the section's name if it is not ``main``.
    """
    from paste.deploy import loadapp  # noqa: PLC0415  # an extra

    path, _, section = name.partition("#")
    try:
        with _without_log():
            loadapp(f"config:{os.path.abspath(path)}", name=section or None)
    except configparser.InterpolationError as error:  # its own message contains the value, which may be a password
        reason = f"{error.option} in section [{error.section}] can't be read: a % must be written as %%"
        return Result([(name, "error", "")], [f"error: {name}: {reason}"])
    except Exception as error:  # each filter has errors of its own
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Result([(name, "error", "")], [f"error: {name} does not load: {reason}"])
    return Result([(name, "loads", "")], [])


def check_address(address: str) -> Result:
    """Check that a server can listen on ``HOST:PORT``: servers share a port in silence (SO_REUSEPORT)."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= _LAST_PORT:
        return Result([(address, "error", "")], [f"error: {address} is not HOST:PORT"])
    try:
        _listen(host.strip("[]"), int(port))
    except OSError as error:
        reason = f"{address} can't be listened on: {error.strerror}"
        if error.errno == errno.EADDRINUSE:
            reason = f"port {port} of {host} is in use: end the process that listens there, or set another port"
        return Result([(address, "error", "")], [f"error: {reason}"])
    return Result([(address, "free", "")], [])


def _listen(host: str, port: int) -> None:
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as listener:
        # As servers do: what the last one left behind in TIME_WAIT does not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen()


@contextlib.contextmanager
def _without_log() -> Iterator[None]:
    """Keep what filters log at load for the server's own start."""
    previous = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(previous)

"""nginx and haproxy, run from the files that are shipped: only addresses, port and certificate are filled in."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

from tests.gateway.client import PATIENCE, Response, encode_body, find_free_port
from tests.gateway.servers import stop
from tests.paths import ETC
from tests.waiting import wait_until

FRONTS = ("nginx", "haproxy")
_HALF_OPEN_LINES = {"nginx": 2, "haproxy": 3}  # that begin with a #
_FILES = {"nginx": ETC / "nginx.conf", "haproxy": ETC / "haproxy.cfg"}
_NOVA, _GATEWAYS = "127.0.0.1:18774", ("127.0.0.1:8784", "192.0.2.22:8784")
_SECOND_GATEWAY = re.compile(r"(?m)^( +)# (?=server .*192\.0\.2\.22)")
_CERTIFICATES = ("/etc/nginx/compute.pem", "/etc/nginx/compute.key", "/etc/haproxy/compute.pem")
_LISTEN = {
    "nginx": ("listen 8774 ssl;", "listen 127.0.0.1:{port} ssl;"),
    "haproxy": ("bind :8774 ssl ", "bind 127.0.0.1:{port} ssl "),
}

_NGINX = """\
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {file};
}}
"""
_HAPROXY = "global\n    maxconn 1000\n    stats socket {folder}/stats.sock\n"
# What only root may do, and a socket for which Debian's unit makes the folder.
_OF_A_HOST = re.compile(r"(?m)^    (user|group|chroot|stats socket|maxconn) .*\n")
_MAIN_FILES = {"nginx": _NGINX, "haproxy": _HAPROXY}


class Front(NamedTuple):
    """A running nginx or haproxy."""

    kind: str
    port: int
    folder: Path
    tls: ssl.SSLContext  # of a client

    def send_request(
        self, method: str, target: str, document: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send one request on a connection of its own; a document that is not bytes is sent as JSON."""
        sent = {"X-Auth-Token": "member", "Content-Type": "application/json", **(headers or {})}
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=self.tls)
        with contextlib.closing(connection):
            connection.request(method, target, encode_body(document), sent)
            response = connection.getresponse()
            return Response(response.status, response.getheaders(), response.read())

    def connect(self) -> ssl.SSLSocket:
        """Open a connection, for what no client would send."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        return self.tls.wrap_socket(plain, server_hostname="127.0.0.1")

    def send_raw(self, data: bytes, wait: float = 2.0) -> bytes:
        """Send bytes on one connection; return what comes back until it is closed, or nothing comes for a while."""
        received = b""
        with self.connect() as connection:
            connection.settimeout(wait)
            with contextlib.suppress(OSError):  # it may be refused before all is sent
                connection.sendall(data)
            with contextlib.suppress(OSError):
                while chunk := connection.recv(65536):
                    received += chunk
        return received

    def haproxy_servers(self) -> dict[str, str]:
        """Return the state of each server, by backend/server, as haproxy sees it."""
        with socket.socket(socket.AF_UNIX) as stats:
            stats.connect(str(self.folder / "stats.sock"))
            stats.sendall(b"show stat\n")
            header, *lines = stats.makefile("r").read().splitlines()
        names = header.lstrip("# ").split(",")
        states = {}
        for line in filter(None, lines):
            row = dict(zip(names, line.split(",")))
            states[f"{row['pxname']}/{row['svname']}"] = row["status"]
        return states


@contextlib.contextmanager
def serve_front(kind: str, nova: int, gateways: Sequence[int], half_open: bool = False) -> Iterator[Front]:
    """Run nginx or haproxy in front of ports on 127.0.0.1; skip the test where it isn't installed."""
    with tempfile.TemporaryDirectory(prefix="front-", dir="/tmp") as name:  # a socket's path has room for a short one
        port, folder = find_free_port(), Path(name)
        command, tls = prepare(kind, port, nova, gateways, half_open, folder)
        with (folder / "out").open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            wait_until(lambda: listens(port, process, folder / "out"), PATIENCE)
            yield Front(kind, port, folder, tls)
        finally:
            stop(process)


def listens(port: int, process: subprocess.Popen[bytes], log: Path) -> bool:
    """Return whether a server listens on a port.

    :raises AssertionError: if it has ended.
    """
    assert process.poll() is None, log.read_text()
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


def prepare(
    kind: str, port: int, nova: int, gateways: Sequence[int], half_open: bool, folder: Path
) -> tuple[list[str], ssl.SSLContext]:
    """Write the configuration below ``folder``; return the command that runs it, and how a client knows the front."""
    program = shutil.which(kind, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None:
        pytest.skip(f"no {kind}: apt install {kind}")
    file, main = folder / f"shipped-{_FILES[kind].name}", folder / "main"
    file.write_text(_fill_in(kind, port, nova, gateways, half_open, folder))
    user = ""
    if os.getuid() == 0:
        user = "user root;"
    main.write_text(_MAIN_FILES[kind].format(folder=folder, file=file, user=user))
    commands = {
        "nginx": [program, "-p", str(folder), "-e", "stderr", "-c", str(main)],
        "haproxy": [program, "-db", "-f", str(main), "-f", str(file)],
    }
    return commands[kind], _make_certificate(folder)


def nginx_without_tls(port: int, nova: int, gateways: Sequence[int]) -> str:
    """Return the shipped nginx.conf over plain HTTP, for a benchmark of all but TLS."""
    text = _fill_in("nginx", port, nova, gateways, False, Path())
    return re.sub(r"(?m)^ *ssl_.*\n", "", text.replace(" ssl;", " backlog=1024;"))


def _make_certificate(folder: Path) -> ssl.SSLContext:
    """Write the front's certificate; return the context of a client that trusts it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "compute.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    return tls


def _fill_in(kind: str, port: int, nova: int, gateways: Sequence[int], half_open: bool, folder: Path) -> str:
    text = _FILES[kind].read_text()
    if half_open:
        text, count = re.subn(r"(?m)^( +)#(?=\w)", r"\1", text)
        assert count == _HALF_OPEN_LINES[kind]
    if kind == "haproxy":
        text = _OF_A_HOST.sub("", text)
    text = _replace_once(_SECOND_GATEWAY.sub(r"\1", text), _LISTEN[kind][0], _LISTEN[kind][1].format(port=port))
    for address, replacement in ((_NOVA, nova), *zip(_GATEWAYS, gateways)):
        assert address in text
        text = text.replace(address, f"127.0.0.1:{replacement}")
    for path in _CERTIFICATES:
        text = text.replace(path, str(folder / "compute.pem"))
    assert "192.0.2." not in text
    return text


def _replace_once(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)

"""nginx and haproxy, run from the files that are shipped: only addresses, port and certificate are filled in."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

from tests.gateway.servers import PATIENCE, ROOT, Response, free_port, stop

FRONTS = ("nginx", "haproxy")
_FILES = {"nginx": ROOT / "etc/imagefilter/nginx.conf", "haproxy": ROOT / "etc/imagefilter/haproxy.cfg"}
_NOVA, _GATEWAYS = "192.0.2.10:8774", ("192.0.2.21:8775", "192.0.2.22:8775")

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


class Front(NamedTuple):
    """A running nginx or haproxy."""

    kind: str
    port: int
    folder: Path
    tls: ssl.SSLContext  # of a client

    def ask(self, method: str, target: str, document: Any = None, headers: Mapping[str, str] | None = None) -> Response:
        """One request on a connection of its own; a document that is no bytes is sent as JSON."""
        sent = {"X-Auth-Token": "member", "Content-Type": "application/json", **(headers or {})}
        body = document if isinstance(document, (bytes, type(None))) else json.dumps(document).encode()
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=self.tls)
        with contextlib.closing(connection):
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            return Response(response.status, response.getheaders(), response.read())

    def connect(self) -> ssl.SSLSocket:
        """A connection for what no client would send."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        return self.tls.wrap_socket(plain, server_hostname="127.0.0.1")

    def send(self, data: bytes, wait: float = 2.0) -> bytes:
        """Send bytes on one connection; what comes back until it is closed, or nothing more comes for a while."""
        came = b""
        with self.connect() as connection:
            connection.settimeout(wait)
            with contextlib.suppress(OSError):  # it may be refused before all is sent
                connection.sendall(data)
            with contextlib.suppress(OSError):
                while chunk := connection.recv(65536):
                    came += chunk
        return came

    def servers(self) -> dict[str, str]:
        """Of haproxy: what it thinks of each server, by backend/server."""
        with socket.socket(socket.AF_UNIX) as stats:
            stats.connect(str(self.folder / "stats.sock"))
            stats.sendall(b"show stat\n")
            rows = stats.makefile("r").read().splitlines()
        names = rows[0].lstrip("# ").split(",")
        each = [dict(zip(names, row.split(","))) for row in rows[1:] if row]
        return {f"{row['pxname']}/{row['svname']}": row["status"] for row in each}


@contextlib.contextmanager
def serve_front(kind: str, nova: int, gateways: Sequence[int], fail_open: bool = False) -> Iterator[Front]:
    """Run nginx or haproxy in front of ports on 127.0.0.1; skips the test where it isn't installed."""
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="front-", dir="/tmp"))  # a socket's path has room for a short one
    command, tls = prepare(kind, port, nova, gateways, fail_open, folder)
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        until = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, (folder / "out").read_text()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            assert time.monotonic() < until
            time.sleep(0.05)
        yield Front(kind, port, folder, tls)
    finally:
        stop(process)
        shutil.rmtree(folder)


def prepare(
    kind: str, port: int, nova: int, gateways: Sequence[int], fail_open: bool, folder: Path
) -> tuple[list[str], ssl.SSLContext]:
    """Write the config below ``folder``: the command that runs it, and how a client knows the front."""
    program = shutil.which(kind, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None:
        pytest.skip(f"no {kind}: apt install {kind}")
    authority, file = trustme.CA(), folder / f"shipped-{_FILES[kind].name}"
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "compute.pem"))
    file.write_text(_filled_in(kind, port, nova, gateways, fail_open, folder))
    (folder / "main").write_text(
        (_NGINX if kind == "nginx" else _HAPROXY).format(
            folder=folder, file=file, user="user root;" if os.getuid() == 0 else ""
        )
    )
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    if kind == "nginx":
        return [program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "main")], tls
    return [program, "-db", "-f", str(folder / "main"), "-f", str(file)], tls


def _filled_in(kind: str, port: int, nova: int, gateways: Sequence[int], fail_open: bool, folder: Path) -> str:
    text = _FILES[kind].read_text()
    if fail_open:
        comment = "#server"
        assert text.count(comment) == 1
        text = text.replace(comment, "server")
    for address, replacement in ((_NOVA, nova), *zip(_GATEWAYS, gateways)):
        assert address in text
        text = text.replace(address, f"127.0.0.1:{replacement}")
    listen = {"nginx": "listen 8774 ssl;", "haproxy": "bind :8774 ssl "}[kind]
    assert text.count(listen) == 1
    text = text.replace(listen, listen.replace(":8774", "8774").replace("8774", f"127.0.0.1:{port}"))
    for path in ("/etc/nginx/compute.pem", "/etc/nginx/compute.key", "/etc/haproxy/compute.pem"):
        text = text.replace(path, str(folder / "compute.pem"))
    assert "192.0.2." not in text
    return text


def nginx_without_tls(port: int, nova: int, gateways: Sequence[int]) -> str:
    """The shipped nginx.conf, over plain HTTP: for a benchmark of all but TLS."""
    text = _filled_in("nginx", port, nova, gateways, False, Path())
    return re.sub(r"(?m)^ *ssl_.*\n", "", text.replace(" ssl;", " backlog=1024;"))


class Heard(NamedTuple):
    """A request as a front sent it on."""

    head: bytes
    body: bytes

    @property
    def method(self) -> bytes:
        return self.head.split(b" ", 1)[0]

    @property
    def target(self) -> bytes:
        return self.head.split(b" ", 2)[1]

    def header(self, name: str) -> bytes | None:
        found = [line.partition(b":") for line in self.head.split(b"\r\n")[1:]]
        values = [value.strip() for key, _, value in found if key.decode("latin-1").lower() == name.lower()]
        return b", ".join(values) if values else None


class Wire:
    """Stands where Nova or a gateway should: keeps what it hears, and says in its answer who it is.

    With ``mute`` it hangs up on every request but a health check, as a gateway does that dies over it.
    """

    def __init__(self, name: str, port: int = 0, mute: bool = False) -> None:
        self._name = name
        self._mute = mute
        self._heard: list[Heard] = []
        self._socket = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def heard(self) -> list[Heard]:
        """What it heard since the last call, health checks aside."""
        heard, self._heard = self._heard, []
        return [each for each in heard if each.target != b"/healthcheck"]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer, peer.makefile("rb") as stream:
            while line := stream.readline():
                head = line
                while not head.endswith(b"\r\n\r\n") and (line := stream.readline()):
                    head += line
                request = Heard(head, b"")
                request = request._replace(body=_body(request, stream))
                self._heard.append(request)
                if self._mute and request.target != b"/healthcheck":
                    return
                name = self._name.encode()
                body = b"" if request.method == b"HEAD" else name
                peer.sendall(b"HTTP/1.1 200 OK\r\nX-Way: %b\r\nContent-Length: %d\r\n\r\n%b" % (name, len(name), body))


def _body(request: Heard, stream: Any) -> bytes:
    if request.header("Transfer-Encoding") is None:
        return bytes(stream.read(int(request.header("Content-Length") or b"0")))
    body = b""
    while size := int(stream.readline().partition(b";")[0], 16):
        body += stream.read(size)
        stream.readline()
    while stream.readline().strip():  # trailers
        pass
    return body

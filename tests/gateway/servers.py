"""Real servers on free ports for the tests: the gateway in processes of its own, and what stands behind it.

``serve_gateway`` runs the paste file that is shipped, with the settings that a test needs. ``Upstream`` is a compute
API of bare sockets that records what it gets to the byte and answers what it is told, broken off if need be.
"""

from __future__ import annotations

import configparser
import contextlib
import http.client
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

ROOT = Path(__file__).parents[2]
PASTE = ROOT / "etc" / "imagefilter" / "gateway.ini"
UNIT = ROOT / "etc" / "imagefilter" / "imagefilter-gateway.service"
SERVERS = ("gunicorn", "granian")
PATIENCE = 60  # seconds: the machine may be slow


class Response(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """All values of a header, joined; None if there is none."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(found) if found else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """Of a fault."""
        [fault] = self.json.values()
        return str(fault["message"])


class Gateway(NamedTuple):
    """A running gateway."""

    port: int
    process: subprocess.Popen[bytes]
    journal: Path
    log: Path

    def ask(self, method: str, target: str, document: Any = None, headers: Mapping[str, str] | None = None) -> Response:
        return ask(self.port, method, target, document, headers)

    def records(self) -> list[dict[str, Any]]:
        """All of the journal's; the outcome of a request may come after its answer."""
        return [json.loads(line) for line in self.journal.read_bytes().splitlines()] if self.journal.exists() else []

    def outcomes(self, count: int) -> list[dict[str, Any]]:
        """The first outcomes in the journal, as soon as there are so many."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            found = [each for each in self.records() if each["eventType"] == "activity"]
            if len(found) >= count:
                return found[:count]
            time.sleep(0.05)
        raise AssertionError(f"no {count} outcomes: {self.records()}")

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ask(
    port: int, method: str, target: str, document: Any = None, headers: Mapping[str, str] | None = None
) -> Response:
    """One request on a connection of its own; a document that is no bytes is sent as JSON."""
    sent = {"X-Auth-Token": "member", "Content-Type": "application/json", **(headers or {})}
    body = document if isinstance(document, (bytes, type(None))) else json.dumps(document).encode()
    if body is None:
        del sent["Content-Type"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.putrequest(method, target, skip_host="Host" in sent, skip_accept_encoding=True)
        if body is not None and "Content-Length" not in sent and "Transfer-Encoding" not in sent:
            sent["Content-Length"] = str(len(body))
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return Response(response.status, response.getheaders(), response.read())


def send_raw(port: int, data: bytes, wait: float = 3.0) -> bytes:
    """Send bytes on one connection, and all that comes back until it is closed, or nothing more comes for a while.

    Ends with ``b"<open>"`` if the other end kept the connection open, with ``b"<reset>"`` if it broke it.
    """
    came = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        with contextlib.suppress(ConnectionError):  # the other end may refuse before it has read all
            connection.sendall(data)
        connection.settimeout(wait)
        try:
            while chunk := connection.recv(65536):
                came += chunk
        except TimeoutError:
            came += b"<open>"
        except ConnectionError:
            came += b"<reset>"
    return came


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serve_gateway(
    server: str = "gunicorn",
    compute_url: str = "",
    options: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    authtoken: Mapping[str, str] | None = None,
    health: Mapping[str, str] | None = None,
    *,
    proxied: bool = False,
    workers: int = 1,
    threads: int = 8,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Gateway]:
    """Run a gateway in front of ``compute_url``.

    :param options: of the filter.
    :param settings: of the gateway's app section.
    :param authtoken: settings of auth_token; without them it is the pipeline without auth_token.
    :param health: settings of the health check.
    :param proxied: whether X-Forwarded-* headers are believed.
    """
    folder = Path(tempfile.mkdtemp(prefix="imagefilter-gateway-"))
    journal, log, paste = (folder / name for name in ("audit.jsonl", "log", "gateway.ini"))
    given = {
        "filter:imagefilter": {"audit_journal": str(journal), **(options or {})},
        "app:compute": settings or {},
        "filter:authtoken": authtoken or {},
        "app:healthcheck": health or {},
        "filter:http_proxy_to_wsgi": {"enable_proxy_headers_parsing": str(proxied).lower()},
    }
    paste.write_text(paste_text(compute_url, given, "gateway" if authtoken else "gateway-without-authtoken"))
    port = free_port()
    command = COMMANDS[server](paste, port, workers, threads)
    variables = {**os.environ, "IMAGEFILTER_PASTE": str(paste), **(environ or {})}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", *command],
            env=variables,
            cwd=ROOT,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        wait_for(port, process, log)
        yield Gateway(port, process, journal, log)
    finally:
        stop(process)
        shutil.rmtree(folder)


def _gunicorn(paste: Path, port: int, workers: int, threads: int) -> list[str]:
    return [
        *("gunicorn", "--paste", str(paste), "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"),
        *("--workers", str(workers), "--threads", str(threads), "--graceful-timeout", "20"),
    ]


def _granian(paste: Path, port: int, workers: int, threads: int) -> list[str]:
    """What the shipped systemd unit runs, but for these numbers and a time-out for the tests' patience."""
    command = shlex.split(re.search(r"^ExecStart=((?:.*\\\n)*.*)$", UNIT.read_text(), re.M)[1].replace("\\\n", ""))  # type: ignore[index]
    given = {"--port": port, "--workers": workers, "--blocking-threads": threads, "--workers-kill-timeout": 20}
    for option, value in given.items():
        command[command.index(option) + 1] = str(value)
    assert command[0] == "/opt/imagefilter/bin/granian"
    return ["granian", *command[1:]]


COMMANDS: dict[str, Callable[[Path, int, int, int], list[str]]] = {"gunicorn": _gunicorn, "granian": _granian}


def paste_text(compute_url: str, given: Mapping[str, Mapping[str, str]], pipeline: str) -> str:
    """The shipped paste file, with other settings in some sections."""
    parser = configparser.RawConfigParser(default_section="")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(PASTE)
    parser.set("DEFAULT", "compute_api", compute_url)
    parser.set("composite:main", "/", pipeline)
    for section, settings in given.items():
        for key, value in settings.items():
            parser.set(section, key, value)
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers a request: workers load the pipeline after the port is open."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError, http.client.HTTPException):
            ask(port, "GET", "/healthcheck")
            return
        time.sleep(0.05)
    raise AssertionError(f"the server does not come up: {log.read_text()}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server, which is the leader of its session, as systemd does."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its workers too
        process.wait()
        raise


class Asked(NamedTuple):
    """A request as it came over a socket."""

    line: str  # method, target, version
    headers: list[tuple[str, str]]
    body: bytes  # all that came after the head and before the answer
    connection: int  # number of the connection that it came on

    @property
    def is_health_check(self) -> bool:
        return self.line == "GET / HTTP/1.1" and (self.header("user-agent") or "").startswith("python-urllib3")

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) < 2, found
        return found[0] if found else None


Handler = Callable[[Asked, socket.socket], Optional[bool]]  # answers; True keeps the connection open


def answer(status: str = "200 OK", body: bytes = b"", *headers: str) -> bytes:
    """An answer as bytes, with a Content-Length."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]).encode() + body


class Upstream:
    """What stands where the compute API should, on bare sockets: each connection in a thread of its own."""

    def __init__(self, handler: Handler | bytes = b"", tls: Any = None, port: int = 0) -> None:
        self.asked: list[Asked] = []  # but for the gateway's own health checks
        self.answer(handler or answer())
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", port), backlog=128)
        self._open: list[socket.socket] = []
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def answer(self, handler: Handler | bytes) -> None:
        """Answer so from now on."""
        self.handler: Handler = handler if callable(handler) else lambda asked, peer: peer.sendall(handler) is None

    def reset(self) -> None:
        """Forget what was asked, break all connections, and answer 200 again."""
        self.drop()
        self.asked.clear()
        self.answer(answer())

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, and break all connections."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.drop()

    def drop(self) -> None:
        """Break all connections, as they are when idle ones are given up."""
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        number = 0
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                number += 1
                threading.Thread(target=self._serve, args=(peer, number), daemon=True).start()

    def _serve(self, peer: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._tls is not None:
                peer = self._tls.wrap_socket(peer, server_side=True)
            self._open.append(peer)
            with peer, peer.makefile("rb") as stream:
                while asked := _read_request(stream, number):
                    if not asked.is_health_check:
                        self.asked.append(asked)
                    if not self.handler(asked, peer):
                        with contextlib.suppress(OSError):
                            peer.shutdown(socket.SHUT_RDWR)
                        return


def _read_request(stream: Any, number: int) -> Asked | None:
    line = stream.readline()
    if not line:
        return None
    headers = []
    for raw in iter(stream.readline, b"\r\n"):
        name, _, value = raw.decode("latin-1").partition(":")
        headers.append((name, value.strip()))
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    assert not [name for name, _ in headers if name.lower() == "transfer-encoding"]
    body = stream.read(int(lengths[0])) if lengths else b""
    return Asked(line.decode("latin-1").rstrip("\r\n"), headers, body, number)


def chunked(parts: Iterable[bytes], end: bool = True) -> bytes:
    """A body in chunks; without its end it is broken off."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + (b"0\r\n\r\n" if end else b"")

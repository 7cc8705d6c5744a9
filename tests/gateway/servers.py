"""The gateway in processes of its own: the shipped paste file under each WSGI server, on free ports."""

from __future__ import annotations

import configparser
import contextlib
import http.client
import io
import os
import re
import shlex
import signal
import string
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Callable, NamedTuple

from tests.gateway.client import PATIENCE, Response, find_free_port, send_request
from tests.paths import ETC, ROOT
from tests.records import parse_requests
from tests.waiting import wait_until

PASTE = ETC / "gateway.ini"
UNIT = ETC / "imagefilter-gateway.service"
SERVERS = ("gunicorn", "granian")


class Journal:
    """The journal of a running gateway. Each record is parsed once, since some tests ask for all of them often."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._records: list[dict[str, Any]] = []
        self._position = 0

    def records(self) -> list[dict[str, Any]]:
        """Return all records."""
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            file.seek(self._position)
            lines, _, _ = file.read().rpartition(b"\n")  # the last one may just be being written
            self._records += parse_requests(lines.splitlines())
            if lines:
                self._position += len(lines) + 1
        return self._records


class Gateway(NamedTuple):
    """A running gateway."""

    port: int
    process: subprocess.Popen[bytes]
    journal: Journal
    log: Path

    def send_request(
        self, method: str, target: str, document: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        return send_request(self.port, method, target, document, headers)

    def records(self, event_type: str = "") -> list[dict[str, Any]]:
        """Return the records in the journal: all, or those of one type (``control``, ``activity``)."""
        return [record for record in self.journal.records() if event_type in ("", record["eventType"])]

    def wait_for_outcome(self, response: Response) -> dict[str, Any]:
        """Return the record of what became of a request: it may be written after the response was sent."""
        request_id = response.header("X-Openstack-Request-Id")

        def find() -> list[dict[str, Any]]:
            return [record for record in self.records("activity") if record["initiator"]["request_id"] == request_id]

        wait_until(find, PATIENCE)
        [outcome] = find()
        return outcome

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if not _is_resource_tracker(child)]


#: Runs a gateway, see :func:`serve_gateway`.
GatewayFactory = Callable[..., Gateway]


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
    with tempfile.TemporaryDirectory(prefix="imagefilter-gateway-") as name:
        folder = Path(name)
        journal, log, paste = folder / "audit.jsonl", folder / "log", folder / "gateway.ini"
        sections = {
            "filter:imagefilter": {"audit_journal": str(journal), **(options or {})},
            "app:compute": settings or {},
            "filter:authtoken": authtoken or {},
            "app:healthcheck": health or {},
            "filter:http_proxy_to_wsgi": {"enable_proxy_headers_parsing": str(proxied).lower()},
        }
        pipeline = "gateway-without-authtoken"
        if authtoken:
            pipeline = "gateway"
        paste.write_text(fill_in_paste_file(compute_url, sections, pipeline))
        with run_server(server, paste, log, workers, threads, environ or {}) as (port, process):
            yield Gateway(port, process, Journal(journal), log)


@contextlib.contextmanager
def run_server(
    server: str, paste: Path, log: Path, workers: int, threads: int, environ: Mapping[str, str]
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run a WSGI server with a paste file; yield its port and process once it responds."""
    port = find_free_port()
    command = COMMANDS[server](paste, port, workers, threads)
    process = start(command, {"IMAGEFILTER_PASTE": str(paste), **environ}, log)
    try:
        wait_for_server(port, process, log)
        if server == "granian":  # its workers ignore SIGTERM while they load
            wait_until(lambda: log.read_text().count("Started worker-") == workers, PATIENCE)
        yield port, process
    finally:
        kill_session(process)


def start(command: list[str], environ: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a server that is a Python module, as the leader of a session."""
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", *command],
            env={**os.environ, **environ},
            cwd=ROOT,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def wait_for_server(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server responds: workers load the pipeline after the port is open."""

    def responds() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError, http.client.HTTPException):
            send_request(port, "GET", "/healthcheck/live")
            return True
        return False

    wait_until(responds, PATIENCE)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server as systemd does."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill a server that is the leader of its session, with its workers, at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)


def fill_in_paste_file(
    compute_url: str, sections: Mapping[str, Mapping[str, str]], pipeline: str, paste: Path = PASTE
) -> str:
    """Return the shipped paste file, or another one, with other settings in some sections."""
    parser = configparser.RawConfigParser(default_section="")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(paste)
    parser.set("DEFAULT", "compute_api", compute_url)
    parser.set("composite:sites", "/", pipeline)
    for section, settings in sections.items():
        for key, value in settings.items():
            parser.set(section, key, value)
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def gunicorn_command(paste: Path, port: int, workers: int, threads: int) -> list[str]:
    """Return the command that docs/gateway.md shows, with a shorter time-out."""
    options = f"--bind 127.0.0.1:{port} --worker-class gthread --workers {workers} --threads {threads}"
    return ["gunicorn", "--paste", str(paste), *options.split(), "--graceful-timeout", "20"]


def granian_command(paste: Path, port: int, workers: int, threads: int) -> list[str]:
    """Return the command of the shipped systemd unit, with these numbers and a shorter time-out."""
    text = UNIT.read_text()
    line = re.search(r"^ExecStart=((?:.*\\\n)*.*)$", text, re.M)
    assert line
    defaults = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.M))
    command = shlex.split(string.Template(line[1].replace("\\\n", "")).substitute(defaults))
    numbers = {"--port": port, "--workers": workers, "--blocking-threads": threads, "--workers-kill-timeout": 20}
    for option, value in numbers.items():
        command[command.index(option) + 1] = str(value)
    assert command[0] == "/opt/imagefilter/bin/granian"
    return ["granian", *command[1:]]


COMMANDS: dict[str, Callable[[Path, int, int, int], list[str]]] = {
    "gunicorn": gunicorn_command,
    "granian": granian_command,
}


def _is_resource_tracker(pid: str) -> bool:
    """Return whether a process is multiprocessing's own helper, which granian starts beside its workers."""
    with contextlib.suppress(OSError):
        return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False

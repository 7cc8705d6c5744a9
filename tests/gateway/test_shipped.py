"""The shipped files, under real servers: the health check and the systemd unit."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.gateway.client import PATIENCE
from tests.gateway.servers import UNIT, Gateway
from tests.gateway.upstream import ReceivedRequest, Upstream, build_response
from tests.waiting import wait_until

GRANIAN = str(Path(sys.executable).parent / "granian")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd")
def test_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/imagefilter/bin", str(Path(GRANIAN).parent)))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:]


def test_health_check_asks_the_compute_api(gateway: Gateway, upstream: Upstream) -> None:
    upstream.respond(build_response("300 Multiple Choices", b"{}"))
    healthy = gateway.send_request("GET", "/healthcheck")
    assert (healthy.status, healthy.body) == (200, b"OK")
    assert gateway.send_request("HEAD", "/healthcheck").status == 204
    upstream.respond(build_response("503 Service Unavailable"))
    wait_until(lambda: gateway.send_request("GET", "/healthcheck").status == 503, PATIENCE, interval=0.1)
    assert gateway.send_request("GET", "/healthcheck").body == b"The compute API responded 503"
    assert upstream.requests == []  # health checks are not counted, and there are no other requests


def test_liveness_asks_nobody(gateway: Gateway, upstream: Upstream) -> None:
    """By it a front decides: a busy compute API must not take the gateways out."""
    is_over = threading.Event()
    upstream.respond(lambda request, connection: is_over.wait(PATIENCE))
    for _ in range(20):
        assert gateway.send_request("GET", "/healthcheck/live").status == 200
    is_over.set()


def test_many_health_checks_ask_the_compute_api_once_a_second(gateway: Gateway, upstream: Upstream) -> None:
    """It takes no token, so a stranger can ask as often as it likes."""
    asked: list[str] = []

    def count(request: ReceivedRequest, connection: socket.socket) -> bool:
        asked.append(request.target)
        connection.sendall(build_response("300 Multiple Choices", b"{}"))
        return True

    upstream.respond(count)
    started_at = time.monotonic()
    for _ in range(60):
        gateway.send_request("POST", "/healthcheck", b"{}")
    assert len(asked) <= 2 + (time.monotonic() - started_at)

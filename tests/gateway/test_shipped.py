"""The shipped files, under real servers: the health check and the systemd unit."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.servers import UNIT, Gateway
from tests.gateway.upstream import Upstream, build_response

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
    unhealthy = gateway.send_request("GET", "/healthcheck")
    assert (unhealthy.status, unhealthy.body) == (503, b"The compute API responded 503")
    assert upstream.requests == []  # health checks are not counted, and there are no other requests

"""``make demo``: the tour, its exit statuses, and a port that is taken."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import waitress

from tests.nova import demo
from tests.nova.cloud import Cloud


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.nova.demo", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_tour() -> None:
    done = run("--once", "--port", str(free_port()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(demo.TOUR)} of {len(demo.TOUR)} steps went as expected." in done.stdout
    assert "made an image named '20261123'" in done.stdout
    assert "UNEXPECTED" not in done.stdout


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--once", "--port", str(port))
    assert done.returncode == 2
    assert done.stdout.count("\n") == 1
    assert f"127.0.0.1:{port}" in done.stdout


def test_an_unexpected_answer_is_told(cloud: Cloud, capsys: object) -> None:
    server = waitress.create_server(cloud.app({}), host="127.0.0.1", port=0)
    threading.Thread(target=server.run, daemon=True).start()
    good = demo.TOUR[0]
    assert demo.walk(cloud, server.effective_port, good)
    assert not demo.walk(cloud, server.effective_port, good._replace(status=400))
    assert not demo.walk(cloud, server.effective_port, good._replace(image=("another", {})))
    server.close()

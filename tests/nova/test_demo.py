"""``make demo``: the tour, its exit statuses, and a port in use."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import waitress

from tests.nova import demo
from tests.nova.cloud import Cloud
from tests.nova.demo import Step
from tests.ports import find_free_port


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.nova.demo", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_tour_goes_as_expected() -> None:
    """In a process of its own, as ``make demo`` starts it."""
    done = run("--once", "--port", str(find_free_port()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(demo.TOUR)} of {len(demo.TOUR)} steps went as expected." in done.stdout
    assert "made an image named '20261123'" in done.stdout
    assert "UNEXPECTED" not in done.stdout


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--once", "--port", str(port))
    assert done.returncode == 2
    assert done.stdout.count("\n") == 1
    assert f"127.0.0.1:{port}" in done.stdout


@pytest.fixture
def port(cloud: Cloud) -> Iterator[int]:
    """Serve the filter and Nova on a port."""
    server = waitress.create_server(cloud.app({}), host="127.0.0.1", port=0)
    threading.Thread(target=server.run, daemon=True).start()
    yield server.effective_port
    server.close()


GOOD = demo.TOUR[0]
UNEXPECTED = [GOOD._replace(status=400), GOOD._replace(image=("another", {})), GOOD._replace(message="refused")]


def test_a_good_step_is_expected(cloud: Cloud, port: int) -> None:
    assert demo.is_expected(GOOD, demo.send_step(cloud, port, GOOD))


@pytest.mark.parametrize("step", UNEXPECTED, ids=["status", "image", "message"])
def test_an_unexpected_result_is_reported(cloud: Cloud, port: int, step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(demo, "write", lambda text="": lines.append(text))
    result = demo.send_step(cloud, port, step)
    demo.write_step(step, result, cloud.server)
    assert not demo.is_expected(step, result)
    assert any("UNEXPECTED" in line for line in lines)

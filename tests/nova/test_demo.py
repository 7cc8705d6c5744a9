"""``make demo``: the tour, its exit statuses, and a port in use."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import waitress

from tests.nova import demo
from tests.nova.cloud import NOVA, Cloud
from tests.nova.demo import Step
from tests.ports import find_free_port
from tests.waiting import wait_until


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


@pytest.mark.parametrize("place", [[], ["--gateway"]], ids=["pipeline", "gateway"])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_policy_of_one_s_own(place: list[str], end: signal.Signals, tmp_path: Path) -> None:
    """As ``make demo CONFIG=my.conf`` and ``make gateway CONFIG=my.conf`` start it.

    Each caller, a reload, a bad reload, the records, and nothing is left behind.
    """
    if NOVA < 34:
        pytest.skip("make demo runs Nova 34; with eventlet it ends late")
    config, temporary, port = tmp_path / "my.conf", tmp_path / "tmp", find_free_port()
    temporary.mkdir()
    config.write_text("[imagefilter]\nname_pattern = nightly-[0-9]+\nexempt_roles = backup\n")
    command = [sys.executable, "-W", "ignore", "-m", "tests.nova.demo", "--port", str(port), "--config", str(config)]
    command += place
    out = tmp_path / "out"
    with out.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env={**os.environ, "TMPDIR": str(temporary)})
    try:
        wait_until(lambda: "Serving until Ctrl-C" in out.read_text(), 120)
        paths = dict(re.findall(r"curl -si http://127.0.0.1:\d+(\S+) -H 'X-Auth-Token: (\w+)'", out.read_text()))
        tokens = {token: path for path, token in paths.items()}
        assert set(tokens) == {"admin", "other"}, "the first three ask for the same server"
        assert ask(port, "member", tokens["admin"]) == 403
        assert ask(port, "backup", tokens["admin"]) == 202
        assert ask(port, "other", tokens["other"]) == 403
        wait_until(lambda: out.read_text().count("  record   ") == 5, 60)  # one tells the policy
        config.write_text("[imagefilter]\nname_pattern = mine\n")
        os.utime(config, (1e9, 1e9))
        wait_until(lambda: "the configuration was reloaded" in out.read_text(), 60)  # nobody has asked
        wait_until(lambda: ask(port, "member", tokens["admin"]) in (202, 409), 60)
        config.write_text("[imagefilter]\nname_patern = mine\n")
        os.utime(config, (2e9, 2e9))
        wait_until(lambda: "reload failed" in out.read_text(), 60)
        assert "(is it name_pattern?)" in out.read_text()
    finally:
        process.send_signal(end)
        process.wait(60)
    assert list(temporary.iterdir()) == []


def ask(port: int, token: str, path: str) -> int:
    """Ask for an image named ``mine``; return the status."""
    body = json.dumps({"createImage": {"name": "mine", "metadata": {"k": "v"}}})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", path, body, {"X-Auth-Token": token, "Content-Type": "application/json"})
        return connection.getresponse().status


@pytest.mark.parametrize(
    ("options", "count"),
    [("nonsense = 1\nmetadata_items = x", 2), ("one_at_a_time = true\ncoordination_url = nonsense://h", 1)],
)
def test_a_bad_policy_is_refused_before_nova_starts(options: str, count: int, tmp_path: Path) -> None:
    config = tmp_path / "my.conf"
    config.write_text(f"[imagefilter]\n{options}\n")
    done = run("--config", str(config))
    assert (done.returncode, done.stdout.count("error: ")) == (2, count)
    assert "Nova" not in done.stdout

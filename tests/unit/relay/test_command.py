"""The command ``imagefilter relay`` where no bus can be reached."""

from __future__ import annotations

import importlib.util
import signal
import socket

import pytest

from tests.relay.fakes import NO_BUS, Folder, record, relaying, until, write

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("oslo_messaging"), reason="no oslo.messaging in this virtualenv"
)


def test_once_without_a_bus_gives_up(folder: Folder) -> None:
    write(folder.journal, record(1))
    folder.set(NO_BUS, retries=1)
    status, output = folder.run("--once")
    assert status == 1
    assert "given up" in output
    assert "broker-secret" not in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(folder: Folder, number: int) -> None:
    write(folder.journal, record(1))
    with relaying(folder) as relay:
        until(lambda: "failed (attempt 1)" in folder.log.read_text())
        relay.signal(number)
        assert relay.wait() == 0
    assert "broker-secret" not in folder.log.read_text()


def test_reports_an_address_that_is_taken(folder: Folder) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        folder.set(NO_BUS, listen_port=listener.getsockname()[1])
        status, output = folder.run("--once")
    assert status == 2
    assert "Address already in use" in output
    assert "listen_port" in output

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Nova, which other tests of this process may need, wants to be imported before oslo.messaging, which imports eventlet.
pytest.importorskip("tests.nova.cloud", reason="no Nova in this virtualenv")
pytest.importorskip("oslo_messaging", reason="no oslo.messaging in this virtualenv")
pytest.importorskip("prometheus_client", reason="no prometheus-client in this virtualenv")
pytest.importorskip("tenacity", reason="no tenacity in this virtualenv")

from tests.relay import broker as broker_
from tests.relay.broker import Broker
from tests.relay.fakes import Consumer, Folder


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A RabbitMQ for all tests of this process."""
    if broker_.why_missing():
        pytest.skip(broker_.why_missing())
    parent = None
    if os.access("/dev/shm", os.W_OK):
        parent = "/dev/shm"
    folder = Path(tempfile.mkdtemp(dir=parent))
    broker = Broker(folder / "rabbitmq")
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
        shutil.rmtree(folder)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    """``make(url, **options)``: the files of a host, and a consumer in a process of its own."""
    consumers = []

    def making(url: str, **options: Any) -> tuple[Folder, Consumer]:
        folder = Folder(tmp_path, url, **options)
        consumers.append(Consumer(url, folder.topic, tmp_path / "consumed.jsonl"))
        return folder, consumers[-1]

    yield making
    for consumer in consumers:
        consumer.stop()

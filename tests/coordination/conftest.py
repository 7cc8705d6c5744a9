"""The back ends, each started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagefilter.coordination.backend import Backend
from imagefilter.coordination.url import load_backend
from tests.coordination.servers import KINDS, serve

TIMEOUT = 5.0


@pytest.fixture(scope="session", params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of each kind of back end."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    if request.param == "host":
        yield f"file://{folder}/locks"
        return
    with serve(request.param, folder) as server:
        yield server.url


@pytest.fixture
def backend(url: str) -> Backend:
    return load_backend(url, TIMEOUT)


@pytest.fixture
def other(url: str) -> Any:
    """The same back end, as another filter or another process uses it."""
    return load_backend(url, TIMEOUT)

"""The real Nova, one for each process of a test run: its own fixtures can't be there twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def cloud() -> Iterator[Any]:
    """A real Nova with one ACTIVE server."""
    module = pytest.importorskip("tests.nova.cloud", reason="no Nova in this virtualenv")
    case = module.Cloud()
    case.setUp()
    yield case
    case.doCleanups()


@pytest.fixture(autouse=True)
def _quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test begins with no image to account for, and leaves the server ready for the next."""
    yield
    if "cloud" in request.fixturenames:
        cloud = request.getfixturevalue("cloud")
        cloud.settle()
        cloud.images()
        cloud.records()

from __future__ import annotations

from collections.abc import Iterator

import pytest

cloud_module = pytest.importorskip("tests.nova.cloud", reason="no Nova in this virtualenv")


@pytest.fixture(scope="session")
def cloud() -> Iterator[cloud_module.Cloud]:
    """A real Nova with one ACTIVE server."""
    case = cloud_module.Cloud()
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

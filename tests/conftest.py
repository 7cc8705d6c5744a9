"""The real Nova, one for each process of a test run: its own fixtures can't exist twice in a process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def cloud() -> Iterator[Any]:
    """Start a real Nova with one ACTIVE server."""
    module = pytest.importorskip("tests.nova.cloud", reason="no Nova in this virtualenv")
    running = module.Cloud()
    running.setUp()
    yield running
    running.doCleanups()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave some tests to a run of their own, in which they are named: see the Makefile.

    tests/limits has a second Nova, and one process can hold only one. The others build a Debian root, a package, and
    container images.
    """
    for own_run in ("tests/limits", "tests/debian", "tests/gateway/test_install.py"):
        is_named = any(own_run in str(argument) for argument in config.invocation_params.args)
        if collection_path == Path(__file__).parents[1] / own_run and not is_named:
            return True
    return None


@pytest.fixture(scope="session")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real Keystone (``tests.gateway.keystone.Keystone``) with users, projects and roles."""
    pytest.importorskip("keystone", reason="no Keystone in this virtualenv")
    from tests.gateway.keystone import serve_keystone

    with serve_keystone(tmp_path_factory.mktemp("keystone")) as keystone:
        yield keystone


@pytest.fixture(autouse=True)
def _clean_up_cloud(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test with Nova, wait until the server is ready for the next one, and forget its images and records."""
    yield
    if "cloud" in request.fixturenames:
        cloud = request.getfixturevalue("cloud")
        cloud.settle()
        cloud.images()
        cloud.records()


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can reach: pytest's own are for its user alone."""
    folder = Path(os.path.realpath("/var/tmp"), f"imagefilter-test-{os.getpid()}")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)

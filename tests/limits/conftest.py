"""Keystone, Glance and Nova, each started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.gateway.keystone import Keystone
from tests.gateway.nova import ServedNova, serve_wsgi
from tests.limits.glance import Glance, serve_glance
from tests.wsgi import send


@pytest.fixture(scope="session")
def session_glance(keystone: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    folder: Path = tmp_path_factory.mktemp("glance")
    with serve_glance(keystone, folder) as glance:
        yield glance


@pytest.fixture(scope="session")
def nova(session_glance: Glance) -> Iterator[ServedNova]:
    from tests.limits.cloud import RealCloud

    cloud = RealCloud(session_glance)
    cloud.setUp()
    try:
        with serve_wsgi(cloud.bare) as port:
            yield ServedNova(cloud, port)
    finally:
        cloud.doCleanups()


@pytest.fixture
def glance(session_glance: Glance) -> Iterator[Glance]:
    """The Glance, without images of servers."""
    yield session_glance
    for user in ("alice", "bob"):
        session_glance.delete_all(user)


@pytest.fixture
def boot(nova: ServedNova, glance: Glance) -> Iterator[Callable[..., str]]:
    """Boot servers of a user; they are deleted after the test: the host has room for a dozen."""
    booted: list[tuple[str, str]] = []

    def boot(user: str = "alice", **members: Any) -> str:
        server: str = nova.cloud.new_server(members, user)
        booted.append((user, server))
        return server

    yield boot
    for user, server in booted:
        headers = {"X-Auth-Token": glance.keystone.cached_token(user)}
        assert send(nova.cloud.bare, "DELETE", f"/v2.1/servers/{server}", None, headers).status_int == 204

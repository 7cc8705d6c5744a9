"""A real Nova over HTTP, and gateways in front of it or of a compute API made for a test."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple

import pytest

pytest.importorskip("granian", reason="no extra 'gateway' in this virtualenv")
waitress = pytest.importorskip("waitress", reason="no extra 'nova' in this virtualenv")

from tests.gateway.servers import SERVERS, Gateway, Upstream, serve_gateway  # noqa: E402


class Served(NamedTuple):
    """A real Nova (``tests.nova.cloud.Cloud``) that is served over HTTP."""

    cloud: Any
    port: int
    url: str


@pytest.fixture(scope="session")
def nova(cloud: Any) -> Iterator[Served]:
    """A bare Nova, without the filter, on a port."""
    with _served(cloud, cloud.bare) as served:
        yield served


@pytest.fixture(scope="session")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real Keystone (``tests.gateway.keystone.Keystone``) with users, projects and roles."""
    pytest.importorskip("keystone", reason="no Keystone in this virtualenv")
    from tests.gateway.keystone import running

    with running(tmp_path_factory.mktemp("keystone")) as made:
        yield made


@pytest.fixture(scope="session")
def asking_nova(cloud: Any, keystone: Any) -> Iterator[Served]:
    """The same Nova, but its auth_token asks the real Keystone, and always."""
    with _served(cloud, cloud.asking({**keystone.authtoken(), "token_cache_time": "-1"})) as served:
        yield served


@contextlib.contextmanager
def _served(cloud: Any, app: Any) -> Iterator[Served]:
    server = waitress.create_server(
        app, host="127.0.0.1", port=0, threads=16, clear_untrusted_proxy_headers=False, ident=None
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield Served(cloud, server.effective_port, f"http://127.0.0.1:{server.effective_port}")
    server.close()


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    """Each server in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def _upstream() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


@pytest.fixture
def upstream(_upstream: Upstream) -> Upstream:
    """A compute API of bare sockets, the same for all tests of a module; tell it what to ``answer``."""
    _upstream.reset()
    return _upstream


@pytest.fixture(scope="module")
def gateways() -> Iterator[Callable[..., Gateway]]:
    """Run gateways that last for a module: the same one for the same arguments of ``serve_gateway``."""
    made: dict[str, Gateway] = {}
    with contextlib.ExitStack() as stack:

        def running(**given: Any) -> Gateway:
            key = repr(sorted(given.items()))
            if key not in made:
                made[key] = stack.enter_context(serve_gateway(**given))
            return made[key]

        yield running

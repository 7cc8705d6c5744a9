"""A real Nova over HTTP, and gateways in front of it or of a compute API made for a test."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple

import pytest

pytest.importorskip("granian", reason="no extra 'gateway' in this virtualenv")
waitress = pytest.importorskip("waitress", reason="no extra 'nova' in this virtualenv")

from tests.gateway.servers import SERVERS, Gateway, Upstream, free_port, serve_gateway, stop  # noqa: E402


class Served(NamedTuple):
    """A real Nova (``tests.nova.cloud.Cloud``) that is served over HTTP."""

    cloud: Any
    port: int
    url: str


@pytest.fixture(scope="session")
def nova(cloud: Any) -> Iterator[Served]:
    """A bare Nova, without the filter, on a port."""
    with served(cloud, cloud.bare) as made:
        yield made


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
    with served(cloud, cloud.asking({**keystone.authtoken(), "token_cache_time": "-1"})) as made:
        yield made


@pytest.fixture(scope="session")
def memcached() -> Iterator[dict[str, str]]:
    """Where auth_token keeps tokens, as options of its; if memcached isn't installed nobody is there."""
    port = free_port()
    program = shutil.which("memcached")
    with contextlib.ExitStack() as stack:
        if program:
            user = ["-u", "root"] if os.getuid() == 0 else []
            process = subprocess.Popen([program, "-l", "127.0.0.1", "-p", str(port), *user])
            stack.callback(stop, process)
        # The advanced pool imports eventlet if that is installed (Nova brings it here, a gateway's own virtualenv has
        # none), and then a worker of gunicorn's doesn't end before its master kills it.
        yield {"memcached_servers": f"127.0.0.1:{port}", "memcache_use_advanced_pool": "false"}


@pytest.fixture(scope="session")
def alices_server(asking_nova: Served, keystone: Any) -> str:
    """A server of alice's project."""
    import requests

    from tests.nova.cloud import IMAGE

    server = {"name": "web-1", "imageRef": IMAGE, "flavorRef": "1", "networks": "none"}
    headers = {"X-Auth-Token": keystone.token("alice"), "OpenStack-API-Version": "compute 2.37"}
    response = requests.post(f"{asking_nova.url}/v2.1/servers", json={"server": server}, headers=headers, timeout=60)
    assert response.status_code == 202, response.text
    made: str = response.json()["server"]["id"]
    asking_nova.cloud.settle(made)
    return made


@contextlib.contextmanager
def served(cloud: Any, app: Any) -> Iterator[Served]:
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

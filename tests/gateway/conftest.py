"""A real Nova over HTTP, and gateways in front of it or of a compute API made for a test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("granian", reason="no extra 'gateway' in this virtualenv")
pytest.importorskip("waitress", reason="no extra 'nova' in this virtualenv")

from tests.gateway.memcached import serve_memcached
from tests.gateway.nova import ServedNova, serve_wsgi
from tests.gateway.servers import SERVERS, Gateway, GatewayFactory, serve_gateway
from tests.gateway.upstream import Upstream

# Arguments of serve_gateway that many modules use alike.
_SHARED = {"server", "compute_url", "proxied"}


@pytest.fixture(scope="session")
def nova(cloud: Any) -> Iterator[ServedNova]:
    """A bare Nova, without the filter, on a port."""
    with serve_wsgi(cloud.bare) as port:
        yield ServedNova(cloud, port)


@pytest.fixture(scope="session")
def asking_nova(cloud: Any, keystone: Any) -> Iterator[ServedNova]:
    """The same Nova, but its auth_token asks the real Keystone about each token, each time."""
    with serve_wsgi(cloud.app_with_keystone({**keystone.authtoken(), "token_cache_time": "-1"})) as port:
        yield ServedNova(cloud, port)


@pytest.fixture(scope="session")
def memcached() -> Iterator[dict[str, str]]:
    """The options of auth_token that name its cache; without memcached nobody listens there."""
    with serve_memcached() as options:
        yield options


@pytest.fixture(scope="session")
def alices_server(asking_nova: ServedNova, keystone: Any) -> str:
    """A server of alice's project."""
    import requests

    from tests.nova.cloud import IMAGE

    server = {"name": "web-1", "imageRef": IMAGE, "flavorRef": "1", "networks": "none"}
    headers = {"X-Auth-Token": keystone.token("alice"), "OpenStack-API-Version": "compute 2.37"}
    response = requests.post(f"{asking_nova.url}/v2.1/servers", json={"server": server}, headers=headers, timeout=60)
    assert response.status_code == 202, response.text
    server_id: str = response.json()["server"]["id"]
    asking_nova.cloud.settle(server_id)
    return server_id


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    """Each WSGI server in turn."""
    return str(request.param)


@pytest.fixture(params=("nginx", "haproxy"))
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of front in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def _upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(_upstream: Upstream) -> Upstream:
    """A compute API of bare sockets, the same for all tests; it responds 200 until a test says otherwise."""
    _upstream.reset()
    return _upstream


@pytest.fixture
def gateway(server: str, upstream: Upstream, gateways: GatewayFactory) -> Gateway:
    """A gateway under each server, in front of ``upstream``."""
    return gateways(server=server, compute_url=upstream.url)


class _RunningGateways:
    """Runs gateways, and keeps them running for the next test that needs the same."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._gateways: dict[str, Gateway] = {}

    def get(self, arguments: dict[str, Any]) -> Gateway:
        key = repr(sorted(arguments.items()))
        if key not in self._gateways:
            self._gateways[key] = self._stack.enter_context(serve_gateway(**arguments))
        return self._gateways[key]


@pytest.fixture(scope="session")
def _session_gateways() -> Iterator[_RunningGateways]:
    with contextlib.ExitStack() as stack:
        yield _RunningGateways(stack)


@pytest.fixture(scope="module")
def gateways(_session_gateways: _RunningGateways) -> Iterator[GatewayFactory]:
    """Run gateways: the same one for the same arguments of ``serve_gateway``.

    One with default options lasts for the session, any other for the module: they would be too many.
    """
    with contextlib.ExitStack() as stack:
        module_gateways = _RunningGateways(stack)

        def run(**arguments: Any) -> Gateway:
            arguments = {name: value for name, value in arguments.items() if value}
            if _SHARED.issuperset(arguments):
                return _session_gateways.get(arguments)
            return module_gateways.get(arguments)

        yield run

"""The search for a counter-example with Nova behind sockets: once alone, and once behind a gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

pytest.importorskip("tests.nova.cloud", reason="no Nova in this virtualenv")  # first: it says how Nova runs its threads
pytest.importorskip("hypothesis")

from tests.gateway.nova import ServedNova
from tests.gateway.servers import GatewayFactory
from tests.nova.instrumented_nova import instrument
from tests.nova.policies import POLICIES, Policy
from tests.nova.search import Search
from tests.nova.senders import Send, send_over_http

POLICIES_IN_FRONT = [policy for policy in POLICIES if policy.place == "front"]


@pytest.fixture
def search(server: str, nova: ServedNova, gateways: GatewayFactory) -> Iterator[Search]:
    """Search with a gateway under each server."""

    def send_through_gateway(policy: Policy) -> Send:
        options = {"audit_journal": str(nova.cloud.journal), **policy.options}
        gateway = gateways(server=server, compute_url=nova.url, options=options)
        return send_over_http(gateway.port, nova.cloud.server)

    send_to_nova = send_over_http(nova.port, nova.cloud.server)
    with instrument(nova.cloud) as instrumented:
        yield Search(
            instrumented, send_through_gateway, POLICIES_IN_FRONT, send_to_nova, lambda request: request.fits_http
        )


@pytest.mark.parametrize("seed", range(2))
def test_there_is_no_counter_example_behind_the_gateway(search: Search, seed: int) -> None:
    found = search.run(200, seed)
    assert found is None, f"seed {seed}: {found and json.dumps(found.to_json(), indent=1)}"
    assert search.happened["made: createImage"] >= 10

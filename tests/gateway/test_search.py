"""The search for a counter-example through the gateway: Nova behind a socket, asked by itself and through gunicorn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Callable

import pytest

pytest.importorskip("tests.nova.cloud", reason="no Nova in this virtualenv")  # first: it says how Nova runs its threads
pytest.importorskip("hypothesis")

from tests.gateway.conftest import Served
from tests.gateway.servers import SERVERS, Gateway
from tests.nova.policies import POLICIES, Policy
from tests.nova.search import Search
from tests.nova.watched import Send, over_http, watched

IN_FRONT = [policy for policy in POLICIES if policy.place == "front"]


@pytest.fixture(params=SERVERS)
def search(request: pytest.FixtureRequest, nova: Served, gateways: Callable[..., Gateway]) -> Iterator[Search]:
    def guarded(policy: Policy) -> Send:
        options = {"audit_journal": str(nova.cloud.journal), **policy.options}
        return over_http(gateways(server=request.param, compute_url=nova.url, options=options).port, nova.cloud.server)

    with watched(nova.cloud) as watch:
        yield Search(
            watch, guarded, IN_FRONT, over_http(nova.port, nova.cloud.server), lambda request: request.fits_http
        )


@pytest.mark.parametrize("seed", range(2))
def test_there_is_no_counter_example_behind_the_gateway(search: Search, seed: int) -> None:
    found = search.run(200, seed)
    assert found is None, f"seed {seed}: {found and json.dumps(found.to_json(), indent=1)}"
    assert search.happened["made: createImage"] >= 10

"""The search for a counter-example: a short run, what it found before, and whether it can find anything."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import waitress

pytest.importorskip("tests.nova.cloud", reason="no Nova in this virtualenv")
pytest.importorskip("hypothesis")

from tests.nova.cloud import Cloud
from tests.nova.grammar import Request
from tests.nova.instrumented_nova import instrument
from tests.nova.policies import POLICIES, Policy
from tests.nova.search import Counterexample, Search, count_examples, guard_in_process, load_regressions
from tests.nova.seeded_bugs import SEEDED_BUGS
from tests.nova.senders import Send, send_over_http
from tests.nova.serialize import write

SEEDS = range(10)  # of 200 examples each
POLICIES_BY_NAME = {policy.name: policy for policy in POLICIES}
POLICIES_IN_FRONT = [policy for policy in POLICIES if policy.place == "front"]


@pytest.fixture
def search(cloud: Cloud) -> Iterator[Search]:
    """Search in this process. For one test: only one search at a time can take the images and records."""
    with instrument(cloud) as nova:
        yield Search(nova, guard_in_process(cloud))


@pytest.fixture
def search_on_volume(cloud: Cloud) -> Iterator[Search]:
    """Search with a server that boots from a volume."""
    with cloud.on_volume(), instrument(cloud) as nova:
        yield Search(nova, guard_in_process(cloud))


@pytest.fixture
def search_over_http(cloud: Cloud) -> Iterator[Search]:
    """Search with both sides behind a real server, the filter in front of the whole of Nova, as in a gateway."""
    servers: list[Any] = []

    def serve(app: Any) -> Send:
        servers.append(waitress.create_server(app, host="127.0.0.1", port=0, threads=2))
        threading.Thread(target=servers[-1].run, daemon=True).start()
        return send_over_http(servers[-1].effective_port, cloud.server)

    def guarded(policy: Policy) -> Send:
        return serve(cloud.filter_in_front(policy.options))

    with instrument(cloud) as nova:
        yield Search(nova, guarded, POLICIES_IN_FRONT, serve(cloud.bare), lambda request: request.fits_http)
    for server in servers:
        server.close()


def assert_none(counterexample: Counterexample | None) -> None:
    """Fail with a counter-example as readable JSON, if there is one."""
    assert counterexample is None, json.dumps(counterexample.to_json(), indent=1)


@pytest.mark.parametrize("seed", SEEDS)
def test_finds_no_counterexample(search: Search, seed: int) -> None:
    assert_none(search.run(200, seed))
    # A search that makes no images, or sees none refused, can find nothing.
    assert search.count("made: ") >= 8
    assert search.count("refused") >= 3
    assert search.count("the same ") >= 8


@pytest.mark.parametrize("seed", range(100, 105))
def test_finds_no_counterexample_on_a_volume(search_on_volume: Search, seed: int) -> None:
    """Nova makes a Cinder snapshot, and an image without content; it can't back such a server up."""
    assert_none(search_on_volume.run(200, seed))
    assert search_on_volume.count("made: ") >= 3
    assert search_on_volume.count("refused") >= 3


@pytest.mark.parametrize("seed", range(2))
def test_finds_no_counterexample_over_http(search_over_http: Search, seed: int) -> None:
    assert_none(search_over_http.run(100, seed))
    assert search_over_http.happened["made: createImage"] >= 5


@pytest.mark.parametrize("bug", SEEDED_BUGS)
def test_finds_each_seeded_bug(search: Search, bug: str) -> None:
    count = count_examples(search, bug, seed=0, limit=3000)
    assert count is not None
    print(f"{bug}: {count} examples")


@pytest.mark.parametrize(
    "regression", load_regressions(), ids=lambda regression: f"{regression.property}, {regression.policy}"
)
def test_regressions_hold_on_the_whole_of_nova(cloud: Cloud, regression: Counterexample) -> None:
    """Nothing below Nova's API is remembered here: snapshots are really taken."""
    policies = [POLICIES_BY_NAME[regression.policy]]
    with instrument(cloud, quick=False) as nova:
        Search(nova, guard_in_process(cloud), policies).check(regression.request, policies)


def test_a_request_survives_its_json_form() -> None:
    body = '{"createImage": {"name": "é\\ud800"}}'.encode("utf-16")
    request = Request("PUT", "/v2/{server}%0a?_method=POST", body, {"Accept": "é"}, {"CONTENT_LENGTH": None})
    assert Request.from_json(json.loads(json.dumps(request.to_json()))) == request


@pytest.mark.parametrize("text", ["createImage", 'é\\/"\n', "\N{OK HAND SIGN}x", "\ud800", ""])
@pytest.mark.parametrize("escapes", ["none", "ascii", "all", "ALL", "first", "last", "other"])
def test_serialized_json_is_read_the_same(escapes: str, text: str) -> None:
    assert json.loads(write([text, {}], escapes, "\r\n\t")) == [text, {}]

"""The search for a counter-example: a short run of it, what it found before, and that it can find."""

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
from tests.nova.plants import PLANTS
from tests.nova.policies import POLICIES, Policy
from tests.nova.search import Find, Search, count_until_caught, finds, in_process
from tests.nova.watched import Send, over_http, watched
from tests.nova.written import write

SEEDS = range(10)  # of 200 examples each
BY_NAME = {policy.name: policy for policy in POLICIES}


@pytest.fixture
def search(cloud: Cloud) -> Iterator[Search]:
    """For one test: whoever watches takes the images and records away, so no two may at a time."""
    with watched(cloud) as watch:
        yield Search(watch, in_process(cloud))


@pytest.mark.parametrize("seed", SEEDS)
def test_there_is_no_counter_example(search: Search, seed: int) -> None:
    found = search.run(200, seed)
    assert found is None, f"seed {seed}: {found and json.dumps(found.to_json(), indent=1)}"
    # A search that makes no images, or sees none refused, can find nothing.
    assert sum(count for word, count in search.happened.items() if word.startswith("made: ")) >= 8
    assert sum(count for word, count in search.happened.items() if word.startswith("refused")) >= 3
    assert sum(count for word, count in search.happened.items() if word.startswith("the same ")) >= 8


@pytest.fixture
def search_over_http(cloud: Cloud) -> Iterator[Search]:
    """Both sides behind a real server, the filter in front of Nova as a whole, as a gateway is."""
    servers: list[Any] = []

    def serve(app: Any) -> Send:
        servers.append(waitress.create_server(app, host="127.0.0.1", port=0, threads=2))
        threading.Thread(target=servers[-1].run, daemon=True).start()
        return over_http(servers[-1].effective_port, cloud.server)

    def guarded(policy: Policy) -> Send:
        return serve(cloud.unauthenticated({"audit_journal": str(cloud.journal), **policy.options}))

    with watched(cloud) as watch:
        in_front = [policy for policy in POLICIES if policy.place == "front"]
        yield Search(watch, guarded, in_front, serve(cloud.bare), lambda request: request.fits_http)
    for server in servers:
        server.close()


@pytest.mark.parametrize("seed", range(2))
def test_nor_is_there_one_over_http(search_over_http: Search, seed: int) -> None:
    found = search_over_http.run(100, seed)
    assert found is None, f"seed {seed}: {found and json.dumps(found.to_json(), indent=1)}"
    assert search_over_http.happened["made: createImage"] >= 5


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_mistake_is_found(search: Search, plant: str) -> None:
    count = count_until_caught(search, plant, 0, 3000)
    assert count is not None
    print(f"{plant}: {count} examples")


@pytest.mark.parametrize("find", finds(), ids=lambda find: f"{find.property}, {find.policy}")
def test_what_was_found_before_holds_on_the_whole_of_nova(cloud: Cloud, find: Find) -> None:
    """Here with all that lies below Nova's API: snapshots are really taken."""
    with watched(cloud, quick=False) as watch:
        search = Search(watch, in_process(cloud), [BY_NAME[find.policy]])
        search.check(find.request, [BY_NAME[find.policy]])


def test_what_is_found_is_kept_as_people_read_it() -> None:
    body = '{"createImage": {"name": "é\\ud800"}}'.encode("utf-16")
    request = Request("PUT", "/v2/{server}%0a?_method=POST", body, {"Accept": "é"}, {"CONTENT_LENGTH": None})
    assert Request.from_json(json.loads(json.dumps(request.to_json()))) == request


@pytest.mark.parametrize("escapes", ["none", "ascii", "all", "ALL", "first", "last", "other"])
def test_however_json_is_written_it_is_read_the_same(escapes: str) -> None:
    for text in ("createImage", 'é\\/"\n', "\N{OK HAND SIGN}x", "\ud800", ""):
        assert json.loads(write([text, {}], escapes, "\r\n\t")) == [text, {}]

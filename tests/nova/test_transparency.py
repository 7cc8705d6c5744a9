"""What makes no image is none of ours: the same answer with and without the filter, the documented faults aside."""

from __future__ import annotations

from typing import Any

import pytest

from imagefilter import filter_factory
from tests.nova.cloud import Cloud
from tests.nova.test_forwarding import comparable
from tests.requests import encode, environ_of, send
from tests.requests_without_image import PLAIN, Plain

UNCHANGED = [each for each in PLAIN if each.fault is None]
CHANGED = [each for each in PLAIN if each.fault is not None]
SHORT = [each for each in UNCHANGED if len(encode(each.document)) <= 114688]


def request_of(plain: Plain, server: str) -> tuple[Any, ...]:
    return plain.method, plain.target.format(server=server), plain.document, {"X-Auth-Token": "member", **plain.headers}


@pytest.mark.parametrize("plain", UNCHANGED, ids=[each.id for each in UNCHANGED])
def test_the_same_answer(plain: Plain, cloud: Cloud) -> None:
    request = request_of(plain, cloud.server)
    bare = comparable(send(cloud.bare, *request))
    cloud.settle()
    filtered = comparable(send(cloud.app({}), *request))
    assert filtered == bare


@pytest.mark.parametrize("plain", CHANGED, ids=[each.id for each in CHANGED])
def test_the_documented_differences(plain: Plain, cloud: Cloud) -> None:
    request = request_of(plain, cloud.server)
    bare = send(cloud.bare, *request)
    response = send(cloud.app({}), *request)
    [fault] = response.json.values()
    assert (response.status_int, fault["message"]) == plain.fault
    assert bare.status_int >= 400


@pytest.mark.parametrize("plain", SHORT, ids=[each.id for each in SHORT])
def test_the_same_bytes(plain: Plain) -> None:
    """What the app gets is what the client sent: the same keys, and the same body to read."""
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append({**environ, "wsgi.input": environ["wsgi.input"].read()})
        start_response("200 OK", [])
        return []

    request = request_of(plain, "11111111-2222-4333-8444-555555555555")
    for each in (app, filter_factory({})(app)):
        each(environ_of(*request), lambda *args: None)
    bare, filtered = seen
    assert {**filtered, "wsgi.errors": None} == {**bare, "wsgi.errors": None}


def test_there_are_enough_of_them() -> None:
    assert len(UNCHANGED) >= 40

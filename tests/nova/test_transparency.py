"""The filter changes nothing about requests that make no image, apart from its documented faults."""

from __future__ import annotations

from typing import Any

import pytest
import webob

from imagefilter import filter_factory
from tests.cases import SERVER
from tests.nova.cloud import Cloud
from tests.nova.comparison import comparable
from tests.requests_without_image import PLAIN, Plain
from tests.wsgi import build_environ, encode, send

UNCHANGED = [plain for plain in PLAIN if plain.fault is None]
CHANGED = [plain for plain in PLAIN if plain.fault is not None]
WITHIN_LIMIT = [plain for plain in UNCHANGED if len(encode(plain.document)) <= 114688]


def arguments(plain: Plain, server: str) -> tuple[Any, ...]:
    """Return the arguments that send a request about this server."""
    headers = {"X-Auth-Token": "member"}
    headers.update(plain.headers)
    return plain.method, plain.target.format(server=server), plain.document, headers


def send_plain(cloud: Cloud, app: Any, plain: Plain) -> webob.Response:
    """Send a request about the cloud's server, and wait until the compute host has finished it."""
    response = send(app, *arguments(plain, cloud.server))
    cloud.settle()
    return response


@pytest.mark.parametrize("plain", UNCHANGED, ids=[plain.id for plain in UNCHANGED])
def test_the_response_is_the_same(plain: Plain, cloud: Cloud) -> None:
    bare = send_plain(cloud, cloud.bare, plain)
    filtered = send_plain(cloud, cloud.app({}), plain)
    expected = comparable(bare.status_int, bare.headerlist, bare.body)
    assert comparable(filtered.status_int, filtered.headerlist, filtered.body) == expected


@pytest.mark.parametrize("plain", CHANGED, ids=[plain.id for plain in CHANGED])
def test_documented_faults(plain: Plain, cloud: Cloud) -> None:
    bare = send_plain(cloud, cloud.bare, plain)
    filtered = send_plain(cloud, cloud.app({}), plain)
    [fault] = filtered.json.values()
    assert (filtered.status_int, fault["message"]) == plain.fault
    assert bare.status_int >= 400


@pytest.mark.parametrize("plain", WITHIN_LIMIT, ids=[plain.id for plain in WITHIN_LIMIT])
def test_the_environ_and_the_body_are_the_same(plain: Plain) -> None:
    received: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        received.append({**environ, "wsgi.input": environ["wsgi.input"].read(), "wsgi.errors": None})
        start_response("200 OK", [])
        return []

    for application in (app, filter_factory({})(app)):
        application(build_environ(*arguments(plain, SERVER)), lambda *args: None)
    bare, filtered = received
    assert filtered == bare


def test_the_table_is_long_enough() -> None:
    assert len(UNCHANGED) >= 40

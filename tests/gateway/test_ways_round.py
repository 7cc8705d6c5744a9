"""No way round through the gateway: over real sockets, with the assertions on what Nova made."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from tests.gateway.conftest import Served
from tests.gateway.servers import PATIENCE, Gateway, send_raw
from tests.nova.cloud import Image
from tests.nova.test_ways_round import TWO_ITEMS, backup, create
from tests.spellings import SPELLINGS, Spelling, request_of

SHELVE = {"shelve": {"ignored": True}}
OFF = {"snapshots_enabled": "false", "actions": "createImage, createBackup, shelve"}
ids = [spelling.id for spelling in SPELLINGS]


def wire(spelling: Spelling, document: Any, server: str) -> bytes:
    """A spelling as the bytes of a request. What it says of the environ is said in headers, as far as there are any."""
    (method, target, body, headers), environ = request_of(spelling, document, server)
    sent = {"Host": "localhost", "Connection": "close", "Content-Type": "application/json", **headers}
    if "CONTENT_TYPE" in environ:
        del sent["Content-Type"]
    is_chunked = environ.get("HTTP_TRANSFER_ENCODING") == "chunked"
    length = environ.get("CONTENT_LENGTH", None if is_chunked else str(len(body)))
    if is_chunked:
        sent["Transfer-Encoding"] = "chunked"
    if length is not None:
        sent["Content-Length"] = length
    framed = (
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if is_chunked and environ.get("wsgi.input_terminated") else body
    )
    target = environ.get("SCRIPT_NAME", "") + target
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + framed


# Of these the server waits for the rest.
UNFINISHED = ("too long a length", "no length, chunked header")


def made_by(nova: Served, port: int, spelling: Spelling, document: Any) -> list[Image]:
    wait = 0.5 if spelling.id in UNFINISHED else PATIENCE
    came = send_raw(port, wire(spelling, document, nova.cloud.server), wait)
    assert came.startswith(b"HTTP/1.") or spelling.id in UNFINISHED, came
    images = nova.cloud.images()
    if images:
        nova.cloud.settle()
    return images


@pytest.mark.parametrize("spelling", SPELLINGS, ids=ids)
def test_what_is_made_was_judged_and_recorded(
    spelling: Spelling, nova: Served, gateways: Callable[..., Gateway]
) -> None:
    gateway = gateways(compute_url=nova.url, options=TWO_ITEMS)
    for document in (create, backup):
        assert made_by(nova, gateway.port, spelling, document(3)) == []
    before = len(gateway.records())
    images = made_by(nova, gateway.port, spelling, create(2))
    assert images in ([], [Image("nightly", create(2)["createImage"]["metadata"])])
    contents = [each["attachments"][0]["content"] for each in gateway.records()[before:]]
    allowed = [each["image_name"] for each in contents if each.get("verdict") == "allow"]
    assert {image.name for image in images} <= set(allowed)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=ids)
def test_switched_off_is_off(spelling: Spelling, nova: Served, gateways: Callable[..., Gateway]) -> None:
    gateway = gateways(compute_url=nova.url, options=OFF)
    for document in (create(1), backup(1), SHELVE):
        assert made_by(nova, gateway.port, spelling, document) == []


def test_what_breaks_no_rule_is_made(nova: Served, gateways: Callable[..., Gateway]) -> None:
    """The guard of the tests above: if nothing could get through, they could find nothing."""
    gateway = gateways(compute_url=nova.url, options=TWO_ITEMS)
    made = [each for each in SPELLINGS[::4] if made_by(nova, nova.port, each, create(2)) and not each.refused]
    missing = [each.id for each in made if not made_by(nova, gateway.port, each, create(2))]
    assert len(made) > 15
    # A judged request has the content type of JSON and no other: the version that stood in it is lost.
    assert [each for each in missing if "Content-Type: application/json;version=" not in each] == []

"""No way round through the gateway: over real sockets, with the assertions on what Nova made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.gateway.client import PATIENCE, chunked, send_raw
from tests.gateway.nova import ServedNova
from tests.gateway.servers import GatewayFactory
from tests.nova.cloud import Image
from tests.spellings import SPELLINGS, TWO_ITEMS, Spelling, build_request, create_backup, create_image

SHELVE = {"shelve": {"ignored": True}}
SWITCHED_OFF = {"snapshots_enabled": "false", "actions": "createImage, createBackup, shelve"}
ALLOWED = Image("nightly", create_image(2)["createImage"]["metadata"])

# The server waits for the rest of these.
UNFINISHED = ("too long a length", "no length, chunked header")

each_spelling = pytest.mark.parametrize("spelling", SPELLINGS, ids=[spelling.id for spelling in SPELLINGS])


def encode_request(spelling: Spelling, document: Any, server: str) -> bytes:
    """Return a spelling as the bytes of a request. What it sets in the environ becomes headers, as far as it can."""
    (method, target, body, headers), environ = build_request(spelling, document, server)
    sent = {"Host": "localhost", "Connection": "close", "Content-Type": "application/json", **headers}
    if "CONTENT_TYPE" in environ:
        del sent["Content-Type"]
    sent.update(framing_headers(environ, body))
    if is_chunked(environ) and environ.get("wsgi.input_terminated"):
        body = chunked([body])
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"{method} {environ.get('SCRIPT_NAME', '')}{target} HTTP/1.1\r\n{head}\r\n".encode() + body


def framing_headers(environ: Mapping[str, Any], body: bytes) -> dict[str, str]:
    """Return the headers that frame the body: a length, unless it is chunked or the environ says otherwise."""
    headers = {"Content-Length": str(len(body))}
    if is_chunked(environ):
        headers = {"Transfer-Encoding": "chunked"}
    if "CONTENT_LENGTH" in environ:
        headers.pop("Content-Length", None)
    if environ.get("CONTENT_LENGTH") is not None:
        headers["Content-Length"] = environ["CONTENT_LENGTH"]
    return headers


def is_chunked(environ: Mapping[str, Any]) -> bool:
    return environ.get("HTTP_TRANSFER_ENCODING") == "chunked"


def make_images(nova: ServedNova, port: int, spelling: Spelling, document: Any) -> list[Image]:
    """Send a spelling to a port; return the images that Nova made."""
    is_unfinished = spelling.id in UNFINISHED
    wait = PATIENCE
    if is_unfinished:
        wait = 0.5
    response = send_raw(port, encode_request(spelling, document, nova.cloud.server), wait)
    assert response.startswith(b"HTTP/1.") or is_unfinished, response
    images: list[Image] = nova.cloud.images()
    if images:
        nova.cloud.settle()
    return images


@each_spelling
def test_every_image_was_judged_and_recorded(spelling: Spelling, nova: ServedNova, gateways: GatewayFactory) -> None:
    gateway = gateways(compute_url=nova.url, options=TWO_ITEMS)
    for document in (create_image(3), create_backup(3)):
        assert make_images(nova, gateway.port, spelling, document) == []
    before = len(gateway.records("control"))
    images = make_images(nova, gateway.port, spelling, create_image(2))
    assert images in ([], [ALLOWED])
    contents = [record["attachments"][0]["content"] for record in gateway.records("control")[before:]]
    allowed = {content["image_name"] for content in contents if content["verdict"] == "allow"}
    assert {image.name for image in images} <= allowed


@each_spelling
def test_nothing_is_made_if_snapshots_are_switched_off(
    spelling: Spelling, nova: ServedNova, gateways: GatewayFactory
) -> None:
    gateway = gateways(compute_url=nova.url, options=SWITCHED_OFF)
    for document in (create_image(1), create_backup(1), SHELVE):
        assert make_images(nova, gateway.port, spelling, document) == []


def test_request_that_breaks_no_rule_makes_its_image(nova: ServedNova, gateways: GatewayFactory) -> None:
    """Guard the tests above: if nothing got through, they could find nothing."""
    gateway = gateways(compute_url=nova.url, options=TWO_ITEMS)
    makes_images = []
    for spelling in SPELLINGS[::4]:
        if make_images(nova, nova.port, spelling, create_image(2)) and not spelling.refused:
            makes_images.append(spelling)
    assert len(makes_images) > 15
    missing = []
    for spelling in makes_images:
        if not make_images(nova, gateway.port, spelling, create_image(2)):
            missing.append(spelling.id)
    # A judged request has the content type of JSON and no other: the version that was in it is lost.
    assert [id_ for id_ in missing if "Content-Type: application/json;version=" not in id_] == []

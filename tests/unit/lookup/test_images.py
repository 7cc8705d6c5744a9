"""Images are counted exactly, or not at all: an image API that is slow, down or lies never makes a count smaller."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from imagefilter.lookup.images import Image, ImageQuery, count_rotated_out, list_images
from imagefilter.policy.policy import ImageAPIOptions
from imagefilter.rules.case import LookupFailed

PROJECT, SERVER, OTHER = "p" * 32, "0b3b4ab5-2d24-4f7b-b1c6-3a1f3d1b5a0e", "1b3b4ab5-2d24-4f7b-b1c6-3a1f3d1b5a0e"
OPTIONS = ImageAPIOptions(None, "internal", None, None, 10.0)

Answer = Callable[[dict[str, str]], tuple[int, dict[str, str], bytes]]


class FakeGlance:
    """An image API; a test says what it answers to a query."""

    def __init__(self, answer: Answer) -> None:
        self.queries: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
                fake.queries.append(query)
                fake.headers.append(dict(self.headers))
                status, headers, body = answer(query)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def list(self, server_id: str | None = None, seconds: float = 10) -> list[Image]:
        return list_images(self.url, "a token", ImageQuery(PROJECT, server_id), OPTIONS, seconds)


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], FakeGlance]]:
    fakes: list[FakeGlance] = []

    def start(answer: Answer) -> FakeGlance:
        fakes.append(FakeGlance(answer))
        return fakes[-1]

    yield start
    for fake in fakes:
        fake.server.shutdown()
        fake.server.server_close()


def image(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"image-{number}", "owner": PROJECT, "status": "active", "instance_uuid": SERVER, **fields}


def page(images: list[Any], following: Any = None) -> tuple[int, dict[str, str], bytes]:
    document = {"images": images}
    if following is not None:
        document["next"] = following
    return 200, {}, json.dumps(document).encode()


def test_all_of_a_project_is_two_questions(serve: Any) -> None:
    glance = serve(lambda query: page([image(len(query["os_hidden"]))]))
    assert len(glance.list()) == 2
    common = {"owner": PROJECT, "limit": "1000"}
    assert glance.queries == [{**common, "os_hidden": hidden} for hidden in ("false", "true")]
    assert {headers["X-Auth-Token"] for headers in glance.headers} == {"a token"}


def test_a_server_alone_is_asked_for_by_what_says_so(serve: Any) -> None:
    glance = serve(lambda query: page([image(1)]))
    assert len(glance.list(SERVER)) == 1, "each image once"
    assert {"instance_uuid", "imagefilter_server"} <= {name for query in glance.queries for name in query}
    assert all({"instance_uuid", "imagefilter_server"} & query.keys() for query in glance.queries)


@pytest.mark.parametrize(
    ("fields", "server"),
    [
        ({}, SERVER),
        ({"imagefilter_server": OTHER}, SERVER),  # inherited
        ({"block_device_mapping": "[]", "imagefilter_server": OTHER}, OTHER),
        ({"block_device_mapping": "[]"}, SERVER),  # not stamped: as good as is known
        ({"block_device_mapping": "[]", "instance_uuid": None}, None),
        ({"instance_uuid": None, "imagefilter_server": OTHER}, OTHER),  # its owner removed block_device_mapping
        ({"instance_uuid": SERVER.upper()}, SERVER),
        ({"owner": "q" * 32}, None),
        ({"status": "deleted"}, None),
        ({"status": "queued"}, SERVER),
        ({"status": "deactivated"}, SERVER),
    ],
)
def test_of_which_server_an_image_counts(serve: Any, fields: dict[str, Any], server: str | None) -> None:
    found = serve(lambda query: page([image(1, **fields)])).list()
    assert [image.server_id for image in found] == [server] * (server is not None)


BARE = Image("image-1", SERVER, True, False, True, "", SERVER, "", "")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, BARE),
        ({"status": "queued"}, BARE._replace(is_finished=False)),
        ({"status": "saving"}, BARE._replace(is_finished=False)),
        ({"status": "uploading"}, BARE._replace(is_finished=False)),
        ({"status": "importing"}, BARE._replace(is_finished=False)),
        ({"status": "killed"}, BARE),
        ({"os_hidden": True}, BARE._replace(is_hidden=True)),
        ({"protected": False}, BARE._replace(is_protected=False)),
        ({"created_at": "2026-11-27T12:00:00Z"}, BARE._replace(created_at="2026-11-27T12:00:00Z")),
        ({"instance_uuid": SERVER.upper()}, BARE),
        ({"image_type": "backup", "backup_type": "daily"}, BARE._replace(image_type="backup", backup_type="daily")),
        ({"image_type": 5, "backup_type": None}, BARE),
    ],
)
def test_what_counts_of_an_image(serve: Any, fields: dict[str, Any], expected: Image) -> None:
    assert serve(lambda query: page([image(1, **fields)])).list() == [expected]


def test_pages_are_followed_on_our_own_url(serve: Any) -> None:
    def answer(query: dict[str, str]) -> Any:
        number = int(query.get("marker", "0"))
        following = f"https://evil.example/v2/images?marker={number + 1}&owner=other&limit=1"
        if number == 2:
            following = None
        return page([image(10 * number + len(query["os_hidden"]))], following)

    glance = serve(answer)
    assert len(glance.list()) == 6
    assert {query["owner"] for query in glance.queries} == {PROJECT}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((401, {}, b"{}"), "it responded 401"),
        ((403, {}, b"{}"), "it responded 403"),
        ((500, {}, b"oops"), "it responded 500"),
        ((300, {}, b"{}"), "it responded 300"),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), "it responded 302"),
        ((200, {}, b"<html>"), "no JSON object"),
        ((200, {}, b'{"images": [{"id": "x"'), "no JSON object"),
        ((200, {}, b"[" * 100_000), "no JSON object"),
        ((200, {}, b"[]"), "no JSON object"),
        ((200, {}, b"{}"), "no list of images"),
        ((200, {}, b'{"images": {}}'), "no list of images"),
        ((200, {}, b'{"images": [7]}'), "no list of images"),
        ((200, {}, b'{"images": [{}]}'), "no list of images"),
        ((200, {}, b'{"images": [], "next": 7}'), "no end"),
        ((200, {}, b'{"images": [], "next": "/v2/images"}'), "no end"),
        ((200, {}, b'{"images": [], "next": "/v2/images?marker=1"}'), "no end"),
        ((200, {"Content-Encoding": "gzip"}, b"no gzip"), "no JSON object"),
        ((200, {}, b" " * ((16 << 20) + 1)), "more than 16777216 bytes"),
    ],
)
def test_what_is_no_answer_is_no_count(serve: Any, answer: Any, reason: str) -> None:
    with pytest.raises(LookupFailed, match=reason) as raised:
        serve(lambda query: answer).list()
    assert f"the images of project {PROJECT} could not be counted by the image API" in str(raised.value)


@pytest.mark.parametrize("link", [7, "/v2/images", "http://[x/?marker=1", "/v2/images?marker="])
def test_a_page_without_a_marker_is_the_last_question(serve: Any, link: Any) -> None:
    glance = serve(lambda query: page([], link))
    with pytest.raises(LookupFailed, match="its pages have no end"):
        glance.list()
    assert len(glance.queries) == 1


def test_large_properties_on_every_image_are_no_count(serve: Any) -> None:
    """128 properties of 64 KB: a tenant's way to make counting expensive."""
    large = {f"key{number}": "x" * 65535 for number in range(128)}

    def answer(query: dict[str, str]) -> Any:
        number = int(query.get("marker", "0"))
        return page([image(number, **large)], f"/v2/images?marker={number + 1}")

    with pytest.raises(LookupFailed, match="more than"):
        serve(answer).list()


def test_a_slow_image_api_takes_no_longer_than_it_may(serve: Any) -> None:
    def answer(query: dict[str, str]) -> Any:
        time.sleep(0.3)
        return page([], f"/v2/images?marker={len(query)}{time.monotonic()}")

    began = time.monotonic()
    with pytest.raises(LookupFailed, match="no answer in time"):
        serve(answer).list(seconds=1)
    assert time.monotonic() - began < 2


def test_the_environment_is_no_proxy(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert serve(lambda query: page([image(1)])).list()


def test_certificates_are_verified_by_the_file_of_the_option() -> None:
    options = OPTIONS._replace(ca_file="/nonexistent/ca.pem")
    with pytest.raises(LookupFailed) as raised:
        list_images("https://127.0.0.1:1", "a token", ImageQuery(PROJECT, None), options, 5.0)
    assert "/nonexistent/ca.pem" in str(raised.value.__cause__)


def backup(created_at: str, **fields: Any) -> Image:
    made = Image(created_at, SERVER, True, False, False, created_at, SERVER, "backup", "daily")
    return made._replace(**fields)


@pytest.mark.parametrize(
    ("images", "rotation", "rotated_out"),
    [
        ([], 1, 0),
        ([], 0, 1),
        ([backup("1"), backup("2")], 2, 1),
        ([backup("1"), backup("2")], 3, 0),
        ([backup("1"), backup("2")], 0, 3),
        ([backup("1", is_protected=True), backup("2")], 2, None),
        ([backup("1"), backup("2", is_protected=True)], 2, 1),
        ([backup("1", id="b"), backup("2", id="a", is_protected=True)], 2, 1),  # the oldest goes, whatever its id
        ([backup("1"), backup("1", is_protected=True), backup("3")], 3, None),  # of the same second
        ([backup("1"), backup("2", is_protected=True)], 0, None),
        ([backup("1", is_protected=True)], 5, 0),
        ([backup("1", is_hidden=True), backup("2")], 2, 0),
        ([backup("1", backup_type="weekly"), backup("2")], 2, 0),
        ([backup("1", image_type="snapshot"), backup("2")], 2, 0),
        ([backup("1", instance_uuid=OTHER), backup("2")], 2, 0),
    ],
)
def test_what_a_backup_rotates_out(images: list[Image], rotation: int, rotated_out: int | None) -> None:
    assert count_rotated_out(images, SERVER, "daily", rotation) == rotated_out

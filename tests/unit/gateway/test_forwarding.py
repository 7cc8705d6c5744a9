"""The request to the compute API that a WSGI environ becomes: its method, target and body."""

from __future__ import annotations

import io
from typing import Any

import pytest
import urllib3

from imagefilter.fault import Fault
from imagefilter.filter import UNKNOWN_OUTCOME
from imagefilter.gateway.app import Gateway, app_factory
from imagefilter.gateway.forwarding import UNREAD_BODY_BYTES, build_target, read_method, take_body
from imagefilter.gateway.headers import build_request_headers
from tests.wsgi import build_environ


@pytest.mark.parametrize("key", ["RAW_URI", "REQUEST_URI"])
@pytest.mark.parametrize(
    ("path", "raw", "target"),
    [
        ("/a%2Fb", "/a%2Fb", "/a%2Fb"),
        ("/a%2Fb", "/a%2Fb?x=1", "/a%2Fb"),
        ("/a%2Fb", "/other", "/a/b"),  # what the filter saw counts
        ("/a", "http://h/a", "/a"),
        ("/a", "//a", "/a"),
        ("/a%25zz", "/a%zz", "/a%25zz"),
        ("/%E9", "/\xe9", "/%E9"),
        ("/a%0Ab", "/a\nb", "/a%0Ab"),
        ("/a%20b", "/a b", "/a%20b"),
        ("/a%23b", "/a#b", "/a%23b"),
        ("", "", "/"),
    ],
)
def test_path_is_sent_as_written_if_it_means_what_the_filter_saw(key: str, path: str, raw: str, target: str) -> None:
    assert build_target(build_environ("GET", path, **{key: raw})) == target


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/a b?c#d%e", "/a%20b%3Fc%23d%25e"),
        ("/\x00\r\n\t\x7f", "/%00%0D%0A%09%7F"),
        ("//x/../y/./z", "//x/../y/./z"),
        ('/\xff<>"\\^`{|}', "/%FF%3C%3E%22%5C%5E%60%7B%7C%7D"),
    ],
)
def test_path_is_encoded_where_the_written_one_is_unknown(path: str, target: str) -> None:
    assert build_target(build_environ("GET", "/", PATH_INFO=path)) == target


def test_mount_is_part_of_the_path() -> None:
    assert build_target(build_environ("GET", "/v2.1", SCRIPT_NAME="/compute")) == "/compute/v2.1"


def test_prefix_that_the_filter_read_is_part_of_the_path() -> None:
    environ = build_environ("GET", "/v2.1", HTTP_X_FORWARDED_PREFIX="/front", SCRIPT_NAME="/front")
    assert build_target(environ) == "/front/v2.1"
    assert "x-forwarded-prefix" not in build_request_headers(environ)


@pytest.mark.parametrize("path", ["*", "http://h/a", "a"])
def test_target_that_is_not_a_path_is_refused(path: str) -> None:
    with pytest.raises(Fault, match="must be a path"):
        build_target(build_environ("OPTIONS", "/", PATH_INFO=path))


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("a=%zz&b=%41", "a=%25zz&b=%41"),
        ("a=b#c", "a=b%23c"),
        ("a b\r\n\x00", "a%20b%0D%0A%00"),
        ("\xe9", "%E9"),
        ("?", "?"),
    ],
)
def test_query_can_not_end_the_target(query: str, sent: str) -> None:
    assert build_target(build_environ("GET", "/", QUERY_STRING=query)) == f"/?{sent}"


@pytest.mark.parametrize("method", ["GET", "post", "M-SEARCH", "X_Y", "!"])
def test_method_is_sent_as_spelled(method: str) -> None:
    assert read_method(build_environ(method, "/")) == method


@pytest.mark.parametrize("method", ["", "POST /servers/x/action HTTP/1.1\r\n", "GET ", "G\tT", "\xe9", "G\0", "GET:"])
def test_method_that_would_begin_another_request_line_is_refused(method: str) -> None:
    with pytest.raises(Fault, match="Malformed request method"):
        read_method(build_environ(method, "/"))


def test_body_that_the_filter_read_is_sent_whole() -> None:
    body = b"x" * (UNREAD_BODY_BYTES + 1)  # max_body_bytes may be more
    assert take_body(build_environ("POST", "/", body)) == body
    assert take_body(build_environ("POST", "/", b"")) is None


class Stream:
    """A server's stream, which is not a BytesIO."""

    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


@pytest.mark.parametrize(
    ("data", "environ", "status"),
    [
        (b"x" * (UNREAD_BODY_BYTES + 1), {}, 413),
        (b"short", {"CONTENT_LENGTH": "6"}, 400),
        (b"short", {"CONTENT_LENGTH": "+5"}, 400),
        (b"short", {"CONTENT_LENGTH": "-5"}, 400),
    ],
)
def test_unread_body_is_read_within_limits(data: bytes, environ: dict[str, Any], status: int) -> None:
    with pytest.raises(Fault) as raised:
        take_body(build_environ("GET", "/", data, **{"wsgi.input": Stream(data), **environ}))
    assert raised.value.status == status


def test_request_that_can_not_be_written_is_a_400() -> None:
    app = app_factory({}, compute_url="http://127.0.0.1:9")
    statuses: list[str] = []
    environ = build_environ("GET", "/", headers={"X-Bad": "a\r\nContent-Length: 5"})
    list(app(environ, lambda status, *_: statuses.append(status)))  # type: ignore[arg-type,func-returns-value]
    assert statuses == ["400 Bad Request"]


class Upstream:
    """A pool of connections to a compute API that always responds with one status."""

    def __init__(self, status: int) -> None:
        self._status = status

    def urlopen(self, *args: Any, **kwargs: Any) -> urllib3.HTTPResponse:
        return urllib3.HTTPResponse(io.BytesIO(b"{}"), status=self._status, preload_content=False)

    def close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("status", "is_unknown"), [(202, False), (400, False), (500, False), (502, True), (503, False), (504, True)]
)
def test_nobody_knows_what_became_of_a_request_if_a_load_balancer_gives_it_up(status: int, is_unknown: bool) -> None:
    """Nova may still make an image of it, so the filter keeps the locks until they run out."""
    gateway = Gateway(lambda **options: Upstream(status))  # type: ignore[arg-type,return-value]
    environ = build_environ("POST", "/v2.1/servers/x/action", b"{}")
    statuses: list[str] = []
    list(gateway.forward(environ, lambda text, headers: statuses.append(text[:3])))  # type: ignore[arg-type,func-returns-value]
    assert statuses == [str(status)]
    assert (UNKNOWN_OUTCOME in environ) is is_unknown

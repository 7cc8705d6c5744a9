"""Framing, recognition, decoding and encoding, with bodies that mean harm."""

from __future__ import annotations

import io
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from imagefilter import filter_factory
from imagefilter.action import ImageAction, Target, decode, encode, recognise
from imagefilter.fault import Fault
from tests.cases import SERVER, image
from tests.requests import environ_of
from tests.unit.small import PATH, Guarded

GOOD = json.dumps(image()).encode()
LIMIT = 114688


class Drip(io.RawIOBase):
    """A socket that gives one byte at a time, and counts."""

    def __init__(self, data: bytes) -> None:
        self.data, self.given = data, 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "an unbounded read"
        self.given += 1
        return self.data[self.given - 1 : self.given] if size else b""


def fault_of(response: Any) -> tuple[int, str]:
    [fault] = response.json.values()
    assert fault["code"] == response.status_int
    return response.status_int, fault["message"]


MALFORMED = (400, "Malformed request body")
TOO_LARGE = (413, f"Request is too large. Larger than max_body_bytes ({LIMIT}).")


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        *((text, MALFORMED) for text in ("-1", "+5", "abc", "5 ", " 5", "5_0", "0x5", "5.0", "٥", "5,5", "\n5", "5\n")),
        ("114689", TOO_LARGE),
        ("9" * 5000, TOO_LARGE),
        ("1000000", TOO_LARGE),
        ("500", MALFORMED),  # more than there is to read
    ],
)
@pytest.mark.parametrize("target", [PATH, "/v2.1/servers", "/"])
@pytest.mark.parametrize("method", ["POST", "PUT", "post"])
def test_a_bad_length(method: str, target: str, length: str, expected: tuple[int, str]) -> None:
    guarded = Guarded()
    response = guarded.send(method, target, b'{"lock": null}', CONTENT_LENGTH=length)
    assert fault_of(response) == expected
    assert guarded.bodies == []


@pytest.mark.parametrize("zeros", [1, 20, 5000])
def test_zeros_in_front_of_a_length_count_for_nothing(zeros: int) -> None:
    guarded = Guarded()
    assert guarded.post(GOOD, CONTENT_LENGTH="0" * zeros + str(len(GOOD))).status_int == 202
    assert guarded.post(b"x", "/v2.1/servers", CONTENT_LENGTH="0" * zeros).status_int == 202
    assert guarded.bodies == [GOOD.replace(b": ", b":").replace(b", ", b","), b""]


def test_over_the_limit_nothing_is_read() -> None:
    stream = Drip(b"x" * 10)
    response = Guarded().post(b"", CONTENT_LENGTH=str(LIMIT + 1), **{"wsgi.input": stream})
    assert fault_of(response) == TOO_LARGE
    assert stream.given == 0


def test_over_the_limit_without_a_length_no_more_is_read_than_the_limit() -> None:
    stream = io.BytesIO(b" " * 10 * LIMIT)
    environ = {"wsgi.input": stream, "CONTENT_LENGTH": None, "wsgi.input_terminated": True}
    assert fault_of(Guarded().post(b"", **environ)) == TOO_LARGE
    assert stream.tell() == LIMIT + 1


def test_the_limit_is_an_option_and_the_log_names_both(caplog: pytest.LogCaptureFixture) -> None:
    assert Guarded(max_body_bytes=str(len(GOOD))).post(GOOD).status_int == 202
    assert Guarded(max_body_bytes=str(len(GOOD) - 1)).post(GOOD).status_int == 413
    assert [logged.getMessage() for logged in caplog.records if logged.name == "imagefilter.action"] == [
        f"refused a body of over {len(GOOD) - 1} bytes: [imagefilter] max_body_bytes must be at least the compute API's"
        " own [oslo_middleware] max_request_body_size"
    ]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"CONTENT_LENGTH": "00{}"},
        {"CONTENT_LENGTH": None, "wsgi.input_terminated": True},
        {"CONTENT_LENGTH": "", "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
        {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
    ],
)
@pytest.mark.parametrize("stream", [io.BytesIO, Drip])
@pytest.mark.parametrize("body", [GOOD, b'{"lock": null}'])
def test_what_is_forwarded_is_framed_by_its_length_alone(environ: dict[str, Any], stream: Any, body: bytes) -> None:
    guarded = Guarded()
    environ = {k: v.replace("{}", str(len(body))) if isinstance(v, str) else v for k, v in environ.items()}
    assert guarded.post(body, **{**environ, "wsgi.input": stream(body)}).status_int == 202
    [seen] = guarded.compute.seen
    assert json.loads(seen["body"]) == json.loads(body)
    assert seen["CONTENT_LENGTH"] == str(len(seen["body"]))
    assert "HTTP_TRANSFER_ENCODING" not in seen
    assert "wsgi.input_terminated" not in seen


def test_without_a_length_and_without_an_end_there_is_no_body() -> None:
    stream = Drip(GOOD)
    response = Guarded().post(b"", CONTENT_LENGTH=None, HTTP_TRANSFER_ENCODING="chunked", **{"wsgi.input": stream})
    assert fault_of(response) == MALFORMED
    assert stream.given == 0


def test_of_no_body_an_empty_one_is_made() -> None:
    guarded = Guarded()
    assert guarded.post(b"", "/v2.1/servers", CONTENT_LENGTH=None, **{"wsgi.input": Drip(GOOD)}).status_int == 202
    assert [(seen["body"], seen["CONTENT_LENGTH"]) for seen in guarded.compute.seen] == [(b"", "0")]


def test_no_more_is_read_than_the_length_says() -> None:
    """What follows is the next request of the connection."""
    stream = Drip(GOOD + b"POST /")
    guarded = Guarded()
    assert guarded.post(b"", CONTENT_LENGTH=str(len(GOOD)), **{"wsgi.input": stream}).status_int == 202
    assert json.loads(guarded.bodies[0]) == json.loads(GOOD)
    assert stream.given == len(GOOD)


def test_an_exception_of_the_stream_goes_on_its_way() -> None:
    class TooLarge(Exception):
        """oslo's sizelimit raises a webob exception out of read()."""

    class Stream:
        def read(self, size: int) -> bytes:
            raise TooLarge

    with pytest.raises(TooLarge):
        Guarded().post(b"", **{"wsgi.input": Stream()})


HOSTILE = {
    "110 KB of nesting": b'{"createImage":' + b"[" * 55_000 + b"]" * 55_000 + b"}",
    "nesting in a member": b'{"createImage": {"name": "x", "m": ' + b"[" * 55_000 + b"]" * 55_000 + b"}}",
    "objects in objects": b'{"createImage":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b"}",
    "unclosed": b'{"createImage":' + b"[" * 110_000,
    "8,000 metadata items": json.dumps(image(metadata={str(n): "" for n in range(8000)})).encode(),
    "8,000 top-level keys": json.dumps({f"createImage{n}": 0 for n in range(5500)}).encode(),
    "5,000 digits": b'{"createImage": {"name": ' + b"9" * 5000 + b"}}",
    "110,000 digits": b'{"createImage": {"name": ' + b"9" * 110_000 + b"}}",
    "4,000 digits": b'{"createImage": {"name": ' + b"9" * 4000 + b"}}",
    "invalid UTF-8": b'{"createImage": {"name": "\xff"}}',
    "a BOM": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "truncated": GOOD[:-1],
    "escapes": b'{"createImage": {"name": "' + b"\\u0041" * 18_000 + b'"}}',
    "backslashes": b'{"createImage": {"name": "' + b"\\\\" * 55_000 + b'"}}',
    "numbers": b'{"createImage": {"name": [' + b",".join([b"1"] * 55_000) + b"]}}",
    "braces in a value": json.dumps(image(metadata={"k": "{[" * 50_000})).encode(),
}


@pytest.mark.parametrize("method", ["POST", "post", "Post", "PUT", "FOO"])
@pytest.mark.parametrize("target", [PATH, "/v2/x", PATH.replace("/action", "%2Faction%0a")])
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_body(body: bytes, target: str, method: str) -> None:
    guarded = Guarded()
    start = time.process_time()
    response = guarded.send(method, target, body)
    cpu = time.process_time() - start
    if method == "POST" and "ction" in target:
        assert 400 <= fault_of(response)[0] < 500
    # Off the action path nothing is said of what names no image action: UTF-16 is no JSON to a compute API.
    elif guarded.bodies:
        assert b"createImage" not in body or len(json.loads(body)) > 1
        return
    assert guarded.bodies == []
    assert cpu < 1, "a hang, not a timing: the benchmark measures"


ENDS = ["", " ", "\n\t\r ", "\f", "\v", "\0", "\xa0", "\u2028", "\ufeff", ",", "]", "{}", "1", "//"]
STARTS = ["", " ", "\r\n\t", "\f", "\xa0", "\ufeff", "[", "'"]


@pytest.mark.parametrize(
    "text", ["{}", "null", "-1.5e3", "NaN", '"a"', '{"a": 1, "a": [2]}', "", "tru", "01", "'a'", "[1,]", "X{}X"]
)
def test_what_is_json_is_what_nova_takes_for_it(text: str) -> None:
    """Nova's own decoding is ``json.loads(body.decode("utf-8"))``."""
    for start, end in itertools.product(STARTS, ENDS):
        whole = start + text + end
        assert read(decode, whole.encode()) == read(json.loads, whole), whole


def test_two_documents_are_none() -> None:
    with pytest.raises(ValueError, match=r"^more than one document$"):
        decode(b"{} {}")


def read(reader: Callable[[Any], Any], text: Any) -> str:
    try:
        return repr(reader(text))
    except ValueError:
        return "not JSON"


def test_a_lone_surrogate_is_forwarded_escaped() -> None:
    guarded = Guarded()
    assert guarded.post(b'{"createImage": {"name": "\\ud800", "metadata": {"k": "\\udc00"}}}').status_int == 202
    assert guarded.bodies == [b'{"createImage":{"name":"\\ud800","metadata":{"k":"\\udc00"}}}']


def test_what_is_nested_too_deep_to_be_written_is_refused() -> None:
    """Not by the limit on levels: by a stack of which little is left."""
    metadata: Any = "x"
    for _ in range(100_000):
        metadata = {"k": metadata}
    with pytest.raises(Fault) as caught:
        encode(ImageAction("createImage", {"metadata": metadata}, "n", "", None), renamed=False)
    assert (caught.value.status, caught.value.message) == MALFORMED


def test_the_canonical_body() -> None:
    """Unescaped and without blanks: never longer than what the client may have sent."""
    guarded = Guarded()
    document = image("名" * 255, {"鍵": "値\n"}, rotation=1, other=[None, True, 1.5])
    guarded.post(json.dumps(document, ensure_ascii=False).encode())
    guarded.post(json.dumps(document).encode())
    expected = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    assert guarded.bodies == [expected, expected]


def test_the_content_type_is_json_whatever_it_was() -> None:
    guarded = Guarded()
    for content_type in (None, "", "text/plain", "application/json;charset=utf-16", "text/plain; a=b; c=d"):
        guarded.post(GOOD, CONTENT_TYPE=content_type)
    assert [seen["CONTENT_TYPE"] for seen in guarded.compute.seen] == ["application/json"] * 5


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_methods_without_a_body_are_not_read(method: str) -> None:
    stream = Drip(GOOD)
    compute_saw: list[Any] = []
    app = filter_factory({})(lambda environ, start_response: compute_saw.append(environ) or [])
    environ = environ_of(method, PATH, GOOD, **{"wsgi.input": stream})
    app(environ, lambda *args: None)
    assert compute_saw == [environ]
    assert stream.given == 0


def test_shelve_is_judged_only_where_listed() -> None:
    guarded = Guarded(snapshots_enabled="false")
    assert guarded.post(b'{"shelve":  null}').status_int == 202
    assert guarded.bodies == [b'{"shelve":  null}']
    guarded = Guarded(snapshots_enabled="false", actions="shelve")
    assert fault_of(guarded.post(b'{"shelve": null}')) == (400, "Instance snapshots are not permitted at this time.")
    assert guarded.post(GOOD).status_int == 202


@pytest.mark.parametrize("value", [None, {}, {"name": 5}, [1], "x", 0])
def test_shelve_has_no_name_and_no_metadata(value: Any) -> None:
    guarded = Guarded(actions="createImage,shelve")
    assert guarded.post({"shelve": value}).status_int == 202
    assert [json.loads(body) for body in guarded.bodies] == [{"shelve": value}]


@pytest.mark.parametrize(
    "target",
    [
        "/v2.1/servers/{s}/action",
        "/servers/{s}/action",
        "/compute/v2.1/servers/{s}/action",
        "/v2/6f70656e737461636b20342065766572/servers/{s}/action",
        "/v2.1/os-volumes_boot/{s}/action",
        "//v2.1///servers//{s}//action//",
        "/v2.1/servers/{s}/action%0a",
    ],
)
def test_an_action_path(target: str) -> None:
    guarded = Guarded()
    assert fault_of(guarded.post(b"{", target.format(s=SERVER))) == MALFORMED
    assert guarded.post(GOOD, target.format(s=SERVER)).status_int == 202


@pytest.mark.parametrize(
    ("script_name", "path_info", "target"),
    [
        (None, "/servers/x/action", Target("x", None, False)),
        ("", "/p/servers/x/action", Target("x", "p", False)),
        ("/v2.1/p/servers/x/action", None, Target("x", "p", True)),
        ("/v2.1", "/servers/x/action", Target("x", None, True)),
        ("/v2.1/servers", "/x/action", Target("x", None, True)),
        ("/servers/x", "/action\n", Target("x", None, False)),
    ],
)
def test_a_path_may_be_mounted_anywhere(script_name: str | None, path_info: str | None, target: Target) -> None:
    environ = environ_of("POST", "/", b"{", SCRIPT_NAME=script_name, PATH_INFO=path_info)
    action = recognise(environ, b"{", {})
    assert action
    assert action.target == target


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"k":', "}")])
@pytest.mark.parametrize(("levels", "accepted"), [(98, True), (99, False)])
def test_an_image_action_has_a_hundred_levels_at_most(opening: str, closing: str, levels: int, accepted: bool) -> None:
    """Two of them are the action's own, and a value is none."""
    body = '{"createImage":{"name":"x","m":%s1%s}}' % (opening * levels, closing * levels)  # noqa: UP031
    assert Guarded().post(body.encode()).status_int == (202 if accepted else 400)


@pytest.mark.parametrize("target", ["/v2.1/servers", "/action", "/servers/action", "/v2.1/images/x/action", "/", ""])
def test_no_action_path(target: str) -> None:
    guarded = Guarded()
    assert guarded.post(b"{", target).status_int == 202
    assert guarded.bodies == [b"{"]
    assert guarded.post(image(""), target).status_int == 400, "an image action is one wherever it stands"


@pytest.mark.parametrize("method", ["POST", "PUT", "post"])
@pytest.mark.parametrize("body", [b'{"create\\u0049mage": {"name": ""}}', b'{"\\u0063reateBackup": {"name": ""}}'])
def test_an_escaped_name_off_the_action_path(method: str, body: bytes) -> None:
    guarded = Guarded()
    assert guarded.send(method, "/v2.1/x?_method=POST", body).status_int == 400
    assert guarded.bodies == []

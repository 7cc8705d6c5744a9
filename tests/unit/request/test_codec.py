"""JSON is decoded as Nova does it, within limits, whatever the body is made to do."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from imagefilter.request.codec import decode, is_too_deep, type_name
from tests.cases import image
from tests.unit.fakes import PATH, Guarded, get_fault

GOOD = json.dumps(image()).encode()

HOSTILE = {
    "110 KB of nesting": b'{"createImage":' + b"[" * 55_000 + b"]" * 55_000 + b"}",
    "nesting in a member": b'{"createImage": {"name": "x", "m": ' + b"[" * 55_000 + b"]" * 55_000 + b"}}",
    "objects in objects": b'{"createImage":' + b'{"a":' * 18_000 + b"1" + b"}" * 18_000 + b"}",
    "unclosed": b'{"createImage":' + b"[" * 110_000,
    "8,000 metadata items": json.dumps(image(metadata={str(n): "" for n in range(8000)})).encode(),
    "5,000 digits": b'{"createImage": {"name": ' + b"9" * 5000 + b"}}",
    "110,000 digits": b'{"createImage": {"name": ' + b"9" * 110_000 + b"}}",
    "4,000 digits": b'{"createImage": {"name": ' + b"9" * 4000 + b"}}",
    "invalid UTF-8": b'{"createImage": {"name": "\xff"}}',
    "a BOM": b"\xef\xbb\xbf" + GOOD,
    "truncated": GOOD[:-1],
    "escapes": b'{"createImage": {"name": "' + b"\\u0041" * 18_000 + b'"}}',
    "backslashes": b'{"createImage": {"name": "' + b"\\\\" * 55_000 + b'"}}',
    "numbers": b'{"createImage": {"name": [' + b",".join([b"1"] * 55_000) + b"]}}",
    "braces in a value": json.dumps(image(metadata={"k": "{[" * 50_000})).encode(),
}
# Bodies that name no image action to a compute API: UTF-16 is not JSON to it.
NO_ACTION = {
    "UTF-16": GOOD.decode().encode("utf-16"),
    "5,000 top-level keys": json.dumps({f"createImage{n}": 0 for n in range(5000)}).encode(),
}
ALL = {**HOSTILE, **NO_ACTION}

ACTION_PATHS = [PATH, PATH.replace("/action", "%2Faction%0a")]
ELSEWHERE = [("POST", "/v2/x")]
ELSEWHERE += itertools.product(["post", "Post", "PUT", "FOO"], [*ACTION_PATHS, "/v2/x"])


def send_quickly(guarded: Guarded, method: str, target: str, body: bytes) -> Any:
    """Send a body and assert that it does not keep the worker busy: no timing, the benchmark measures."""
    start = time.process_time()
    response = guarded.send(method, target, body)
    assert time.process_time() - start < 1, "a hang"
    return response


@pytest.mark.parametrize("target", ACTION_PATHS)
@pytest.mark.parametrize("body", ALL.values(), ids=ALL)
def test_refuses_hostile_bodies_on_action_paths(body: bytes, target: str) -> None:
    guarded = Guarded()
    status, _ = get_fault(send_quickly(guarded, "POST", target, body))
    assert status in (400, 403), "not too large to be read"
    assert guarded.bodies == []


@pytest.mark.parametrize(("method", "target"), ELSEWHERE)
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_refuses_hostile_bodies_elsewhere(body: bytes, method: str, target: str) -> None:
    guarded = Guarded()
    status, _ = get_fault(send_quickly(guarded, method, target, body))
    assert status in (400, 403), "not too large to be read"
    assert guarded.bodies == []


@pytest.mark.parametrize(("method", "target"), ELSEWHERE)
@pytest.mark.parametrize("body", NO_ACTION.values(), ids=NO_ACTION)
def test_forwards_bodies_without_an_action_elsewhere(body: bytes, method: str, target: str) -> None:
    guarded = Guarded()
    send_quickly(guarded, method, target, body)
    assert guarded.bodies == [body]


STARTS = ["", " ", "\r\n\t", "\f", "\xa0", "\ufeff", "[", "'"]
ENDS = ["", " ", "\n\t\r ", "\f", "\v", "\0", "\xa0", "\u2028", "\ufeff", ",", "]", "{}", "1", "//"]


@pytest.mark.parametrize(
    "text", ["{}", "null", "-1.5e3", "NaN", '"a"', '{"a": 1, "a": [2]}', "", "tru", "01", "'a'", "[1,]", "X{}X"]
)
def test_decodes_json_as_nova_does(text: str) -> None:
    """Nova's own decoding is ``json.loads(body.decode("utf-8"))``."""
    for start, end in itertools.product(STARTS, ENDS):
        whole = start + text + end
        assert describe(decode, whole.encode()) == describe(json.loads, whole), whole


def describe(decoder: Callable[[Any], Any], text: Any) -> str:
    """Return what a decoder makes of a text, in a form that compares NaN as well."""
    try:
        return repr(decoder(text))
    except ValueError:
        return "not JSON"


def test_refuses_two_documents() -> None:
    with pytest.raises(ValueError, match=r"^more than one document$"):
        decode(b"{} {}")


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"k":', "}")])
@pytest.mark.parametrize(("levels", "status"), [(98, 202), (99, 400)])
def test_an_image_action_has_at_most_a_hundred_levels(opening: str, closing: str, levels: int, status: int) -> None:
    """Two of them are the action's own, and the value inside counts for none."""
    body = '{"createImage":{"name":"x","m":%s1%s}}' % (opening * levels, closing * levels)  # noqa: UP031
    assert Guarded().post(body.encode()).status_int == status


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("", "text"),
        (True, "a boolean"),
        (1, "a number"),
        (1.5, "a number"),
        ([], "a list"),
        ({}, "an object"),
        (None, "null"),
    ],
)
def test_names_json_types(value: Any, name: str) -> None:
    assert type_name(value) == name


DEEP = {
    "lists": "[" * 101 + "]" * 101,
    "objects": '{"":' * 101 + "0" + "}" * 101,
    "lists in objects": '{"":' * 49 + "[" * 52 + "]" * 52 + "}" * 49,
    "objects in lists": "[" * 52 + '{"":' * 49 + "0" + "}" * 49 + "]" * 52,
    "beside something flat": "[" * 101 + "]" * 100 + ", []]",
    "beside something flat, in an object": '{"a": ' + "[" * 100 + "]" * 100 + ', "b": []}',
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_what_is_deeper_than_100_levels_is_too_deep(text: str) -> None:
    assert is_too_deep(text.encode(), json.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100 + "]" * 100,
        '{"":' * 50 + "[" * 50 + "]" * 50 + "}" * 50,
        json.dumps([[]] * 200),
        json.dumps({"k": "[{" * 200}),
    ],
)
def test_what_has_100_levels_is_not(text: str) -> None:
    assert not is_too_deep(text.encode(), json.loads(text))

"""Image actions are recognised wherever they are, and encoded anew for the compute API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagefilter.fault import Fault
from imagefilter.request.action import ImageAction, Target, encode, find_target, recognise
from tests.cases import SERVER, image
from tests.unit.fakes import Guarded, get_fault
from tests.wsgi import build_environ

GOOD = json.dumps(image()).encode()
MALFORMED = (400, "Malformed request body")


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
def test_recognises_action_paths(target: str) -> None:
    guarded = Guarded()
    assert get_fault(guarded.post(b"{", target.format(s=SERVER))) == MALFORMED
    assert guarded.post(GOOD, target.format(s=SERVER)).status_int == 202


@pytest.mark.parametrize("target", ["/v2.1/servers", "/action", "/servers/action", "/v2.1/images/x/action", "/", ""])
def test_forwards_unreadable_bodies_on_other_paths(target: str) -> None:
    guarded = Guarded()
    assert guarded.post(b"{", target).status_int == 202
    assert guarded.bodies == [b"{"]


@pytest.mark.parametrize("target", ["/v2.1/servers", "/action", "/servers/action", "/v2.1/images/x/action", "/", ""])
def test_judges_an_image_action_on_any_path(target: str) -> None:
    assert Guarded().post(image(""), target).status_int == 400


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
    environ = build_environ("POST", "/", b"{", SCRIPT_NAME=script_name, PATH_INFO=path_info)
    action = recognise(environ, b"{", {})
    assert action
    assert action.target == target


@pytest.mark.parametrize("method", ["POST", "PUT", "post"])
@pytest.mark.parametrize("body", [b'{"create\\u0049mage": {"name": ""}}', b'{"\\u0063reateBackup": {"name": ""}}'])
def test_recognises_escaped_names_off_the_action_path(method: str, body: bytes) -> None:
    guarded = Guarded()
    assert guarded.send(method, "/v2.1/x?_method=POST", body).status_int == 400
    assert guarded.bodies == []


def test_judges_shelve_only_where_it_is_listed() -> None:
    guarded = Guarded(snapshots_enabled="false")
    assert guarded.post(b'{"shelve":  null}').status_int == 202
    assert guarded.bodies == [b'{"shelve":  null}']
    guarded = Guarded(snapshots_enabled="false", actions="shelve")
    assert get_fault(guarded.post(b'{"shelve": null}')) == (400, "Instance snapshots are not permitted at this time.")
    assert guarded.post(GOOD).status_int == 202


@pytest.mark.parametrize("value", [None, {}, {"name": 5}, [1], "x", 0])
def test_shelve_has_no_name_and_no_metadata(value: Any) -> None:
    guarded = Guarded(actions="createImage,shelve")
    assert guarded.post({"shelve": value}).status_int == 202
    assert [json.loads(body) for body in guarded.bodies] == [{"shelve": value}]


def test_forwards_the_canonical_body() -> None:
    """Unescaped and without blanks: never longer than what the client may have sent."""
    guarded = Guarded()
    document = image("名" * 255, {"鍵": "値\n"}, rotation=1, other=[None, True, 1.5])
    guarded.post(json.dumps(document, ensure_ascii=False).encode())
    guarded.post(json.dumps(document).encode())
    expected = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    assert guarded.bodies == [expected, expected]


def test_forwards_lone_surrogates_escaped() -> None:
    guarded = Guarded()
    assert guarded.post(b'{"createImage": {"name": "\\ud800", "metadata": {"k": "\\udc00"}}}').status_int == 202
    assert guarded.bodies == [b'{"createImage":{"name":"\\ud800","metadata":{"k":"\\udc00"}}}']


def test_refuses_what_is_nested_too_deep_to_be_encoded() -> None:
    """Here it is not the limit on levels that refuses, but a stack of which little is left."""
    metadata: Any = "x"
    for _ in range(100_000):
        metadata = {"k": metadata}
    with pytest.raises(Fault) as caught:
        encode(ImageAction("createImage", {"metadata": metadata}, "n", "", None), renamed=False)
    assert (caught.value.status, caught.value.message) == MALFORMED


def test_metadata_may_be_replaced_and_nothing_else_is() -> None:
    action = ImageAction("createImage", {"name": "n", "metadata": {"k": "v"}, "x": 1}, "n", "", None)
    expected = {"createImage": {"name": "n", "metadata": {"stamp": "s"}, "x": 1}}
    assert json.loads(encode(action, renamed=False, metadata={"stamp": "s"})) == expected
    assert action.entity["metadata"] == {"k": "v"}


@pytest.mark.parametrize(
    ("path", "target"), [("/v2.1/p/servers/x/action", Target("x", "p", True)), ("/v2.1/servers/x", None)]
)
def test_what_the_path_of_a_request_names(path: str, target: Target | None) -> None:
    assert find_target(build_environ("GET", path)) == target


def test_forwards_json_as_the_content_type_whatever_it_was() -> None:
    guarded = Guarded()
    for content_type in (None, "", "text/plain", "application/json;charset=utf-16", "text/plain; a=b; c=d"):
        guarded.post(GOOD, CONTENT_TYPE=content_type)
    assert [request["CONTENT_TYPE"] for request in guarded.compute.requests] == ["application/json"] * 5

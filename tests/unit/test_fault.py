from __future__ import annotations

from typing import Any

import pytest

from imagefilter.fault import Fault, shown, warning
from tests.unit.small import PATH, Guarded

BAD = {"createImage": {}}
MICRO, LEGACY = "OpenStack-API-Version", "X-OpenStack-Nova-API-Version"


def test_the_bytes_of_the_documented_sample() -> None:
    """The compute API's documented sample: message before code, 73 bytes for this action."""
    response = Guarded().post(b"form", CONTENT_TYPE="application/x-www-form-urlencoded")
    assert response.body == b'{"badRequest": {"message": "There is no such action: None", "code": 400}}'
    assert response.headers["Content-Length"] == "73"
    assert response.headers["Content-Type"] == "application/json; charset=UTF-8"


def test_all_headers_of_a_fault() -> None:
    environ = {"PATH_INFO": "/v2.1/x", "openstack.request_id": "req-1", "REQUEST_METHOD": "POST"}
    started: list[Any] = []
    body = b"".join(Fault(403, "é")(environ, lambda *args: started.append(args)))  # type: ignore[arg-type,return-value,func-returns-value]
    assert body == b'{"forbidden": {"message": "\\u00e9", "code": 403}}'
    assert started[0][0] == "403 Forbidden"
    assert started[0][1] == [
        ("Content-Type", "application/json; charset=UTF-8"),
        ("X-OpenStack-Request-Id", "req-1"),
        ("X-Compute-Request-Id", "req-1"),
        (MICRO, "compute 2.1"),
        (LEGACY, "2.1"),
        ("Vary", MICRO),
        ("Vary", LEGACY),
        ("Content-Length", str(len(body))),
    ]


def test_all_headers_of_a_401() -> None:
    started: list[Any] = []
    environ = {"SCRIPT_NAME": "/v2", "REQUEST_METHOD": "POST"}
    body = b"".join(Fault(401, "x", "Keystone")(environ, lambda *args: started.append(args)))  # type: ignore[arg-type,return-value,func-returns-value]
    assert body == b'{"error": {"code": 401, "title": "Unauthorized", "message": "x"}}'
    assert started[0][1] == [
        ("Content-Type", "application/json"),
        ("WWW-Authenticate", "Keystone"),
        ("Content-Length", str(len(body))),
    ]


def test_request_ids_are_answered_where_known() -> None:
    response = Guarded().post(BAD, **{"openstack.request_id": "req-1"})
    assert response.headers["X-OpenStack-Request-Id"] == response.headers["X-Compute-Request-Id"] == "req-1"
    assert "X-Compute-Request-Id" not in Guarded().post(BAD).headers


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ({}, "2.1"),
        ({"HTTP_OPENSTACK_API_VERSION": "compute 2.45"}, "2.45"),
        ({"HTTP_OPENSTACK_API_VERSION": "compute 2.45, compute 2.1"}, "2.1"),
        ({"HTTP_OPENSTACK_API_VERSION": "volume 3.1"}, "2.1"),
        ({"HTTP_X_OPENSTACK_NOVA_API_VERSION": "2.60"}, "2.60"),
        ({"HTTP_OPENSTACK_API_VERSION": "compute 2.45", "HTTP_X_OPENSTACK_NOVA_API_VERSION": "2.60"}, "2.45"),
        ({"HTTP_OPENSTACK_API_VERSION": "compute latest"}, None),
        ({"HTTP_OPENSTACK_API_VERSION": "compute x\r\nSet-Cookie: a"}, None),
        ({"HTTP_OPENSTACK_API_VERSION": "compute 2.1\n"}, "2.1"),
        ({"HTTP_OPENSTACK_API_VERSION": "compute ٢.١"}, None),
    ],
)
def test_microversion_headers(sent: dict[str, str], answered: str | None) -> None:
    headers = Guarded().post(BAD, **sent).headers
    assert headers.getall("Vary") == [MICRO, LEGACY]
    assert headers.get(MICRO) == (answered and f"compute {answered}")
    assert headers.get(LEGACY) == answered


@pytest.mark.parametrize(
    ("path", "environ", "versioned"),
    [
        (PATH, {}, True),
        (PATH.replace("/v2.1", ""), {"SCRIPT_NAME": "/v2.1"}, True),
        (PATH.replace("/v2.1", "/compute/v2.1"), {}, True),
        (PATH.replace("/v2.1", "/v2"), {"HTTP_OPENSTACK_API_VERSION": "compute 2.45"}, False),
        (PATH.replace("/v2.1", ""), {}, False),
        (PATH, {"SCRIPT_NAME": None}, True),
        ("/", {"SCRIPT_NAME": PATH, "PATH_INFO": None}, True),
        ("/", {"SCRIPT_NAME": f"{PATH}/v2.1", "PATH_INFO": None}, True),
        ("/v2.1", {"SCRIPT_NAME": None}, True),
        ("/", {"SCRIPT_NAME": "/v2.1", "PATH_INFO": None}, True),
    ],
)
def test_only_v21_has_microversions(path: str, environ: dict[str, Any], versioned: bool) -> None:
    headers = Guarded().post(BAD, path, **environ).headers
    assert (MICRO in headers, "Vary" in headers) == (versioned, versioned)


def test_a_message_repeats_at_most_80_characters() -> None:
    for path in (f"/v2.1/servers/{'é' * 5000}/action", f"/v2.1/{'a' * 5000}/servers/x/action"):
        [fault] = Guarded().post({"createImage": {"name": "x"}}, path).json.values()
        assert "..." in fault["message"]
        assert len(fault["message"]) < 250


def test_a_path_of_any_bytes() -> None:
    response = Guarded().post({"createImage": {"name": "x"}}, "/v2.1/servers/%ff%00%0d%0aé/action")
    assert response.status_int == 404
    assert response.json["itemNotFound"]["message"] == "Instance \ufffd\x00\r\né could not be found."
    response = Guarded().post({"createImage": {"name": "x"}}, PATH_INFO="/v2.1/servers/\u20ac/action")
    assert response.status_int == 404


@pytest.mark.parametrize(("text", "expected"), [("", ""), ("é" * 80, "é" * 80), ("é" * 81, "é" * 77 + "...")])
def test_where_a_text_is_cut(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_the_whole_warning() -> None:
    assert warning("name-pattern", 'a "b" \\ é\n') == '299 imagefilter "name-pattern: a \\"b\\" \\\\\\\\ \\\\xe9\\\\n"'
    assert warning("r", "x" * 237) == f'299 imagefilter "r: {"x" * 237}"'
    assert warning("r", "x" * 238) == f'299 imagefilter "r: {"x" * 237}"'


def test_a_fault_is_an_exception_with_its_message() -> None:
    assert str(Fault(503, "The request could not be recorded.")) == "The request could not be recorded."

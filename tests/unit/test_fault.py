"""Refusals look like the compute API's own faults."""

from __future__ import annotations

from typing import Any

import pytest

from imagefilter.fault import Fault, excerpt, warning
from tests.unit.fakes import PATH, Guarded, get_fault

BAD = {"createImage": {}}
MICROVERSION, LEGACY = "OpenStack-API-Version", "X-OpenStack-Nova-API-Version"


def respond(fault: Fault, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return the status, the headers and the body of a fault."""
    started: list[Any] = []

    def start_response(*args: Any) -> Any:
        started.append(args)

    body = b"".join(fault(environ, start_response))
    [(status, headers)] = [args[:2] for args in started]
    return status, headers, body


def test_the_bytes_of_the_documented_sample() -> None:
    """In the compute API's documented sample message comes before code: 73 bytes for this action."""
    response = Guarded().post(b"form", CONTENT_TYPE="application/x-www-form-urlencoded")
    assert response.body == b'{"badRequest": {"message": "There is no such action: None", "code": 400}}'
    assert response.headers["Content-Length"] == "73"
    assert response.headers["Content-Type"] == "application/json; charset=UTF-8"


def test_all_headers_of_a_fault() -> None:
    environ = {"PATH_INFO": "/v2.1/x", "openstack.request_id": "req-1", "REQUEST_METHOD": "POST"}
    status, headers, body = respond(Fault(403, "é"), environ)
    assert status == "403 Forbidden"
    assert body == b'{"forbidden": {"message": "\\u00e9", "code": 403}}'
    assert headers == [
        ("Content-Type", "application/json; charset=UTF-8"),
        ("X-OpenStack-Request-Id", "req-1"),
        ("X-Compute-Request-Id", "req-1"),
        (MICROVERSION, "compute 2.1"),
        (LEGACY, "2.1"),
        ("Vary", MICROVERSION),
        ("Vary", LEGACY),
        ("Content-Length", str(len(body))),
    ]


def test_all_headers_of_a_401() -> None:
    _, headers, body = respond(Fault(401, "x", "Keystone"), {"SCRIPT_NAME": "/v2", "REQUEST_METHOD": "POST"})
    assert body == b'{"error": {"code": 401, "title": "Unauthorized", "message": "x"}}'
    assert headers == [
        ("Content-Type", "application/json"),
        ("WWW-Authenticate", "Keystone"),
        ("Content-Length", str(len(body))),
    ]


def test_a_fault_that_says_when_to_try_again() -> None:
    """Nova's own 429 has it in the body as well: nova/api/openstack/wsgi.py Fault."""
    _, headers, body = respond(Fault(429, "x", retry_after=7), {"REQUEST_METHOD": "POST"})
    assert body == b'{"overLimit": {"message": "x", "code": 429, "retryAfter": "7"}}'
    assert ("Retry-After", "7") in headers
    _, headers, body = respond(Fault(409, "x", retry_after=7), {"REQUEST_METHOD": "POST"})
    assert body == b'{"conflictingRequest": {"message": "x", "code": 409}}'
    assert ("Retry-After", "7") in headers
    _, headers, _ = respond(Fault(409, "x"), {"REQUEST_METHOD": "POST"})
    assert "Retry-After" not in dict(headers)


def test_responds_with_the_request_id_if_there_is_one() -> None:
    response = Guarded().post(BAD, **{"openstack.request_id": "req-1"})
    assert response.headers["X-OpenStack-Request-Id"] == response.headers["X-Compute-Request-Id"] == "req-1"
    assert "X-Compute-Request-Id" not in Guarded().post(BAD).headers


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "2.1"),
        ({"HTTP_OPENSTACK_API_VERSION": "compute 2.45"}, "2.45"),
        ({"HTTP_OPENSTACK_API_VERSION": "compute 2.45, compute 2.1"}, "2.1"),
        ({"HTTP_OPENSTACK_API_VERSION": "volume 3.1"}, "2.1"),
        ({"HTTP_X_OPENSTACK_NOVA_API_VERSION": "2.60"}, "2.60"),
        ({"HTTP_OPENSTACK_API_VERSION": "compute 2.45", "HTTP_X_OPENSTACK_NOVA_API_VERSION": "2.60"}, "2.45"),
        ({"HTTP_OPENSTACK_API_VERSION": "compute 2.1\n"}, "2.1"),
    ],
)
def test_microversion_headers(environ: dict[str, str], expected: str) -> None:
    headers = Guarded().post(BAD, **environ).headers
    assert headers.getall("Vary") == [MICROVERSION, LEGACY]
    assert headers[MICROVERSION] == f"compute {expected}"
    assert headers[LEGACY] == expected


@pytest.mark.parametrize("version", ["latest", "x\r\nSet-Cookie: a", "٢.١"])
def test_names_no_microversion_that_only_nova_knows(version: str) -> None:
    headers = Guarded().post(BAD, HTTP_OPENSTACK_API_VERSION=f"compute {version}").headers
    assert headers.getall("Vary") == [MICROVERSION, LEGACY]
    assert MICROVERSION not in headers
    assert LEGACY not in headers


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
    assert (MICROVERSION in headers, "Vary" in headers) == (versioned, versioned)


@pytest.mark.parametrize("path", [f"/v2.1/servers/{'é' * 5000}/action", f"/v2.1/{'a' * 5000}/servers/x/action"])
def test_a_message_repeats_at_most_80_characters(path: str) -> None:
    _, message = get_fault(Guarded().post({"createImage": {"name": "x"}}, path))
    assert "..." in message
    assert len(message) < 250


def test_a_path_of_any_bytes() -> None:
    response = Guarded().post({"createImage": {"name": "x"}}, "/v2.1/servers/%ff%00%0d%0aé/action")
    assert get_fault(response) == (404, "Instance \ufffd\x00\r\né could not be found.")


def test_a_path_of_characters_that_are_not_bytes() -> None:
    response = Guarded().post({"createImage": {"name": "x"}}, PATH_INFO="/v2.1/servers/\u20ac/action")
    assert response.status_int == 404


@pytest.mark.parametrize(("text", "expected"), [("", ""), ("é" * 80, "é" * 80), ("é" * 81, "é" * 77 + "...")])
def test_an_excerpt_is_at_most_80_characters(text: str, expected: str) -> None:
    assert excerpt(text) == expected


def test_a_warning_is_escaped_and_bounded() -> None:
    assert warning("name-pattern", 'a "b" \\ é\n') == '299 imagefilter "name-pattern: a \\"b\\" \\\\\\\\ \\\\xe9\\\\n"'
    assert warning("r", "x" * 237) == f'299 imagefilter "r: {"x" * 237}"'
    assert warning("r", "x" * 238) == f'299 imagefilter "r: {"x" * 237}"'


def test_a_fault_is_an_exception_with_its_message() -> None:
    assert str(Fault(503, "The request could not be recorded.")) == "The request could not be recorded."

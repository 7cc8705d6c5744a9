"""The filter that reads a body before anything in the gateway's pipeline may answer."""

from __future__ import annotations

import io
from typing import Any

import pytest

from imagefilter.gateway.body import filter_factory
from imagefilter.policy.config import ConfigError


def send(body: bytes, limit: str = "10", **environ: Any) -> tuple[str, bytes, list[Any]]:
    """Send a request through the filter; return its status, its body, and what the app behind it saw."""
    seen: list[Any] = []
    statuses: list[str] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.append((environ.get("CONTENT_LENGTH"), environ["wsgi.input"].read()))
        start_response("401 Unauthorized", [])
        return [b""]

    request = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "wsgi.input": io.BytesIO(body), **environ}
    filtered = filter_factory({}, max_body_bytes=limit)(app)
    response = b"".join(filtered(request, lambda status, headers, *_: statuses.append(status)))
    return statuses[0], response, seen


def test_a_body_is_read_before_the_app_may_answer() -> None:
    stream = io.BytesIO(b"0123456789")
    status, _, seen = send(b"", CONTENT_LENGTH="10", **{"wsgi.input": stream})
    assert (status, stream.tell(), seen) == ("401 Unauthorized", 10, [("10", b"0123456789")])


def test_a_chunked_body_gets_a_length() -> None:
    environ = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    assert send(b"abc", **environ)[2] == [("3", b"abc")]


@pytest.mark.parametrize(
    "environ", [{"CONTENT_LENGTH": "11"}, {"wsgi.input_terminated": True}], ids=["long", "chunked"]
)
def test_a_body_over_the_limit_is_a_413_of_the_compute_api_s_form(environ: dict[str, Any]) -> None:
    status, body, seen = send(b"x" * 11, **environ)
    assert (status[:3], seen) == ("413", [])
    assert b'"overLimit"' in body


def test_a_body_that_was_cut_is_a_400() -> None:
    assert send(b"abc", CONTENT_LENGTH="5")[0].startswith("400")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_body_byte": "1"}, "unknown option 'max_body_byte' in the paste section (is it max_body_bytes?)"),
        ({"max_body_bytes": "many"}, "max_body_bytes = many in the paste section: not a whole number"),
        ({"max_body_bytes": "0"}, "max_body_bytes = 0 in the paste section"),
    ],
)
def test_bad_options_stop_loading(options: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError) as error:
        filter_factory({}, **options)
    assert reason in str(error.value)

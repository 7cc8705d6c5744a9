"""Bodies are read once, within limits, and framed anew."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from imagefilter import filter_factory
from tests.cases import image
from tests.unit.fakes import AUTHENTICATED, PATH, DrippingStream, Guarded, get_fault
from tests.wsgi import build_environ

GOOD = json.dumps(image()).encode()
LIMIT = 114688  # the default of max_body_bytes

MALFORMED = (400, "Malformed request body")
TOO_LARGE = (413, f"Request is too large. Larger than max_body_bytes ({LIMIT}).")

TERMINATED = {"wsgi.input_terminated": True}
CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked"}


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        ("-1", MALFORMED),
        ("+5", MALFORMED),
        ("abc", MALFORMED),
        ("5 ", MALFORMED),
        (" 5", MALFORMED),
        ("5_0", MALFORMED),
        ("0x5", MALFORMED),
        ("5.0", MALFORMED),
        ("٥", MALFORMED),
        ("5,5", MALFORMED),
        ("\n5", MALFORMED),
        ("5\n", MALFORMED),
        ("114689", TOO_LARGE),
        ("9" * 5000, TOO_LARGE),
        ("1000000", TOO_LARGE),
        ("500", MALFORMED),  # longer than the body
    ],
)
@pytest.mark.parametrize("target", [PATH, "/v2.1/servers", "/"])
@pytest.mark.parametrize("method", ["POST", "PUT", "post"])
def test_refuses_bad_lengths(method: str, target: str, length: str, expected: tuple[int, str]) -> None:
    guarded = Guarded()
    response = guarded.send(method, target, b'{"lock": null}', CONTENT_LENGTH=length)
    assert get_fault(response) == expected
    assert guarded.bodies == []


@pytest.mark.parametrize("zeros", [1, 20, 5000])
def test_accepts_leading_zeros_of_a_length(zeros: int) -> None:
    guarded = Guarded()
    assert guarded.post(GOOD, CONTENT_LENGTH="0" * zeros + str(len(GOOD))).status_int == 202
    assert guarded.post(b"x", "/v2.1/servers", CONTENT_LENGTH="0" * zeros).status_int == 202
    assert guarded.bodies == [GOOD.replace(b": ", b":").replace(b", ", b","), b""]


def test_reads_nothing_of_a_body_over_the_limit() -> None:
    stream = DrippingStream(b"x" * 10)
    response = Guarded().post(b"", CONTENT_LENGTH=str(LIMIT + 1), **{"wsgi.input": stream})
    assert get_fault(response) == TOO_LARGE
    assert stream.reads == 0


def test_reads_one_byte_past_the_limit_of_a_body_without_length() -> None:
    stream = io.BytesIO(b" " * 10 * LIMIT)
    environ = {"wsgi.input": stream, "CONTENT_LENGTH": None, **TERMINATED}
    assert get_fault(Guarded().post(b"", **environ)) == TOO_LARGE
    assert stream.tell() == LIMIT + 1


def test_takes_a_body_of_the_limit_without_length() -> None:
    guarded = Guarded(max_body_bytes=str(len(GOOD)))
    environ = {"wsgi.input": io.BytesIO(GOOD), "CONTENT_LENGTH": None, **TERMINATED}
    assert guarded.post(b"", **environ).status_int == 202


def test_the_limit_is_an_option_and_the_log_names_both_limits(caplog: pytest.LogCaptureFixture) -> None:
    assert Guarded(max_body_bytes=str(len(GOOD))).post(GOOD).status_int == 202
    assert Guarded(max_body_bytes=str(len(GOOD) - 1)).post(GOOD).status_int == 413
    assert [record.getMessage() for record in caplog.records if record.name == "imagefilter.request.body"] == [
        f"a body has more than {len(GOOD) - 1} bytes, so it is not judged: [imagefilter] max_body_bytes must be at"
        " least the compute API's own [oslo_middleware] max_request_body_size"
    ]


@pytest.mark.parametrize(
    ("length", "environ"),
    [
        ("{}", {}),
        ("00{}", {}),
        (None, TERMINATED),
        ("", {**TERMINATED, **CHUNKED}),
        ("{}", {**TERMINATED, **CHUNKED}),
    ],
)
@pytest.mark.parametrize("stream", [io.BytesIO, DrippingStream])
@pytest.mark.parametrize("body", [GOOD, b'{"lock": null}'])
def test_forwards_a_body_framed_by_its_length_alone(
    length: str | None, environ: dict[str, Any], stream: Any, body: bytes
) -> None:
    guarded = Guarded()
    content_length = length and length.format(len(body))
    response = guarded.post(body, CONTENT_LENGTH=content_length, **{**environ, "wsgi.input": stream(body)})
    assert response.status_int == 202
    [request] = guarded.compute.requests
    assert json.loads(request["body"]) == json.loads(body)
    assert request["CONTENT_LENGTH"] == str(len(request["body"]))
    assert "HTTP_TRANSFER_ENCODING" not in request
    assert "wsgi.input_terminated" not in request


def test_reads_no_body_without_a_length_and_without_an_end() -> None:
    stream = DrippingStream(GOOD)
    response = Guarded().post(b"", CONTENT_LENGTH=None, **CHUNKED, **{"wsgi.input": stream})
    assert get_fault(response) == MALFORMED
    assert stream.reads == 0


def test_forwards_an_empty_body_instead_of_none() -> None:
    guarded = Guarded()
    stream = DrippingStream(GOOD)
    assert guarded.post(b"", "/v2.1/servers", CONTENT_LENGTH=None, **{"wsgi.input": stream}).status_int == 202
    [request] = guarded.compute.requests
    assert (request["body"], request["CONTENT_LENGTH"]) == (b"", "0")


def test_reads_no_more_than_the_length_says() -> None:
    """The rest of the stream is the next request of the connection."""
    stream = DrippingStream(GOOD + b"POST /")
    guarded = Guarded()
    assert guarded.post(b"", CONTENT_LENGTH=str(len(GOOD)), **{"wsgi.input": stream}).status_int == 202
    assert json.loads(guarded.bodies[0]) == json.loads(GOOD)
    assert stream.reads == len(GOOD)


def test_passes_on_exceptions_of_the_stream() -> None:
    class TooLarge(Exception):
        """oslo's sizelimit raises a webob exception out of read()."""

    class Stream:
        def read(self, size: int) -> bytes:
            raise TooLarge

    with pytest.raises(TooLarge):
        Guarded().post(b"", **{"wsgi.input": Stream()})


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_reads_nothing_for_methods_without_a_body(method: str) -> None:
    stream = DrippingStream(GOOD)
    forwarded: list[Any] = []
    app = filter_factory({})(lambda environ, start_response: forwarded.append(environ) or [])
    environ = build_environ(method, PATH, GOOD, **{"wsgi.input": stream})
    app(environ, lambda *args: None)
    assert forwarded == [environ]
    assert stream.reads == 0


def test_leaves_the_body_to_be_read_again() -> None:
    """WebOb rewinds it; Nova reads it twice."""
    streams: list[Any] = []
    app = filter_factory({})(lambda environ, start_response: streams.append(environ["wsgi.input"]) or [])
    app(build_environ("POST", "/v2.1/x", image(), **AUTHENTICATED), lambda *args: None)
    [stream] = streams
    assert isinstance(stream, io.BytesIO)
    assert stream.tell() == 0

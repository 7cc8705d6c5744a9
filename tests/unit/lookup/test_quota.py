"""The image API's own quota is known exactly, or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from imagefilter.lookup.quota import ask_image_quota
from imagefilter.lookup.remembered import ServerFailed
from imagefilter.policy.policy import ImageAPIOptions
from imagefilter.rules.case import LookupFailed, Quota
from tests.unit.lookup.test_images import FakeGlance

OPTIONS = ImageAPIOptions(None, "internal", None, None, 10.0)
COUNT = {"usage": 3, "limit": 5}


@pytest.fixture
def serve() -> Iterator[Callable[..., FakeGlance]]:
    fakes: list[FakeGlance] = []

    def start(status: int, body: Any, **headers: str) -> FakeGlance:
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        fakes.append(FakeGlance(lambda query: (status, headers, body)))
        return fakes[-1]

    yield start
    for fake in fakes:
        fake.server.shutdown()
        fake.server.server_close()


def ask(glance: FakeGlance, seconds: float = 10) -> dict[str, Quota]:
    return ask_image_quota(glance.url, "a token", "p" * 32, OPTIONS, seconds)


@pytest.mark.parametrize(
    ("usage", "quotas"),
    [
        ({}, {}),
        ({"image_count_total": COUNT}, {"image_count_total": Quota(5, 3)}),
        ({"image_size_total": {"usage": 0, "limit": -1}}, {"image_size_total": Quota(-1, 0)}),
        (
            {"image_count_total": COUNT, "image_size_total": COUNT, "image_count_uploading": COUNT},
            dict.fromkeys(("image_count_total", "image_size_total", "image_count_uploading"), Quota(5, 3)),
        ),
        ({"image_stage_total": {"usage": 9, "limit": 0}, "another": None}, {}),  # of imports
    ],
)
def test_what_it_enforces(serve: Any, usage: Any, quotas: dict[str, Quota]) -> None:
    glance = serve(200, {"usage": usage})
    assert ask(glance) == quotas
    [headers] = glance.headers
    assert headers["X-Auth-Token"] == "a token"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "no JSON object"),
        (b"[" * 60_000, "no JSON object"),
        ([], "no JSON object"),
        ({}, ": its answer has no usage$"),
        ({"usage": None}, ": its answer has no usage$"),
        ({"usage": []}, ": its answer has no usage$"),
        ({"usage": {"image_count_total": None}}, "no numbers for image_count_total"),
        ({"usage": {"image_count_total": {}}}, "no numbers for image_count_total"),
        ({"usage": {"image_count_total": {"usage": 1}}}, "no numbers for image_count_total"),
        ({"usage": {"image_count_total": {"usage": "1", "limit": 5}}}, "no numbers for image_count_total"),
        ({"usage": {"image_count_total": {"usage": 1, "limit": True}}}, "no numbers for image_count_total"),
        ({"usage": {"image_count_total": {"usage": 1, "limit": 5.0}}}, "no numbers for image_count_total"),
        ({"usage": {"image_count_total": {"usage": -1, "limit": 5}}}, "no numbers for image_count_total"),
        ({"usage": {"image_count_total": {"usage": 1, "limit": -2}}}, "no numbers for image_count_total"),
        (
            {"usage": {"image_count_uploading": None, "image_count_total": COUNT}},
            "no numbers for image_count_uploading",
        ),
        (b" " * (1 << 17), "more than 65536 bytes"),
    ],
)
def test_an_answer_that_is_none(serve: Any, body: Any, reason: str) -> None:
    with pytest.raises(LookupFailed, match=reason):
        ask(serve(200, body))


@pytest.mark.parametrize(("status", "of_server"), [(401, False), (403, False), (404, False), (500, True), (300, True)])
def test_a_refusal(serve: Any, status: int, of_server: bool) -> None:
    with pytest.raises(
        LookupFailed, match=f"quota of project p+ could not be looked up: it responded {status}"
    ) as raised:
        ask(serve(status, {"usage": {}}))
    assert isinstance(raised.value, ServerFailed) is of_server


def test_no_redirect_gets_the_token(serve: Any) -> None:
    other = serve(200, {"usage": {}})
    glance = serve(302, {}, Location=f"{other.url}/v2/info/usage")
    with pytest.raises(LookupFailed, match="it responded 302"):
        ask(glance)
    assert not other.headers


def test_a_slow_answer() -> None:
    slow = FakeGlance(lambda query: time.sleep(3) or (200, {}, b"{}"))  # type: ignore[func-returns-value]
    began = time.monotonic()
    with pytest.raises(LookupFailed, match="no answer in time"):
        ask(slow, 0.3)
    assert time.monotonic() - began < 2
    slow.server.shutdown()
    slow.server.server_close()


def test_certificates_are_verified_by_the_file_of_the_option() -> None:
    options = OPTIONS._replace(ca_file="/nonexistent/ca.pem")
    with pytest.raises(LookupFailed) as raised:
        ask_image_quota("https://127.0.0.1:1", "a token", "p" * 32, options, 5.0)
    assert "/nonexistent/ca.pem" in str(raised.value.__cause__)

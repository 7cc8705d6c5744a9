"""The filter as a whole: what it hands on, what it logs, and that instances share nothing."""

from __future__ import annotations

import io
from typing import Any

import pytest

from imagefilter import filter_factory
from tests.cases import image
from tests.requests import environ_of
from tests.unit.small import VOUCHED, Guarded


def test_what_it_hands_on_is_the_apps_own_answer() -> None:
    answer = [b"x"]
    app = filter_factory({})(lambda environ, start_response: answer)
    for method, document in (("GET", b""), ("POST", {"lock": None})):
        environ = environ_of(method, "/v2.1/x", document, **VOUCHED)
        assert app(environ, lambda *args: None) is answer, "not wrapped, not read, not closed"
    assert list(app(environ_of("POST", "/v2.1/x", image(), **VOUCHED), lambda *args: None)) == answer


@pytest.mark.parametrize("document", [{"lock": None}, image()])
def test_an_exception_of_the_app_goes_on_its_way(document: Any) -> None:
    def broken(environ: dict[str, Any], start_response: Any) -> Any:
        raise KeyError("mine")

    app = filter_factory({})(broken)
    with pytest.raises(KeyError, match="mine"):
        app(environ_of("POST", "/v2.1/x", document, **VOUCHED), lambda *args: None)


def test_a_fault_of_the_app_is_not_taken_for_ours() -> None:
    """Two filters in a row: the outer one must not answer for the inner one's refusal."""
    outer = filter_factory({}, metadata_items="5")(filter_factory({}, metadata_items="1")(lambda e, s: [b"never"]))
    statuses: list[str] = []
    environ = environ_of("POST", "/v2.1/x", image(metadata={"a": "b", "c": "d"}), **VOUCHED)
    body = b"".join(outer(environ, lambda status, headers, exc_info=None: statuses.append(status)))
    assert (statuses, b"limit exceeded" in body) == (["403 Forbidden"], True)


def test_instances_share_nothing() -> None:
    strict, lax = Guarded(metadata_items="0"), Guarded(metadata_items="-1")
    document = image(metadata={"k": "v"})
    assert [each.post(document).status_int for each in (strict, lax, strict)] == [403, 202, 403]


def test_a_refusal_is_logged_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    guarded = Guarded()
    caplog.clear()
    document = image("secret-name", {"": "secret-value", "secret-key": "x"})
    guarded.post(document, HTTP_X_AUTH_TOKEN="secret-token", **{"openstack.request_id": "req-7"})
    [text] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    for part in ("createImage", "alice", "203.0.113.7", "req-7", "metadata-key-blank"):
        assert part in text
    assert "secret" not in text


def test_a_log_line_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    guarded = Guarded()
    caplog.clear()
    guarded.post({"createImage": {}}, "/v2.1/servers/a%0aWARNING%20forged/action")
    guarded.post(image(metadata={"k\n\x1b[31mforged": 5}))
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 2
    for line in lines:
        assert "\n" not in line
        assert "\x1b" not in line


def test_loading_says_what_is_judged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    filter_factory({}, snapshots_enabled="false")
    assert "createImage, createBackup" in caplog.text
    assert "snapshots_enabled is False" in caplog.text


def test_the_body_is_left_to_be_read_again() -> None:
    """WebOb rewinds it; Nova reads it twice."""
    seen: list[Any] = []
    app = filter_factory({})(lambda environ, start_response: seen.append(environ["wsgi.input"]) or [])
    app(environ_of("POST", "/v2.1/x", image(), **VOUCHED), lambda *args: None)
    [stream] = seen
    assert isinstance(stream, io.BytesIO)
    assert stream.tell() == 0

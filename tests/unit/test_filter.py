"""The filter as a whole: what it forwards, what it logs, and that instances share nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagefilter import filter_factory
from imagefilter.policy.policy import Policy
from imagefilter.policy.settings import Settings
from tests.cases import PROJECT, image
from tests.unit.fakes import AUTHENTICATED, Guarded, Journalled
from tests.wsgi import build_environ


@pytest.mark.parametrize(("method", "document"), [("GET", b""), ("POST", {"lock": None})])
def test_returns_the_applications_own_response(method: str, document: Any) -> None:
    response = [b"x"]
    app = filter_factory({})(lambda environ, start_response: response)
    environ = build_environ(method, "/v2.1/x", document, **AUTHENTICATED)
    assert app(environ, lambda *args: None) is response, "not wrapped, not read, not closed"


def test_passes_on_the_response_to_an_image_action() -> None:
    app = filter_factory({})(lambda environ, start_response: [b"x", b"y"])
    response = app(build_environ("POST", "/v2.1/x", image(), **AUTHENTICATED), lambda *args: None)
    assert list(response) == [b"x", b"y"]


@pytest.mark.parametrize("document", [{"lock": None}, image()])
def test_passes_on_exceptions_of_the_application(document: Any) -> None:
    def broken(environ: dict[str, Any], start_response: Any) -> Any:
        raise KeyError("mine")

    app = filter_factory({})(broken)
    with pytest.raises(KeyError, match="mine"):
        app(build_environ("POST", "/v2.1/x", document, **AUTHENTICATED), lambda *args: None)


def test_does_not_respond_for_another_filters_fault() -> None:
    """Of two filters in a row the outer one must not respond with the inner one's refusal."""
    inner = filter_factory({}, metadata_items="1")(lambda environ, start_response: [b"never"])
    outer = filter_factory({}, metadata_items="5")(inner)
    statuses: list[str] = []
    environ = build_environ("POST", "/v2.1/x", image(metadata={"a": "b", "c": "d"}), **AUTHENTICATED)
    body = b"".join(outer(environ, lambda status, headers, exc_info=None: statuses.append(status)))
    assert statuses == ["403 Forbidden"]
    assert b"limit exceeded" in body


def test_instances_share_nothing() -> None:
    strict, lax = Guarded(metadata_items="0"), Guarded(metadata_items="-1")
    document = image(metadata={"k": "v"})
    assert [guarded.post(document).status_int for guarded in (strict, lax, strict)] == [403, 202, 403]


def test_looks_up_the_settings_once_a_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An accepted createImage is judged, encoded and recorded by one lookup of its project."""
    projects: list[str | None] = []
    original = Policy.for_project

    def for_project(policy: Policy, project_id: str | None) -> Settings:
        projects.append(project_id)
        return original(policy, project_id)

    monkeypatch.setattr(Policy, "for_project", for_project)
    guarded = Journalled(tmp_path, exempt_roles="auditor", name_pattern=".*")
    projects.clear()
    assert guarded.post(image(metadata={"k": "v"})).status_int == 202
    assert len(guarded.records()) == 2
    assert projects == [PROJECT]


def get_warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_logs_a_refusal_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    guarded = Guarded()
    caplog.clear()
    document = image("secret-name", {"": "secret-value", "secret-key": "x"})
    guarded.post(document, HTTP_X_AUTH_TOKEN="secret-token", **{"openstack.request_id": "req-7"})
    [text] = get_warnings(caplog)
    for part in ("createImage", "alice", "203.0.113.7", "req-7", "metadata-key-blank"):
        assert part in text
    assert "secret" not in text


def test_a_log_line_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    guarded = Guarded()
    caplog.clear()
    guarded.post({"createImage": {}}, "/v2.1/servers/a%0aWARNING%20forged/action")
    guarded.post(image(metadata={"k\n\x1b[31mforged": 5}))
    lines = get_warnings(caplog)
    assert len(lines) == 2
    for line in lines:
        assert "\n" not in line
        assert "\x1b" not in line

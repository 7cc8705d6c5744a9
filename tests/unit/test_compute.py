"""The project's own quota, asked of the compute API behind the filter."""

from __future__ import annotations

import json
import re
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest

from imagefilter import filter_factory
from tests.cases import PROJECT, SERVER, image
from tests.requests import send
from tests.unit.small import CONTEXT

UNKNOWN = {"serviceUnavailable": {"message": "The metadata quota could not be determined.", "code": 503}}
PATH = f"/v2.1/{PROJECT}/servers/{SERVER}/action"


class Nova:
    """A compute API that knows quotas; ``answer`` says what to a question."""

    def __init__(self, limit: Any = 1, status: str = "200 OK", body: bytes | None = None, wait: float = 0) -> None:
        self.status, self.wait = status, wait
        self.body = json.dumps({"limits": {"absolute": {"maxImageMeta": limit}}}).encode() if body is None else body
        self.asked: list[dict[str, Any]] = []
        self.made = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "GET":
            self.asked.append(environ)
            time.sleep(self.wait)
            if self.status == "raise":
                raise OSError("down")
            start_response(self.status, [("Content-Type", "application/json"), ("Content-Length", str(len(self.body)))])
            return [self.body]
        self.made += 1
        start_response("202 Accepted", [("Content-Length", "0")])
        return [b""]


def guard(nova: Nova, **options: str) -> Any:
    return filter_factory({}, metadata_items_source="compute", **options)(nova)


def ask(app: Any, items: int, path: str = PATH, **environ: Any) -> Any:
    document = image(metadata={f"k{n}": "v" for n in range(items)})
    headers = {"X-Auth-Token": "secret", "X-Roles": "admin", "Cookie": "a=b", "OpenStack-API-Version": "compute 2.45"}
    return send(app, "POST", path, document, headers, **{"nova.context": CONTEXT, **environ})


def test_the_quota_is_the_compute_apis() -> None:
    nova = Nova(limit=2)
    app = guard(nova, metadata_items="0")
    assert [ask(app, items).status_int for items in (1, 2, 3)] == [202, 202, 403]
    assert (len(nova.asked), nova.made) == (1, 2)
    assert ask(guard(Nova(limit=-1)), 500).status_int == 202
    assert ask(guard(Nova(limit=0)), 1).status_int == 403


def test_without_metadata_nothing_is_asked() -> None:
    nova = Nova(limit=0)
    assert ask(guard(nova), 0).status_int == 202
    assert nova.asked == []


@pytest.mark.parametrize(
    ("path", "script", "asked"),
    [
        (PATH, "", ("", f"/v2.1/{PROJECT}/limits")),
        (f"/servers/{SERVER}/action", "/v2.1", ("/v2.1", "/limits")),
        (f"/{PROJECT}/servers/{SERVER}/action%0a", "/v2", ("/v2", f"/{PROJECT}/limits")),
        (f"/compute//v2.1//servers/{SERVER}/action", "", ("", "/compute/v2.1/limits")),
        (f"/servers/{SERVER}/action", "", ("", "/v2.1/limits")),
        (f"/{PROJECT}/servers/{SERVER}/action", "", ("", f"/v2.1/{PROJECT}/limits")),
    ],
)
def test_the_question_is_a_fresh_and_minimal_request(path: str, script: str, asked: tuple[str, str]) -> None:
    nova = Nova()
    ask(guard(nova), 1, path, SCRIPT_NAME=script, QUERY_STRING="a=b")
    [environ] = nova.asked
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == asked
    assert (environ["QUERY_STRING"], environ["CONTENT_LENGTH"], environ["wsgi.input"].read()) == ("", "0", b"")
    assert environ["HTTP_X_AUTH_TOKEN"] == "secret"
    assert environ["nova.context"] is CONTEXT
    assert not {"HTTP_COOKIE", "HTTP_X_ROLES", "HTTP_OPENSTACK_API_VERSION", "CONTENT_TYPE"} & set(environ)


FAILURES = {
    "5xx": {"status": "500 Internal Server Error"},
    "504": {"status": "504 Gateway Timeout"},
    "403": {"status": "403 Forbidden"},
    "404": {"status": "404 Not Found"},
    "redirect": {"status": "302 Found"},
    "exception": {"status": "raise"},
    "not JSON": {"body": b"<html>"},
    "a list": {"body": b"[]"},
    "null": {"body": b'{"limits": null}'},
    "no field": {"body": b'{"limits": {"absolute": {}}}'},
    "a text": {"limit": "128"},
    "true": {"limit": True},
    "negative": {"limit": -2},
    "nested": {"body": b"[" * 60_000},
    "not UTF-8": {"body": b"\xff"},
    "too long": {"body": b" " * 70_000 + b"{}"},
}


@pytest.mark.parametrize("given", FAILURES.values(), ids=FAILURES)
def test_a_fact_that_cannot_be_had(given: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    denying, allowing = Nova(**given), Nova(**given)
    response = ask(guard(denying), 1)
    assert (response.status_int, response.json, denying.made) == (503, UNKNOWN, 0)
    assert ask(guard(allowing, facts_on_error="allow"), 500).status_int == 202
    told = r"the metadata quota could not be determined: \S.*; facts_on_error is (deny|allow)"
    logged = [each.getMessage() for each in caplog.records if each.name == "imagefilter.checks"]
    assert [re.fullmatch(told, each)[1] for each in logged] == ["deny", "allow"]  # type: ignore[index]
    assert "None" not in "".join(logged)
    response = ask(guard(Nova(**given), mode="warn"), 1)
    assert response.status_int == 202
    assert response.headers["Warning"].startswith('299 imagefilter "metadata-quota: The metadata quota could not')


def test_a_sick_api_is_not_asked_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagefilter.compute._FAILURE_TTL", 3)
    nova = Nova(status="500 X")
    app = guard(nova)
    assert [ask(app, 1).status_int for _ in range(5)] == [503] * 5
    assert len(nova.asked) == 1
    time.sleep(3.1)
    nova.status = "200 OK"
    assert ask(app, 1).status_int == 202


def test_an_answer_is_kept_for_its_time() -> None:
    nova = Nova(limit=5)
    app = guard(nova, facts_ttl="3")
    assert [ask(app, 3).status_int for _ in range(3)] == [202] * 3
    nova.body = nova.body.replace(b"5", b"2")
    assert ask(app, 3).status_int == 202
    time.sleep(3.1)
    assert ask(app, 3).status_int == 403
    assert len(nova.asked) == 2


def test_projects_are_kept_apart() -> None:
    nova = Nova(limit=5)
    app = guard(nova)
    for project in ("abc", "def", "abc", "def"):
        context = types.SimpleNamespace(user_id="u", project_id=project, roles=[])
        ask(app, 1, f"/v2.1/servers/{SERVER}/action", **{"nova.context": context})
    assert len(nova.asked) == 2


def test_two_hundred_at_once_ask_once() -> None:
    nova = Nova(limit=1, wait=0.2)
    app = guard(nova)
    statuses: list[int] = []
    start = threading.Barrier(200)

    def one() -> None:
        start.wait()
        statuses.append(ask(app, 1).status_int)

    threads = [threading.Thread(target=one) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (statuses, len(nova.asked)) == ([202] * 200, 1)


@pytest.mark.parametrize(
    "status", ["300 Multiple Choices", "401 Unauthorized", "400 Bad Request", "403 Forbidden", "404 Not Found"]
)
def test_a_stranger_cannot_make_a_quota_unknown_for_others(status: str) -> None:
    nova = Nova(limit=5, status=status)
    app = guard(nova)
    stranger = {"nova.context": None}
    response = ask(app, 1, **stranger)
    assert (response.status_int, nova.made) == (401 if status.startswith("401") else 503, 0)
    nova.status = "200 OK"
    assert ask(app, 1, **stranger).status_int == 202, "asked anew"


def test_a_401_is_the_callers_own_in_every_mode(tmp_path: Path) -> None:
    for options in ({}, {"mode": "warn"}, {"facts_on_error": "allow"}):
        nova = Nova(status="401 Unauthorized")
        path = tmp_path / "audit.jsonl"
        response = ask(guard(nova, audit_journal=str(path), **options), 1, **{"nova.context": None})
        assert (response.status_int, nova.made) == (401, 0)
        assert response.json["error"]["message"] == "The request you have made requires authentication."
        assert not path.exists(), "as any bare 401"
        assert response.headers["WWW-Authenticate"] == "Keystone"


def test_a_caller_without_a_project_is_never_remembered() -> None:
    nova = Nova(limit=5)
    app = guard(nova)
    for _ in range(2):
        assert ask(app, 1, f"/v2.1/servers/{SERVER}/action", **{"nova.context": None}).status_int == 202
    assert len(nova.asked) == 2


def test_a_path_that_does_not_say_where_to_ask() -> None:
    nova = Nova()
    assert ask(guard(nova), 1, "/v2.1/elsewhere").status_int == 503
    assert nova.asked == []

"""The project's own quota is asked of the compute API behind the filter."""

from __future__ import annotations

import functools
import json
import re
import threading
import types
from pathlib import Path
from typing import Any, Callable

import pytest
from cachetools import TTLCache

from imagefilter import filter_factory
from imagefilter.lookup import remembered
from tests.cases import PROJECT, SERVER, image
from tests.records import parse_requests
from tests.unit.fakes import AUTHENTICATED, CONTEXT, get_content
from tests.wsgi import send

UNKNOWN = {"serviceUnavailable": {"message": "The metadata quota could not be determined.", "code": 503}}
PATH = f"/v2.1/{PROJECT}/servers/{SERVER}/action"
PATH_WITHOUT_PROJECT = f"/v2.1/servers/{SERVER}/action"
STRANGER = {"nova.context": None}  # whose token the compute API has to validate


def limits(limit: Any) -> bytes:
    """Return the body of a response to a question about limits."""
    return json.dumps({"limits": {"absolute": {"maxImageMeta": limit}}}).encode()


class Nova:
    """A compute API that knows quotas: it responds to questions with a status and a body, to actions with 202."""

    def __init__(self, limit: Any = 1, status: str = "200 OK", body: bytes | None = None) -> None:
        self.status = status
        self.body = limits(limit)
        if body is not None:
            self.body = body
        self.questions: list[dict[str, Any]] = []
        self.images = 0
        self.before_response: Callable[[], Any] = lambda: None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "GET":
            self.questions.append(environ)
            self.before_response()
            start_response(self.status, [("Content-Type", "application/json"), ("Content-Length", str(len(self.body)))])
            return [self.body]
        self.images += 1
        start_response("202 Accepted", [("Content-Length", "0")])
        return [b""]


def guard(nova: Nova, **options: str) -> Any:
    return filter_factory({}, metadata_items_source="compute", **options)(nova)


def post(app: Any, items: int, path: str = PATH, **environ: Any) -> Any:
    """Ask for an image with a number of metadata items."""
    document = image(metadata={f"k{number}": "v" for number in range(items)})
    headers = {"X-Auth-Token": "secret", "X-Roles": "admin", "Cookie": "a=b", "OpenStack-API-Version": "compute 2.45"}
    return send(app, "POST", path, document, headers, **{**AUTHENTICATED, **environ})


@pytest.mark.parametrize(
    ("limit", "items", "status"), [(2, 1, 202), (2, 2, 202), (2, 3, 403), (-1, 500, 202), (0, 1, 403)]
)
def test_applies_the_quota_of_the_compute_api(limit: int, items: int, status: int) -> None:
    assert post(guard(Nova(limit), metadata_items="0"), items).status_int == status


def test_asks_once_for_several_requests() -> None:
    nova = Nova(limit=2)
    app = guard(nova, metadata_items="0")
    assert [post(app, items).status_int for items in (1, 2, 3)] == [202, 202, 403]
    assert (len(nova.questions), nova.images) == (1, 2)


def test_asks_nothing_without_metadata() -> None:
    nova = Nova(limit=0)
    assert post(guard(nova), 0).status_int == 202
    assert nova.questions == []


@pytest.mark.parametrize(
    ("path", "script_name", "question"),
    [
        (PATH, "", ("", f"/v2.1/{PROJECT}/limits")),
        (f"/servers/{SERVER}/action", "/v2.1", ("/v2.1", "/limits")),
        (f"/{PROJECT}/servers/{SERVER}/action%0a", "/v2", ("/v2", f"/{PROJECT}/limits")),
        (f"/compute//v2.1//servers/{SERVER}/action", "", ("", "/compute/v2.1/limits")),
        (f"/servers/{SERVER}/action", "", ("", "/v2.1/limits")),
        (f"/{PROJECT}/servers/{SERVER}/action", "", ("", f"/v2.1/{PROJECT}/limits")),
    ],
)
def test_the_question_is_a_fresh_and_minimal_request(path: str, script_name: str, question: tuple[str, str]) -> None:
    nova = Nova()
    post(guard(nova), 1, path, SCRIPT_NAME=script_name, QUERY_STRING="a=b")
    [environ] = nova.questions
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == question
    assert (environ["QUERY_STRING"], environ["CONTENT_LENGTH"], environ["wsgi.input"].read()) == ("", "0", b"")
    assert environ["HTTP_X_AUTH_TOKEN"] == "secret"
    assert environ["nova.context"] is CONTEXT
    assert not {"HTTP_COOKIE", "HTTP_X_ROLES", "HTTP_OPENSTACK_API_VERSION", "CONTENT_TYPE"} & set(environ)


# --- without an answer


def raise_error() -> None:
    raise OSError("down")


def failing_nova() -> Nova:
    """Return a compute API that raises an exception."""
    nova = Nova()
    nova.before_response = raise_error
    return nova


FAILURES: dict[str, Callable[[], Nova]] = {
    "5xx": lambda: Nova(status="500 Internal Server Error"),
    "504": lambda: Nova(status="504 Gateway Timeout"),
    "403": lambda: Nova(status="403 Forbidden"),
    "404": lambda: Nova(status="404 Not Found"),
    "redirect": lambda: Nova(status="302 Found"),
    "exception": failing_nova,
    "not JSON": lambda: Nova(body=b"<html>"),
    "a list": lambda: Nova(body=b"[]"),
    "null": lambda: Nova(body=b'{"limits": null}'),
    "no field": lambda: Nova(body=b'{"limits": {"absolute": {}}}'),
    "a text": lambda: Nova("128"),
    "true": lambda: Nova(True),
    "negative": lambda: Nova(-2),
    "nested": lambda: Nova(body=b"[" * 60_000),
    "not UTF-8": lambda: Nova(body=b"\xff"),
    "too long": lambda: Nova(body=b" " * 70_000 + b"{}"),
}
each_failure = pytest.mark.parametrize("make_nova", FAILURES.values(), ids=FAILURES)


def read_log(caplog: pytest.LogCaptureFixture) -> str:
    [message] = [record.getMessage() for record in caplog.records if record.name == "imagefilter.rules.contract"]
    assert "None" not in message
    return message


@each_failure
def test_refuses_if_the_quota_is_unknown(make_nova: Callable[[], Nova], caplog: pytest.LogCaptureFixture) -> None:
    nova = make_nova()
    response = post(guard(nova), 1)
    assert (response.status_int, response.json, nova.images) == (503, UNKNOWN, 0)
    message = r"the metadata quota could not be determined: \S.*; lookup_on_error is deny"
    assert re.fullmatch(message, read_log(caplog))


@each_failure
def test_allows_any_number_if_an_unknown_quota_does_not_apply(
    make_nova: Callable[[], Nova], caplog: pytest.LogCaptureFixture
) -> None:
    assert post(guard(make_nova(), lookup_on_error="allow"), 500).status_int == 202
    message = r"the metadata quota could not be determined: \S.*; lookup_on_error is allow"
    assert re.fullmatch(message, read_log(caplog))


@each_failure
def test_warns_if_the_quota_is_unknown(make_nova: Callable[[], Nova]) -> None:
    response = post(guard(make_nova(), mode="warn"), 1)
    assert response.status_int == 202
    assert response.headers["Warning"].startswith('299 imagefilter "metadata-quota: The metadata quota could not')


def test_asks_nothing_if_the_path_does_not_say_where() -> None:
    nova = Nova()
    assert post(guard(nova), 1, "/v2.1/elsewhere").status_int == 503
    assert nova.questions == []


# --- what is remembered


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of what is remembered of the compute API."""
    clock = Clock()
    monkeypatch.setattr(remembered, "TTLCache", functools.partial(TTLCache, timer=clock))
    return clock


def test_asks_a_sick_api_once_a_second(clock: Clock) -> None:
    nova = Nova(status="500 X")
    app = guard(nova)
    assert [post(app, 1).status_int for _ in range(5)] == [503] * 5
    assert len(nova.questions) == 1
    nova.status = "200 OK"
    clock.now = 0.9
    assert post(app, 1).status_int == 503
    clock.now = 1.1
    assert post(app, 1).status_int == 202


def test_keeps_an_answer_for_its_time(clock: Clock) -> None:
    nova = Nova(limit=5)
    app = guard(nova, lookup_ttl="3")
    assert [post(app, 3).status_int for _ in range(3)] == [202] * 3
    nova.body = limits(2)
    clock.now = 2.9
    assert post(app, 3).status_int == 202
    clock.now = 3.1
    assert post(app, 3).status_int == 403
    assert len(nova.questions) == 2


def test_keeps_projects_apart() -> None:
    nova = Nova(limit=5)
    app = guard(nova)
    for project_id in ("abc", "def", "abc", "def"):
        context = types.SimpleNamespace(user_id="u", project_id=project_id, roles=[])
        post(app, 1, PATH_WITHOUT_PROJECT, **{"nova.context": context})
    assert len(nova.questions) == 2


def test_remembers_nothing_of_a_caller_without_a_project() -> None:
    nova = Nova(limit=5)
    app = guard(nova)
    for _ in range(2):
        assert post(app, 1, PATH_WITHOUT_PROJECT, **STRANGER).status_int == 202
    assert len(nova.questions) == 2


def test_two_hundred_threads_ask_once() -> None:
    nova = Nova(limit=1)
    app = guard(nova)
    begun: list[bool] = []
    all_have_begun = threading.Event()
    nova.before_response = lambda: all_have_begun.wait(60)
    statuses: list[int] = []

    def send_one() -> None:
        begun.append(True)
        if len(begun) == 200:
            all_have_begun.set()
        statuses.append(post(app, 1).status_int)

    threads = [threading.Thread(target=send_one) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (statuses, len(nova.questions)) == ([202] * 200, 1)


# --- whose answer it is


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        ("300 Multiple Choices", 503),
        ("401 Unauthorized", 401),
        ("400 Bad Request", 503),
        ("403 Forbidden", 503),
        ("404 Not Found", 503),
        ("500 X", 503),
        ("502 Bad Gateway", 503),
        ("200 OK but broken", 503),
    ],
)
def test_a_stranger_cannot_make_a_quota_unknown_for_others(status: str, refusal: int) -> None:
    nova = Nova(limit=5, status=status)
    if status.startswith("200"):
        nova.body = b"{"
    app = guard(nova)
    assert post(app, 1, **STRANGER).status_int == refusal
    assert nova.images == 0
    nova.status, nova.body = "200 OK", limits(5)
    for caller in (AUTHENTICATED, STRANGER):
        assert post(app, 1, **caller).status_int == 202, "asked again"


@pytest.mark.parametrize("key", ["HTTP_X_AUTH_TOKEN", "HTTP_AUTHORIZATION", "HTTP_HOST", "HTTP_X_FORWARDED_FOR"])
def test_a_failure_that_the_request_may_have_caused_is_not_remembered(key: str) -> None:
    """Nova's uWSGI hangs up on a head of over 4 KiB: a colleague in the same project could send such a one."""
    nova = Nova(limit=5, status="502 Bad Gateway")
    app = guard(nova)
    assert post(app, 1, **{key: "x" * 4096}).status_int == 503
    nova.status = "200 OK"
    assert post(app, 1).status_int == 202, "asked again"


@pytest.mark.parametrize(
    ("lookup_on_error", "status", "verdict", "rule"),
    [("deny", 503, "deny", "metadata-quota"), ("allow", 202, "allow", None)],
)
def test_a_401_about_a_caller_who_is_vouched_for_is_a_failed_lookup(
    tmp_path: Path, lookup_on_error: str, status: int, verdict: str, rule: str | None
) -> None:
    """An application credential whose access rules have no GET of limits; it is recorded, and not remembered."""
    nova = Nova(limit=5, status="401 Unauthorized")
    journal = tmp_path / "audit.jsonl"
    app = guard(nova, audit_journal=str(journal), lookup_on_error=lookup_on_error)
    assert post(app, 1).status_int == status
    content = get_content(parse_requests(journal.read_text().splitlines())[0])
    assert (content["verdict"], content["rule"]) == (verdict, rule)
    nova.status = "200 OK"
    assert post(app, 1).status_int == 202, "asked again"


@pytest.mark.parametrize("options", [{}, {"mode": "warn"}, {"lookup_on_error": "allow"}])
def test_a_401_is_the_callers_own_in_every_mode(tmp_path: Path, options: dict[str, str]) -> None:
    nova = Nova(status="401 Unauthorized")
    journal = tmp_path / "audit.jsonl"
    response = post(guard(nova, audit_journal=str(journal), **options), 1, **STRANGER)
    assert (response.status_int, nova.images) == (401, 0)
    assert response.json["error"]["message"] == "The request you have made requires authentication."
    assert response.headers["WWW-Authenticate"] == "Keystone"
    assert not journal.exists(), "a bare 401 is not recorded"

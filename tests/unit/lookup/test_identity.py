"""Keystone's limits are known exactly, or not at all."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from imagefilter.lookup.identity import IdentityAPI, check_identity_api
from imagefilter.policy.policy import ImageAPIOptions
from imagefilter.rules.case import LookupFailed
from tests.ports import find_free_port
from tests.waiting import wait_until

PROJECT, OTHER = "p" * 32, "q" * 32
SERVER, IN_ALL = "snapshots_per_server", "snapshots_per_project"

Answer = Callable[[str, str], Any]


class FakeKeystone:
    """An identity API; a test says what it lists, or how it answers."""

    def __init__(self, registered: list[Any], limits: list[Any], answer: Answer | None = None) -> None:
        self.questions: list[tuple[str, dict[str, str]]] = []
        self.tokens: set[str | None] = set()
        fake = self

        def list_all(collection: str, name: str) -> Any:
            if collection == "v3":
                return {"version": {"id": "v3.14", "status": "stable"}}
            listed = {"registered_limits": registered, "limits": limits}[collection]
            # As MySQL compares them.
            found = [item for item in listed if not isinstance(item, dict) or item["resource_name"].lower() == name]
            return {collection: found, "links": {"next": None, "self": "http://evil.example", "previous": None}}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                query = {name: values[-1] for name, values in parse_qs(url.query).items()}
                fake.questions.append((url.path, query))
                fake.tokens.add(self.headers["X-Auth-Token"])
                document = (answer or list_all)(url.path.rpartition("/")[2], query.get("resource_name", ""))
                status = 200
                if isinstance(document, int):
                    status, document = document, {}
                body = document
                if not isinstance(document, bytes):
                    body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def api(self, path: str = "/v3", region: str | None = None, ttl: int = 60) -> IdentityAPI:
        return IdentityAPI(self.options(path, region), ttl)

    def options(self, path: str, region: str | None = None) -> ImageAPIOptions:
        return ImageAPIOptions(None, "internal", region, None, 10.0, f"{self.url}{path}")

    def limits(self, region: str | None = None, project: str = PROJECT, seconds: float = 10) -> dict[str, int]:
        return self.api(region=region).limits("a token", project, seconds)


@pytest.fixture
def serve() -> Iterator[Callable[..., FakeKeystone]]:
    fakes: list[FakeKeystone] = []

    def start(registered: Any = (), limits: Any = (), answer: Answer | None = None) -> FakeKeystone:
        fakes.append(FakeKeystone(registered, limits, answer))
        return fakes[-1]

    yield start
    for fake in fakes:
        fake.close()


def registered(number: Any, region: Any = None, name: str = SERVER, service: Any = "s1") -> dict[str, Any]:
    return {"resource_name": name, "default_limit": number, "region_id": region, "service_id": service}


def limit(number: Any, region: Any = None, name: str = SERVER, **fields: Any) -> dict[str, Any]:
    own = {"resource_name": name, "resource_limit": number, "region_id": region, "service_id": "s1"}
    return {**own, "project_id": PROJECT, "domain_id": None, **fields}


@pytest.mark.parametrize(
    ("all_registered", "own", "region", "number"),
    [
        ([], [], None, None),
        ([], [limit(5)], None, None),  # Keystone itself keeps none without a registered one
        ([registered(3)], [], None, 3),
        ([registered(-1)], [], None, -1),
        ([registered(0)], [], None, 0),
        ([registered(3)], [limit(5)], None, 5),
        ([registered(3)], [limit(-1)], None, -1),
        ([registered(3)], [limit(5)], "R1", 5),
        # regions
        ([registered(3), registered(7, "R1")], [], "R1", 7),
        ([registered(3), registered(7, "R1")], [], "R2", 3),
        ([registered(7, "R1")], [], "R2", None),
        ([registered(7, "R1")], [], "R1", 7),
        ([registered(3), registered(7, "R1")], [limit(5), limit(9, "R1")], "R1", 9),
        ([registered(3), registered(7, "R1")], [limit(9, "R1"), limit(5)], "R2", 5),
        ([registered(3), registered(7, "R1")], [limit(5)], "R1", 5),  # the project's own wins
        ([registered(3), registered(7, "R1")], [limit(9, "R2")], "R1", 7),
        # what is not about this project, or under this name
        ([registered(3)], [limit(5, project_id=OTHER)], None, 3),
        ([registered(3)], [limit(5, project_id=None, domain_id="d")], None, 3),
        ([registered(3), registered(9, name="Snapshots_Per_Server")], [], None, 3),
        ([registered(3)], [limit(9, name="SNAPSHOTS_PER_SERVER")], None, 3),
        ([registered(3)], [limit(9, service_id="s2")], None, 3),
        ([registered(3), registered(9, name=IN_ALL, service="s2")], [], None, 3),
    ],
)
def test_which_limit_applies(
    serve: Any, all_registered: list[Any], own: list[Any], region: str | None, number: int | None
) -> None:
    assert serve(all_registered, own).limits(region).get(SERVER) == number


@pytest.mark.parametrize(
    ("all_registered", "own", "region", "reason"),
    [
        ([registered(3), registered(3, service="s2")], [], None, f"{SERVER} is registered by 2 services"),
        ([registered(3), registered(3, "R1", service="s2")], [], "R2", f"{SERVER} is registered by 2 services"),
        ([registered(3, "R1")], [], None, f"limits {SERVER} of a region: set api_region"),
        ([registered(3), registered(5, "R1")], [], None, f"limits {SERVER} of a region: set api_region"),
        ([registered(3)], [limit(5, "R1")], None, f"limits {SERVER} of a region: set api_region"),
        ([registered(3), registered(3)], [], None, f"two limits {SERVER} of the same region"),
        ([registered(3)], [limit(4), limit(5)], None, f"two limits {SERVER} of the same region"),
        ([registered("3")], [], None, "a limit has no number"),
        ([registered(3.0)], [], None, "a limit has no number"),
        ([registered(True)], [], None, "a limit has no number"),
        ([registered(None)], [], None, "a limit has no number"),
        ([registered(-2)], [], None, "a limit has no number"),
        ([registered(3)], [limit("5")], None, "a limit has no number"),
        ([registered(3, service=None)], [], None, "a limit has no service"),
        ([registered(3, region=7)], [], None, "a limit has no service, or a region that is none"),
        (["x"], [], None, "something else in it"),
        ([registered(3)], [None], None, "something else in it"),
    ],
)
def test_what_is_never_guessed(
    serve: Any, all_registered: list[Any], own: list[Any], region: str | None, reason: str
) -> None:
    with pytest.raises(LookupFailed, match=f"limits of project {PROJECT} could not be looked up .*: .*{reason}"):
        serve(all_registered, own).limits(region)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (401, "it responded 401"),
        (403, "it responded 403"),
        (404, "it responded 404"),
        (500, "it responded 500"),
        (300, "it responded 300"),
        (302, "it responded 302"),
        (b"<html>", "no JSON object"),
        ([], "no JSON object"),
        ({}, "no complete list of registered_limits"),
        ({"registered_limits": None}, "no complete list of registered_limits"),
        ({"registered_limits": [], "truncated": True}, "no complete list of registered_limits"),
        (b" " * ((1 << 20) + 1), "more than 1048576 bytes"),
    ],
)
def test_an_answer_that_is_none(serve: Any, answer: Any, reason: str) -> None:
    with pytest.raises(LookupFailed, match=reason):
        serve(answer=lambda collection, name: answer).limits()


def test_a_list_of_a_project_that_is_cut(serve: Any) -> None:
    def answer(collection: str, name: str) -> Any:
        return {collection: [registered(3)], "truncated": collection == "limits"}

    with pytest.raises(LookupFailed, match="no complete list of limits"):
        serve(answer=answer).limits()


def test_what_is_asked(serve: Any) -> None:
    keystone = serve([registered(3), registered(9, name=IN_ALL)])
    assert keystone.limits() == {SERVER: 3, IN_ALL: 9}
    names = (SERVER, IN_ALL, "snapshots_in_progress")
    expected = []
    for name in names:
        expected.append(("/v3/registered_limits", {"resource_name": name}))
        if name != names[2]:  # it is not registered
            expected.append(("/v3/limits", {"resource_name": name, "project_id": PROJECT}))
    assert keystone.questions == expected
    assert keystone.tokens == {"a token"}


@pytest.mark.parametrize("path", ["", "/", "/v3", "/v3/", "/identity/v3"])
def test_the_url_may_end_in_a_version(serve: Any, path: str) -> None:
    keystone = serve()
    assert keystone.api(path).limits("a token", PROJECT, 10) == {}
    assert keystone.questions[0][0] == f"{path.rstrip('/').removesuffix('/v3')}/v3/registered_limits"


def test_an_answer_is_remembered_for_each_project(serve: Any) -> None:
    keystone = serve([registered(3)], [limit(5)])
    api = keystone.api()
    for _ in range(3):
        assert api.limits("a token", PROJECT, 10) == {SERVER: 5}
        assert api.limits("b token", OTHER, 10) == {SERVER: 3}
    assert len(keystone.questions) == 8
    assert serve([registered(3)]).api(ttl=0).limits("a", PROJECT, 10) == {SERVER: 3}, "0 remembers nothing"


@pytest.mark.parametrize(("status", "questions"), [(500, 1), (401, 2), (403, 2)])
def test_what_is_because_of_the_caller_is_not_remembered(serve: Any, status: int, questions: int) -> None:
    keystone = serve(answer=lambda collection, name: status)
    api = keystone.api()
    for _ in range(2):
        with pytest.raises(LookupFailed, match=f"responded {status}"):
            api.limits("a token", PROJECT, 10)
    assert len(keystone.questions) == questions


def test_a_slow_keystone_holds_nobody_longer(serve: Any) -> None:
    """One thread asks for the others of the project, which wait for no longer than they may ask."""
    keystone = serve(answer=lambda collection, name: time.sleep(3) or {collection: []})
    api = keystone.api()
    failures = []

    def ask() -> None:
        try:
            api.limits("a token", PROJECT, 0.5)
        except LookupFailed as error:
            failures.append(str(error))

    began = time.monotonic()
    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 2
    assert len(failures) == 5
    assert all("no answer in time (api_timeout)" in failure for failure in failures)
    assert len(keystone.questions) == 1


def test_nobody_waits_longer_for_anothers_question_than_for_an_own_one(serve: Any) -> None:
    may_answer = threading.Event()
    keystone = serve(answer=lambda collection, name: may_answer.wait(20) and {collection: []})
    api = keystone.api()
    patient = threading.Thread(target=api.limits, args=("a token", PROJECT, 20))
    patient.start()
    wait_until(lambda: keystone.questions)
    began = time.monotonic()
    with pytest.raises(LookupFailed, match="another request has asked the same, and got no answer in time"):
        api.limits("a token", PROJECT, 0.3)
    assert time.monotonic() - began < 2
    may_answer.set()
    patient.join()
    assert api.limits("a token", PROJECT, 0.3) == {}


def test_the_environment_is_no_proxy(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert serve([registered(3)]).limits() == {SERVER: 3}


# --- a check before the start


@pytest.mark.parametrize("path", ["", "/", "/v3", "/v3/"])
def test_a_check_asks_without_a_token(serve: Any, path: str) -> None:
    keystone = serve()
    check_identity_api(keystone.options(path))
    assert keystone.questions == [("/v3", {})]
    assert keystone.tokens == {None}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (404, "it responded 404"),
        (301, "it responded 301"),
        (503, "it responded 503"),
        (b"<html>", "its answer is no JSON object"),
        ({"versions": []}, "it does not respond as version 3 of the identity API"),
        ({"version": {"id": "v2.1"}}, "it does not respond as version 3 of the identity API"),
        ({"version": {"id": 3}}, "it does not respond as version 3 of the identity API"),
    ],
)
def test_a_check_of_something_else(serve: Any, answer: Any, reason: str) -> None:
    keystone = serve(answer=lambda collection, name: answer)
    with pytest.raises(LookupFailed, match=f"^Keystone can't be asked: {reason}"):
        check_identity_api(keystone.options("/v3"))


def test_a_check_of_a_keystone_that_is_down() -> None:
    options = ImageAPIOptions(None, "internal", None, None, 1.0, f"http://127.0.0.1:{find_free_port()}")
    with pytest.raises(LookupFailed, match="Keystone can't be asked: ConnectionError"):
        check_identity_api(options)

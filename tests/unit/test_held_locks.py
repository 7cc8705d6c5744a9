"""A lock is held from the count until the outcome is known, and given back on each way out."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from imagefilter import filter_factory
from imagefilter.filter import UNKNOWN_OUTCOME
from tests.cases import PROJECT, SERVER, image
from tests.records import content, parse_requests
from tests.unit.fakes import PATH
from tests.unit.lookup.test_images import FakeGlance, page
from tests.unit.lookup.test_images import image as glance_image
from tests.waiting import wait_until
from tests.wsgi import build_environ, send

CALLER = {
    "keystone.token_auth": object(),
    "HTTP_X_USER_ID": "alice",
    "HTTP_X_PROJECT_ID": PROJECT,
    "HTTP_X_ROLES": "member",
    "HTTP_X_AUTH_TOKEN": "a token",
    "wsgi.multithread": True,
}
OTHER_SERVER = "1b3b4ab5-2d24-4f7b-b1c6-3a1f3d1b5a0e"

App = Callable[[dict[str, Any], Any], Any]


@pytest.fixture
def glance() -> Iterator[FakeGlance]:
    """An image API that has no image."""
    fake = FakeGlance(lambda query: page([]))
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


def own_image(query: dict[str, str]) -> dict[str, Any]:
    """Return an image of the server: one that is hidden, or one that is not."""
    return glance_image(len(query["os_hidden"]), owner=PROJECT, instance_uuid=SERVER, status="queued")


class Limited:
    """The filter with a limit in front of an app."""

    def __init__(self, app: App, glance: FakeGlance, folder: Path, **options: str) -> None:
        self.journal = folder / "audit.jsonl"
        common = {"snapshots_per_project": "5", "lock_wait": "0", "lock_lease": "2", "image_api_url": glance.url}
        self.app = filter_factory({}, audit_journal=str(self.journal), **{**common, **options})(app)

    def post(self, server: str = SERVER, **environ: Any) -> Any:
        return send(self.app, "POST", f"/v2.1/servers/{server}/action", image(), None, **{**CALLER, **environ})

    def contents(self) -> list[dict[str, Any]]:
        return [content(record) for record in parse_requests(self.journal.read_text().splitlines())]


def accept(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("202 Accepted", [])
    return [b""]


def start_late(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("202 Accepted", [])
    yield b""


def refuse(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("409 Conflict", [])
    return [b""]


def fail(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise RuntimeError


def respond_and_fail(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("202 Accepted", [])
    yield b"x"
    raise RuntimeError


def time_out(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    environ[UNKNOWN_OUTCOME] = True
    start_response("504 Gateway Timeout", [])
    return [b""]


@pytest.mark.parametrize("app", [accept, start_late, refuse, respond_and_fail])
def test_a_known_outcome_frees_the_project(app: App, glance: FakeGlance, tmp_path: Path) -> None:
    limited = Limited(app, glance, tmp_path)
    for _ in range(3):
        with contextlib.suppress(RuntimeError):
            assert limited.post().status_int != 429


@pytest.mark.parametrize("app", [fail, time_out])
def test_an_unknown_outcome_keeps_the_project_locked_until_the_lease_ends(
    app: App, glance: FakeGlance, tmp_path: Path
) -> None:
    """Nobody knows whether the compute API makes an image of it yet."""
    limited = Limited(app, glance, tmp_path)
    with contextlib.suppress(RuntimeError):
        limited.post()
    busy = limited.post()
    assert busy.status_int == 429
    assert busy.headers["Retry-After"] == "1"
    assert busy.json == {
        "overLimit": {
            "message": "Another image action of this project is being processed, try again",
            "code": 429,
            "retryAfter": "1",
        }
    }
    other = Limited(accept, glance, tmp_path)
    assert other.post().status_int == 429, "another process is told as well"
    wait_until(lambda: other.post().status_int == 202, 10)


def test_a_response_that_never_began_frees_the_project(glance: FakeGlance, tmp_path: Path) -> None:
    limited = Limited(lambda environ, start_response: iter([b""]), glance, tmp_path)
    chunks = limited.app(build_environ("POST", PATH, image(), **CALLER), lambda *args: None)
    assert Limited(accept, glance, tmp_path).post().status_int == 429, "still held"
    chunks.close()
    assert Limited(accept, glance, tmp_path).post().status_int == 202


def test_a_refusal_frees_the_project(tmp_path: Path) -> None:
    full = FakeGlance(lambda query: page([own_image(query)]))
    limited = Limited(accept, full, tmp_path, snapshots_per_project="2")
    assert [limited.post().status_int for _ in range(3)] == [403] * 3


def test_a_verdict_that_can_not_be_recorded_frees_the_project(glance: FakeGlance, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/locks"
    limited = Limited(accept, glance, tmp_path, coordination_url=url)
    (tmp_path / "audit.jsonl").mkdir()
    assert limited.post().status_int == 503
    (tmp_path / "audit.jsonl").rmdir()
    assert limited.post().status_int == 202


class Slow:
    """A compute API that responds when a test lets it."""

    def __init__(self) -> None:
        self.has_begun = threading.Event()
        self.may_end = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "POST" and not self.has_begun.is_set():
            self.has_begun.set()
            self.may_end.wait(20)
        start_response("202 Accepted", [])
        return [b""]


@contextlib.contextmanager
def in_flight(limited: Limited, slow: Slow) -> Iterator[None]:
    """Have one request at the compute API."""
    request = threading.Thread(target=limited.post)
    request.start()
    assert slow.has_begun.wait(20)
    try:
        yield
    finally:
        slow.may_end.set()
        request.join()


def test_others_of_the_project_are_told_to_try_again(glance: FakeGlance, tmp_path: Path) -> None:
    slow = Slow()
    limited = Limited(slow, glance, tmp_path)
    with in_flight(limited, slow):
        assert limited.post(OTHER_SERVER).status_int == 429
        assert limited.post(HTTP_X_PROJECT_ID="another").status_int == 202
        assert send(limited.app, "GET", "/v2.1/servers", None, None, **CALLER).status_int == 202
    assert limited.post(OTHER_SERVER).status_int == 202


def test_a_server_limit_locks_the_server_alone(glance: FakeGlance, tmp_path: Path) -> None:
    slow = Slow()
    limited = Limited(slow, glance, tmp_path, snapshots_per_project="-1", snapshots_per_server="5")
    with in_flight(limited, slow):
        assert limited.post(OTHER_SERVER).status_int == 202
        assert limited.post(SERVER.upper()).status_int == 429


@pytest.mark.parametrize("project_limit", ["-1", "5"])
def test_one_at_a_time(project_limit: str, glance: FakeGlance, tmp_path: Path) -> None:
    slow = Slow()
    limited = Limited(slow, glance, tmp_path, snapshots_per_project=project_limit, one_at_a_time="true", lock_wait="9")
    with in_flight(limited, slow):
        began = time.monotonic()
        refused = limited.post()
        assert time.monotonic() - began < 1, "at once"
        assert refused.status_int == 409
        assert refused.headers["Retry-After"] == "1"
        message = "Another image action of this server is being processed, try again"
        assert refused.json == {"conflictingRequest": {"message": message, "code": 409}}
    assert limited.post().status_int == 202


def test_one_thread_waits_its_turn(glance: FakeGlance, tmp_path: Path) -> None:
    slow = Slow()
    limited = Limited(slow, glance, tmp_path, lock_wait="5", lock_lease="60")
    with in_flight(limited, slow):
        threading.Timer(0.3, slow.may_end.set).start()
        assert limited.post().status_int == 202
    assert max(item["lock_seconds"] for item in limited.contents() if "lock_seconds" in item) > 0.2


def test_nobody_waits_where_the_server_has_one_thread(glance: FakeGlance, tmp_path: Path) -> None:
    slow = Slow()
    limited = Limited(slow, glance, tmp_path, lock_wait="9")
    with in_flight(limited, slow):
        began = time.monotonic()
        assert limited.post(**{"wsgi.multithread": False}).status_int == 429
        assert time.monotonic() - began < 1


def test_a_back_end_that_is_down(glance: FakeGlance, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("redis")
    limited = Limited(accept, glance, tmp_path, coordination_url="redis://user:s3cr3t@127.0.0.1:1")
    response = limited.post()
    assert response.status_int == 503
    assert response.json["serviceUnavailable"]["message"] == "The snapshot limit could not be checked."
    assert "Redis failed" in caplog.text
    assert "s3cr3t" not in caplog.text + limited.journal.read_text()
    allowed = Limited(accept, glance, tmp_path, coordination_url="redis://127.0.0.1:1", lookup_on_error="allow")
    assert allowed.post().status_int == 202


def test_an_image_api_that_is_down(tmp_path: Path, glance: FakeGlance) -> None:
    limited = Limited(accept, glance, tmp_path)
    glance.server.shutdown()
    glance.server.server_close()
    assert [limited.post().status_int for _ in range(2)] == [503, 503], "and the lock is free again"


def test_the_usage_in_the_answer(tmp_path: Path) -> None:
    some = FakeGlance(lambda query: page([own_image(query)]))
    options = {"snapshots_per_server": "3", "snapshots_in_progress": "4", "snapshots_per_project": "5"}
    assert Limited(accept, some, tmp_path, **options).post().headers["X-Snapshot-Usage"] == (
        "server=3/3, project=3/5, in_progress=3/4"
    )
    assert Limited(refuse, some, tmp_path, **options).post().headers["X-Snapshot-Usage"] == (
        "server=2/3, project=2/5, in_progress=2/4"
    )


def test_the_stamped_body_is_what_the_compute_api_reads(glance: FakeGlance, tmp_path: Path) -> None:
    bodies = []

    def read(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        bodies.append(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        return accept(environ, start_response)

    Limited(read, glance, tmp_path).post()
    metadata = json.loads(bodies[0])["createImage"]["metadata"]
    assert metadata.pop("imagefilter_server") == SERVER
    assert metadata.pop("imagefilter_expires") == "never"
    assert set(metadata) == {"imagefilter_stamped", "imagefilter_record"}

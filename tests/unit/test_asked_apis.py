"""What the filter asks of Keystone and Glance for one request: as whom, in how much time, and what it records."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagefilter import filter_factory
from tests.cases import PROJECT, SERVER, backup, image
from tests.unit.fakes import PATH
from tests.unit.lookup.test_identity import FakeKeystone, limit, registered
from tests.unit.lookup.test_images import FakeGlance, page
from tests.unit.test_held_locks import CALLER, OTHER_SERVER, Limited, Slow, accept, in_flight, own_image
from tests.wsgi import send

NONE = {"snapshots_per_project": "-1"}


def answer(query: dict[str, str]) -> Any:
    """Answer as a Glance with one visible and one hidden image, and a quota of one image more."""
    if "owner" in query:
        return page([own_image(query)])
    return 200, {}, json.dumps({"usage": {"image_count_total": {"usage": 2, "limit": 3}}}).encode()


@pytest.fixture
def glance() -> Iterator[FakeGlance]:
    fake = FakeGlance(answer)
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


@pytest.fixture
def keystone() -> Iterator[FakeKeystone]:
    """A Keystone with a limit of 5 images of a server, and of 3 in this project."""
    fake = FakeKeystone([registered(5)], [limit(3, project_id=PROJECT)])
    yield fake
    fake.close()


def from_keystone(keystone: FakeKeystone, **options: str) -> dict[str, str]:
    return {**NONE, "limits_source": "keystone", "identity_api_url": keystone.url, **options}


def test_limits_are_asked_as_the_caller_and_recorded(
    glance: FakeGlance, keystone: FakeKeystone, tmp_path: Path
) -> None:
    limited = Limited(accept, glance, tmp_path, **from_keystone(keystone))
    response = limited.post()
    assert response.headers["X-Snapshot-Usage"] == "server=3/3"
    assert keystone.tokens == {"a token"}
    assert {query["project_id"] for _, query in keystone.questions if "project_id" in query} == {PROJECT}
    verdict = limited.contents()[0]
    assert verdict["snapshot_limits"] == {"server": 3, "project": -1, "in_progress": -1}
    assert verdict["snapshot_usage"] == {"server": 2}
    asked = len(keystone.questions)
    assert limited.post().status_int == 202
    assert len(keystone.questions) == asked, "the answer is used again"


def test_a_project_without_a_limit_is_neither_counted_nor_locked(glance: FakeGlance, tmp_path: Path) -> None:
    keystone = FakeKeystone([], [])
    slow = Slow()
    limited = Limited(slow, glance, tmp_path, **from_keystone(keystone))
    with in_flight(limited, slow):
        response = limited.post(OTHER_SERVER)
        assert (response.status_int, response.headers.get("X-Snapshot-Usage")) == (202, None)
    assert not glance.queries
    keystone.close()


def test_a_process_that_remembers_another_limit_is_locked_out(
    glance: FakeGlance, keystone: FakeKeystone, tmp_path: Path
) -> None:
    """One has heard of a limit of the server, the other of one of the project: both lock the project."""
    slow = Slow()
    limited = Limited(slow, glance, tmp_path, **from_keystone(keystone))
    other = Limited(accept, glance, tmp_path, snapshots_per_project="9")
    with in_flight(limited, slow):
        assert other.post(OTHER_SERVER).status_int == 429
    assert other.post(OTHER_SERVER).status_int == 202


def test_one_at_a_time_holds_without_keystone(glance: FakeGlance, keystone: FakeKeystone, tmp_path: Path) -> None:
    keystone.close()
    slow = Slow()
    options = from_keystone(keystone, one_at_a_time="true", lookup_on_error="allow")
    limited = Limited(slow, glance, tmp_path, **options)
    with in_flight(limited, slow):
        assert limited.post().status_int == 409
        assert limited.post(OTHER_SERVER).status_int == 202
    assert "snapshot_limits" not in limited.contents()[0]


def test_a_keystone_that_is_down_frees_all_locks(glance: FakeGlance, keystone: FakeKeystone, tmp_path: Path) -> None:
    keystone.close()
    limited = Limited(accept, glance, tmp_path, **from_keystone(keystone, one_at_a_time="true"))
    assert [limited.post().status_int for _ in range(3)] == [503] * 3


TRIAL = {"rule_modes": "server-limit:warn,project-limit:warn,progress-limit:warn"}


@pytest.mark.parametrize(
    ("deny", "options", "status"),
    [
        ("usage.project >= 3", TRIAL, 202),
        ("usage.project >= 2", TRIAL, 403),
        ("usage.project >= 2", {"lookup_on_error": "allow"}, 403),
        ("usage.project >= 3", {"lookup_on_error": "allow"}, 202),
        ("usage.project >= 3", {}, 503),
    ],
)
def test_a_rule_that_counts_needs_no_keystone(
    deny: str, options: dict[str, str], status: int, glance: FakeGlance, keystone: FakeKeystone, tmp_path: Path
) -> None:
    """A trial of Keystone's limits does not harm it, nor does what is allowed while Keystone is down loosen it."""
    pytest.importorskip("cel_expr_python")
    path = tmp_path / "imagefilter.conf"
    path.write_text(f"[imagefilter:rule:own]\ndeny = {deny}\n")
    limited = Limited(accept, glance, tmp_path, oslo_config_file=str(path), **from_keystone(keystone, **options))
    keystone.close()
    assert limited.post().status_int == status


def test_a_reload_that_changes_the_region_forgets_what_was_remembered(glance: FakeGlance, tmp_path: Path) -> None:
    keystone = FakeKeystone([registered(9), registered(2, "R1")], [])
    path = tmp_path / "imagefilter.conf"
    lines = [f"{name} = {text}" for name, text in from_keystone(keystone, api_region="R2").items()]
    path.write_text("\n".join(["[imagefilter]", "reload_interval = 0", *lines]))

    options = {"oslo_config_file": str(path), "audit_journal": str(tmp_path / "audit.jsonl")}
    app = filter_factory({}, image_api_url=glance.url, **options)(accept)

    def post() -> Any:
        return send(app, "POST", f"/v2.1/servers/{SERVER}/action", image(), None, **CALLER)

    assert post().headers["X-Snapshot-Usage"] == "server=3/9"
    time.sleep(1.1)  # a file that was written less than a second ago may be half a file
    path.write_text(path.read_text().replace("R2", "R1"))
    time.sleep(1.1)
    assert post().status_int == 403
    keystone.close()


def test_all_questions_share_one_bound(keystone: FakeKeystone, tmp_path: Path) -> None:
    def answer_slowly(query: dict[str, str]) -> Any:
        time.sleep(0.3)
        return answer(query)

    slow = FakeGlance(answer_slowly)
    options = from_keystone(keystone, image_quota_check="true", api_timeout="0.5", lookup_on_error="deny")
    limited = Limited(accept, slow, tmp_path, **options)
    began = time.monotonic()
    assert limited.post().status_int == 503
    assert time.monotonic() - began < 1.2
    slow.server.shutdown()
    slow.server.server_close()


def test_a_quota_is_asked_as_the_caller_and_recorded(glance: FakeGlance, tmp_path: Path) -> None:
    limited = Limited(accept, glance, tmp_path, image_quota_check="true", **NONE)
    response = limited.post()
    assert (response.status_int, response.headers.get("X-Snapshot-Usage")) == (202, None)
    assert glance.queries == [{}], "nothing is counted"
    verdict = limited.contents()[0]
    assert verdict["image_quota"] == {"image_count_total": {"limit": 3, "usage": 2}}
    assert verdict["lookup_seconds"] > 0
    assert "lock_seconds" not in verdict


@pytest.mark.parametrize("options", [{"image_quota_check": "true", **NONE}, {"snapshots_per_project": "5"}])
def test_the_image_api_may_be_that_of_the_catalog(options: dict[str, str], glance: FakeGlance, tmp_path: Path) -> None:
    limited = Limited(accept, glance, tmp_path, image_api_url="", **options)
    catalog = [{"type": "image", "endpoints": [{"internalURL": glance.url}]}]
    assert limited.post(HTTP_X_SERVICE_CATALOG=json.dumps(catalog)).status_int == 202
    assert {headers["X-Auth-Token"] for headers in glance.headers} == {"a token"}


def test_a_quota_that_can_not_be_had_is_logged_with_its_project(
    glance: FakeGlance, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    glance.server.shutdown()
    glance.server.server_close()
    limited = Limited(accept, glance, tmp_path, image_quota_check="true", **NONE)
    assert limited.post().status_int == 503
    assert f"the image API's quota of project {PROJECT} could not be looked up" in caplog.text


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"rotation": 2}, 202),
        ({"rotation": "2"}, 202),
        ({"rotation": 3}, 403),
        ({"rotation": 2, "backup_type": "weekly"}, 403),
        ({"rotation": 0, "backup_type": 5}, 403),
        ({"rotation": "x"}, 403),
    ],
)
def test_a_backup_at_the_limit_goes_by_what_nova_rotates_out(
    members: dict[str, Any], status: int, tmp_path: Path
) -> None:
    """Nova itself refuses a rotation that is no number, and a type that is no text."""
    backups = {"image_type": "backup", "backup_type": "daily", "protected": False}
    full = FakeGlance(lambda query: page([{**own_image(query), **backups}]))
    limited = Limited(accept, full, tmp_path, snapshots_per_project="2")
    document = backup(**{"backup_type": "daily", **members})
    assert send(limited.app, "POST", PATH, document, None, **CALLER).status_int == status
    full.server.shutdown()
    full.server.server_close()


@pytest.mark.parametrize(("found", "status"), [("200 OK", 202), ("500 Internal Server Error", 503)])
def test_how_long_a_question_about_a_server_took_is_recorded(
    found: str, status: int, glance: FakeGlance, tmp_path: Path
) -> None:
    pytest.importorskip("cel_expr_python")
    path = tmp_path / "imagefilter.conf"
    path.write_text("[imagefilter:rule:own]\ndeny = server.locked\n")

    def nova(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            return accept(environ, start_response)
        start_response(found, [])
        return [b'{"server": {"name": "web", "metadata": {}, "locked": false}}']

    limited = Limited(nova, glance, tmp_path, oslo_config_file=str(path), **NONE)
    assert limited.post().status_int == status
    assert 0 <= limited.contents()[0]["server_seconds"] < 10


@pytest.mark.parametrize("environ", [{"HTTP_X_AUTH_TOKEN": ""}, {"keystone.token_auth": None}])
def test_nothing_is_asked_without_a_token_that_somebody_vouches_for(
    glance: FakeGlance, keystone: FakeKeystone, tmp_path: Path, environ: dict[str, Any]
) -> None:
    limited = Limited(accept, glance, tmp_path, **from_keystone(keystone, image_quota_check="true"))
    caller = {key: value for key, value in environ.items() if value is not None}
    if "keystone.token_auth" in environ:
        caller = {"keystone.token_auth": None, "HTTP_X_USER_ID": ""}
    assert limited.post(**caller).status_int in (401, 403, 503)
    assert not keystone.questions
    assert not glance.queries

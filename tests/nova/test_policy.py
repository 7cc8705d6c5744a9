"""The operator's policy in front of a real Nova."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagefilter.options import IMAGE_FIELDS
from tests.cases import CASES, PROJECT, SERVER
from tests.nova.cloud import OTHER_PROJECT, Cloud, Image
from tests.nova.test_forwarding import comparable
from tests.requests import send


def create(name: str = "x", **metadata: Any) -> dict[str, Any]:
    return {"createImage": {"name": name, "metadata": metadata}}


def items(count: int) -> dict[str, str]:
    return {f"k{n}": "v" for n in range(count)}


def act(
    cloud: Cloud, app: Any, document: Any, token: str = "member", version: str = "2.45", prefix: str = "/v2.1"
) -> Any:
    headers = {"X-Auth-Token": token, "OpenStack-API-Version": f"compute {version}"}
    response = send(app, "POST", f"{prefix}/servers/{cloud.server}/action", document, headers)
    cloud.settle()
    return response


@pytest.fixture
def quota(cloud: Cloud) -> Any:
    """Set a project's own quota in Nova; it is taken back after the test."""
    headers = {"X-Auth-Token": "admin"}
    path = "/v2.1/os-quota-sets/"

    def put(project: str, count: int) -> None:
        document = {"quota_set": {"metadata_items": count}}
        assert send(cloud.bare, "PUT", path + project, document, headers).status_int == 200

    yield put
    for project in (PROJECT, OTHER_PROJECT):
        assert send(cloud.bare, "DELETE", path + project, headers=headers).status_int == 202


@pytest.mark.parametrize("version", ["2.1", "2.39", "latest"])
@pytest.mark.parametrize("prefix", ["/v2.1", f"/v2.1/{PROJECT}", "/v2"])
def test_novas_own_quota_at_every_microversion(cloud: Cloud, quota: Any, version: str, prefix: str) -> None:
    quota(PROJECT, 3)
    app = cloud.app({"metadata_items_source": "compute", "facts_ttl": "0"})
    assert act(cloud, app, create(**items(3)), version=version, prefix=prefix).status_int == 202
    assert cloud.images() == [Image("x", items(3))]
    response = act(cloud, app, create(**items(4)), version=version, prefix=prefix)
    assert (response.status_int, cloud.images()) == (403, [])
    assert response.json["forbidden"]["message"] == "Image metadata limit exceeded"
    # A second project keeps the default: its request is only refused by Nova, for the server is not its own.
    assert act(cloud, app, create(**items(4)), token="other", version=version, prefix="/v2.1").status_int == 404


@pytest.mark.parametrize("facts_on_error", ["deny", "allow"])
@pytest.mark.parametrize("project", ["", f"/{PROJECT}"])
def test_a_path_without_a_version_has_the_same_quota(
    cloud: Cloud, quota: Any, facts_on_error: str, project: str
) -> None:
    """In front of Nova's URL map a version may stand in Accept; a question without one is answered with a list."""
    quota(PROJECT, 3)
    options = {"metadata_items_source": "compute", "facts_ttl": "0", "facts_on_error": facts_on_error}
    app = cloud.unauthenticated({**options, "audit_journal": str(cloud.journal)})
    headers = {"X-Auth-Token": "member", "Accept": "application/json;version=2.1/x"}
    path = f"{project}/servers/{cloud.server}/action"
    assert send(app, "POST", path, create(**items(3)), headers).status_int == 202
    assert cloud.images() == [Image("x", items(3))]
    assert send(app, "POST", path, create(**items(4)), headers).status_int == 403
    garbage = {**headers, "X-Auth-Token": "garbage"}
    assert send(app, "POST", path, create(**items(3)), garbage).status_int == 401
    assert send(app, "POST", f"/v2.1{path}", create(**items(4)), headers).status_int == 403, "nothing is remembered"
    assert cloud.images() == []


def test_a_raised_quota_is_seen_after_its_time(cloud: Cloud, quota: Any) -> None:
    quota(PROJECT, 1)
    app = cloud.app({"metadata_items_source": "compute", "facts_ttl": "0"})
    assert act(cloud, app, create(**items(2))).status_int == 403
    quota(PROJECT, -1)
    assert act(cloud, app, create(**items(2))).status_int == 202
    quota(PROJECT, 0)
    assert act(cloud, app, create(**items(1))).status_int == 403


def test_a_quota_that_nova_will_not_tell(cloud: Cloud) -> None:
    rule = "os_compute_api:limits"
    cloud.policy.set_rules({rule: "!"}, overwrite=False)
    try:
        denying = act(cloud, cloud.app({"metadata_items_source": "compute"}), create(k="v"))
        allowing = act(cloud, cloud.app({"metadata_items_source": "compute", "facts_on_error": "allow"}), create(k="v"))
    finally:
        cloud.policy.set_rules({rule: "@"}, overwrite=False)
    assert (denying.status_int, allowing.status_int) == (503, 202)
    assert cloud.images() == [Image("x", {"k": "v"})]


FIELDS = [field.replace("*", "import_task") for field in IMAGE_FIELDS]


@pytest.mark.parametrize("field", [*FIELDS, "id\n", "location\n"])
def test_no_field_of_the_image_reaches_the_image_service(cloud: Cloud, field: str) -> None:
    for prefix in ("/v2.1", "/v2"):
        response = act(cloud, cloud.app({}), create(**{field: "7"}), prefix=prefix)
        assert (response.status_int, cloud.images()) == (403, [])
        assert "(metadata-reserved)" in response.json["forbidden"]["message"]


def test_a_bare_nova_passes_them_on(cloud: Cloud) -> None:
    """The guard of the test above, and the reason for the rule."""
    assert act(cloud, cloud.bare, create(location="http://169.254.169.254/", tags="x", owner="y")).status_int == 202
    assert cloud.images() == [Image("x", {"location": "http://169.254.169.254/", "tags": "x", "owner": "y"})]


@pytest.mark.parametrize("key", ["Owner", "Tags", "ID", "Location", "image_type2", "os_type", "visibility"])
def test_what_is_no_field_is_free(cloud: Cloud, key: str) -> None:
    assert act(cloud, cloud.app({}), create(**{key: "v"})).status_int == 202
    assert cloud.images() == [Image("x", {key: "v"})]


def test_one_project_may_not(cloud: Cloud, tmp_path: Path) -> None:
    conf = tmp_path / "imagefilter.conf"
    conf.write_text(f"[imagefilter:project:{PROJECT}]\nsnapshots_enabled = false\n")
    app = cloud.app({"oslo_config_file": str(conf)})
    assert act(cloud, app, create()).status_int == 400
    assert act(cloud, app, create(), token="admin").status_int == 400, "an admin of that project is one of its members"
    assert act(cloud, app, create(), token="other").status_int == 404, "for Nova to refuse"
    assert cloud.images() == []


def test_a_backup_service_gets_through(cloud: Cloud) -> None:
    app = cloud.app({"snapshots_enabled": "false", "exempt_roles": "admin"})
    assert act(cloud, app, create()).status_int == 400
    headers = {"X-Auth-Token": "member", "X-Roles": "admin", "X-Role": "admin", "X-Is-Admin-Project": "True"}
    forged = send(app, "POST", f"/v2.1/servers/{cloud.server}/action", create(), headers)
    assert (forged.status_int, cloud.images()) == (400, [])
    assert act(cloud, app, create(), token="admin").status_int == 202
    assert cloud.images() == [Image("x", {})]


SOFT = [case for case in CASES if case.rule not in ("token", "content-type", "body")]


@pytest.mark.parametrize("case", SOFT, ids=[case.id for case in SOFT])
def test_warn_mode_changes_nothing_but_a_header(cloud: Cloud, case: Any) -> None:
    path = "/v2.1" + case.path.replace(SERVER, "{server}").format(server=cloud.server)
    headers = {**case.headers, "X-Auth-Token": "member"}
    bare = send(cloud.bare, "POST", path, case.body, headers)
    made = cloud.images()
    cloud.settle()
    tried = send(cloud.app({**case.options, "mode": "warn"}), "POST", path, case.body, headers)
    assert cloud.images() == made
    status, rest, body = comparable(tried)
    warned = [header for header in rest if header[0] == "warning"]
    assert len(warned) == (case.status != 202)
    unlike = ("location",)  # two images have two ids
    expected = comparable(bare)
    assert (status, body) == (expected[0], expected[2])
    assert [h for h in rest if h not in warned and h[0] not in unlike] == [h for h in expected[1] if h[0] not in unlike]


def test_shelve_is_a_door_of_its_own(cloud: Cloud) -> None:
    server = cloud.new_server()
    path, headers = f"/v2.1/servers/{server}/action", {"X-Auth-Token": "member"}
    off = {"snapshots_enabled": "false"}
    listed = {**off, "actions": "createImage, createBackup, shelve"}
    assert send(cloud.app(listed), "POST", path, {"shelve": None}, headers).status_int == 400
    assert cloud.images() == []
    response = send(cloud.app(off), "POST", path, {"shelve": None}, headers)
    assert response.status_int == 202, "the documented exception until listed"
    assert [image.name for image in cloud.images()] == ["web-1-shelved"]
    cloud.settle(server)

"""The operator's policy in front of a real Nova."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import webob

from imagefilter.policy.options import IMAGE_FIELDS
from tests.cases import CASES, PROJECT, SERVER, Case, image, items
from tests.nova.authentication import OTHER_PROJECT
from tests.nova.cloud import Cloud, microversion
from tests.nova.comparison import comparable
from tests.nova.images import Image
from tests.wsgi import send

OFF = {"snapshots_enabled": "false"}
COMPUTE_QUOTA = {"metadata_items_source": "compute", "lookup_ttl": "0"}
SetQuota = Callable[[str, int], None]


def post(cloud: Cloud, app: Any, document: Any, token: str = "member", prefix: str = "/v2.1") -> webob.Response:
    """Send an action at a microversion of current clients."""
    return cloud.post_action(app, document, prefix, {"X-Auth-Token": token, **microversion("2.45")})


@pytest.fixture
def set_quota(cloud: Cloud) -> Iterator[SetQuota]:
    """Set a project's own quota in Nova, for one test."""
    path = "/v2.1/os-quota-sets/"
    headers = {"X-Auth-Token": "admin"}

    def put(project: str, count: int) -> None:
        document = {"quota_set": {"metadata_items": count}}
        assert send(cloud.bare, "PUT", path + project, document, headers).status_int == 200

    yield put
    for project in (PROJECT, OTHER_PROJECT):
        assert send(cloud.bare, "DELETE", path + project, headers=headers).status_int == 202


@pytest.mark.parametrize("version", ["2.1", "2.39", "latest"])
@pytest.mark.parametrize("prefix", ["/v2.1", f"/v2.1/{PROJECT}", "/v2"])
def test_novas_own_quota_holds_at_every_microversion(
    cloud: Cloud, set_quota: SetQuota, version: str, prefix: str
) -> None:
    set_quota(PROJECT, 3)
    app, headers = cloud.app(COMPUTE_QUOTA), microversion(version)
    assert cloud.post_action(app, image(metadata=items(3)), prefix, headers).status_int == 202
    assert cloud.images() == [Image("nightly", items(3))]
    response = cloud.post_action(app, image(metadata=items(4)), prefix, headers)
    assert (response.status_int, cloud.images()) == (403, [])
    assert response.json["forbidden"]["message"] == "Image metadata limit exceeded"


@pytest.mark.parametrize("version", ["2.1", "2.39", "latest"])
def test_another_project_keeps_its_own_quota(cloud: Cloud, set_quota: SetQuota, version: str) -> None:
    """Only Nova refuses its request, because the server is another project's."""
    set_quota(PROJECT, 3)
    headers = {"X-Auth-Token": "other", **microversion(version)}
    response = cloud.post_action(cloud.app(COMPUTE_QUOTA), image(metadata=items(4)), headers=headers)
    assert response.status_int == 404


@pytest.mark.parametrize("on_error", ["deny", "allow"])
@pytest.mark.parametrize("project", ["", f"/{PROJECT}"])
def test_a_path_without_a_version_has_the_same_quota(
    cloud: Cloud, set_quota: SetQuota, on_error: str, project: str
) -> None:
    """In front of Nova's URL map a version may be in Accept; Nova responds to a question without one with a list."""
    set_quota(PROJECT, 3)
    app = cloud.filter_in_front({**COMPUTE_QUOTA, "lookup_on_error": on_error})
    accept = {"Accept": "application/json;version=2.1/x"}
    assert cloud.post_action(app, image(metadata=items(3)), project, accept).status_int == 202
    assert cloud.images() == [Image("nightly", items(3))]
    assert cloud.post_action(app, image(metadata=items(4)), project, accept).status_int == 403
    garbage = {"X-Auth-Token": "garbage", **accept}
    assert cloud.post_action(app, image(metadata=items(3)), project, garbage).status_int == 401
    # What Nova said to the stranger is not remembered.
    assert cloud.post_action(app, image(metadata=items(4)), f"/v2.1{project}", accept).status_int == 403
    assert cloud.images() == []


def test_a_changed_quota_is_seen_after_lookup_ttl(cloud: Cloud, set_quota: SetQuota) -> None:
    app = cloud.app(COMPUTE_QUOTA)
    set_quota(PROJECT, 1)
    assert post(cloud, app, image(metadata=items(2))).status_int == 403
    set_quota(PROJECT, -1)
    assert post(cloud, app, image(metadata=items(2))).status_int == 202
    set_quota(PROJECT, 0)
    assert post(cloud, app, image(metadata=items(1))).status_int == 403


@pytest.mark.parametrize(("options", "status", "count"), [({}, 503, 0), ({"lookup_on_error": "allow"}, 202, 1)])
def test_lookup_on_error_decides_if_nova_refuses_the_question(
    cloud: Cloud, options: dict[str, str], status: int, count: int
) -> None:
    app = cloud.app({"metadata_items_source": "compute", **options})
    with cloud.policy_rule("os_compute_api:limits", "!"):
        response = post(cloud, app, image(metadata=items(1)))
    assert response.status_int == status
    assert cloud.images() == [Image("nightly", items(1))] * count


FIELDS = [field.replace("*", "import_task") for field in IMAGE_FIELDS]


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
@pytest.mark.parametrize("field", [*FIELDS, "id\n", "location\n"])
def test_no_field_of_the_image_reaches_the_image_service(cloud: Cloud, field: str, prefix: str) -> None:
    response = post(cloud, cloud.app({}), image(metadata={field: "7"}), prefix=prefix)
    assert (response.status_int, cloud.images()) == (403, [])
    assert "(metadata-reserved)" in response.json["forbidden"]["message"]


def test_a_bare_nova_forwards_fields_of_the_image(cloud: Cloud) -> None:
    """Guard the test above; this is the reason for the rule."""
    fields = {"location": "http://169.254.169.254/", "tags": "x", "owner": "y"}
    assert post(cloud, cloud.bare, image(metadata=fields)).status_int == 202
    assert cloud.images() == [Image("nightly", fields)]


@pytest.mark.parametrize("key", ["Owners", "Tag", "My_ID", "Locations2", "image_type2", "os_type", "visibility"])
def test_other_keys_are_allowed(cloud: Cloud, key: str) -> None:
    assert post(cloud, cloud.app({}), image(metadata={key: "v"})).status_int == 202
    assert cloud.images() == [Image("nightly", {key: "v"})]


def test_one_project_may_make_no_images(cloud: Cloud, tmp_path: Path) -> None:
    conf = tmp_path / "imagefilter.conf"
    conf.write_text(f"[imagefilter:project:{PROJECT}]\nsnapshots_enabled = false\n")
    app = cloud.app({"oslo_config_file": str(conf)})
    assert post(cloud, app, image()).status_int == 400
    assert post(cloud, app, image(), token="admin").status_int == 400, "an admin of that project is one of its members"
    assert post(cloud, app, image(), token="other").status_int == 404, "the filter allows it, Nova refuses"
    assert cloud.images() == []


def test_an_exempt_role_may_make_images(cloud: Cloud) -> None:
    app = cloud.app({**OFF, "exempt_roles": "admin"})
    assert post(cloud, app, image()).status_int == 400
    forged = {"X-Roles": "admin", "X-Role": "admin", "X-Is-Admin-Project": "True"}
    response = cloud.post_action(app, image(), headers=forged)
    assert (response.status_int, cloud.images()) == (400, [])
    assert post(cloud, app, image(), token="admin").status_int == 202
    assert cloud.images() == [Image("nightly", {})]


NOT_ALWAYS_ENFORCED = [case for case in CASES if case.rule not in ("token", "content-type", "body")]


@pytest.mark.parametrize("case", NOT_ALWAYS_ENFORCED, ids=[case.id for case in NOT_ALWAYS_ENFORCED])
def test_warn_mode_changes_nothing_but_a_header(cloud: Cloud, case: Case) -> None:
    path = "/v2.1" + case.path.replace(SERVER, "{server}").format(server=cloud.server)
    headers = {**case.headers, "X-Auth-Token": "member"}
    bare = send(cloud.bare, "POST", path, case.body, headers)
    bare_images = cloud.images()
    cloud.settle()
    warned = send(cloud.app({**case.options, "mode": "warn"}), "POST", path, case.body, headers)
    assert cloud.images() == bare_images
    others, warnings = split_warnings(warned)
    assert len(warnings) == (case.status != 202)
    assert split_warnings(bare) == (others, [])
    assert (warned.status_int, comparable_body(warned)) == (bare.status_int, comparable_body(bare))


def split_warnings(response: webob.Response) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the stable headers of a response but ``Location`` (two images have two ids), and its warnings."""
    _, headers, _ = comparable(response.status_int, response.headerlist, response.body)
    others = [(name, value) for name, value in headers if name not in ("warning", "location")]
    return others, [value for name, value in headers if name == "warning"]


def comparable_body(response: webob.Response) -> bytes:
    return comparable(response.status_int, [], response.body)[2]


def test_shelve_is_judged_where_listed(cloud: Cloud) -> None:
    server = cloud.new_server()
    path, headers = f"/v2.1/servers/{server}/action", {"X-Auth-Token": "member"}
    listed = cloud.app({**OFF, "actions": "createImage, createBackup, shelve"})
    assert send(listed, "POST", path, {"shelve": None}, headers).status_int == 400
    assert cloud.images() == []
    assert send(cloud.app(OFF), "POST", path, {"shelve": None}, headers).status_int == 202, "as documented"
    assert [made.name for made in cloud.images()] == ["web-1-shelved"]
    cloud.settle(server)

"""Who asks: the real auth_token in Nova's pipeline, with canned responses of Keystone; and a vendor's own."""

from __future__ import annotations

import pytest

from tests.cases import PROJECT, image
from tests.nova.authentication import AUTHTOKEN, KEYSTONE, OTHER_PROJECT, VENDOR_AUTH
from tests.nova.cloud import Cloud
from tests.nova.images import Image
from tests.wsgi import send

GOOD = image("x")
BAD = image("")
OWN_PROJECT = f"/v2.1/{PROJECT}"
FORGED = {
    "X-Roles": "admin",
    "X-Project-Id": OTHER_PROJECT,
    "X-User-Id": "root-id",
    "X-Identity-Status": "Confirmed",
    "X-Is-Admin-Project": "True",
}
UNAUTHORIZED = {
    "error": {"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}
}


@pytest.mark.parametrize("token", ["member", "admin"])
@pytest.mark.parametrize("headers", [{}, FORGED], ids=["honest", "forged"])
def test_accepts_the_callers_own_project(cloud: Cloud, token: str, headers: dict[str, str]) -> None:
    response = cloud.post_action(cloud.app({}), GOOD, OWN_PROJECT, {"X-Auth-Token": token, **headers})
    assert (response.status_int, cloud.images()) == (202, [Image("x", {})])


@pytest.mark.parametrize("authentication", [AUTHTOKEN, VENDOR_AUTH])
@pytest.mark.parametrize(
    ("token", "own", "foreign"),
    [("member", PROJECT, OTHER_PROJECT), ("admin", PROJECT, OTHER_PROJECT), ("other", OTHER_PROJECT, PROJECT)],
)
def test_a_project_in_the_path_must_be_the_callers(
    cloud: Cloud, authentication: str, token: str, own: str, foreign: str
) -> None:
    # The client's headers name the foreign project: they count for nothing.
    headers = {"X-Auth-Token": token, "X-Project-Id": foreign, "X-Roles": "admin"}
    bare = cloud.post_action(cloud.bare, GOOD, f"/v2.1/{foreign}", headers)
    response = cloud.post_action(cloud.app({}, authentication), GOOD, f"/v2.1/{foreign}", headers)
    assert (response.status_int, cloud.images()) == (400, [])
    message = f"Malformed request URL: URL's project_id '{foreign}' doesn't match Context's project_id '{own}'"
    assert response.json["badRequest"]["message"] == message
    assert bare.json["badRequest"]["message"] == message


def test_leaves_it_to_nova_to_hide_another_projects_server(cloud: Cloud) -> None:
    headers = {"X-Auth-Token": "other", **FORGED}
    assert cloud.post_action(cloud.app({}), GOOD, headers=headers).status_int == 404
    assert cloud.post_action(cloud.app({}), BAD, headers=headers).status_int == 400
    assert cloud.images() == []


BAD_TOKENS = [{"X-Auth-Token": "expired"}, {"X-Auth-Token": "garbage"}, {}]


@pytest.mark.parametrize("token", BAD_TOKENS, ids=["expired", "garbage", "none"])
@pytest.mark.parametrize("headers", [{}, FORGED], ids=["honest", "forged"])
@pytest.mark.parametrize("document", [GOOD, BAD], ids=["good", "bad"])
def test_refuses_bad_tokens(
    cloud: Cloud, token: dict[str, str], headers: dict[str, str], document: dict[str, object]
) -> None:
    path = f"/v2.1/servers/{cloud.server}/action"
    response = send(cloud.app({}), "POST", path, document, {**headers, **token})
    assert (response.status_int, cloud.images()) == (401, [])
    assert response.json == UNAUTHORIZED
    assert response.headers["WWW-Authenticate"] == f'Keystone uri="{KEYSTONE}"'


def test_its_own_401_is_like_keystonemiddlewares(cloud: Cloud) -> None:
    """The filter responds so where nothing authenticates in front of it."""
    path = f"/v2.1/servers/{cloud.server}/action"
    theirs = send(cloud.bare, "POST", path, GOOD)
    own = send(cloud.filter_in_front({"www_authenticate_uri": KEYSTONE}), "POST", path, GOOD)
    assert own.status_int == theirs.status_int == 401
    assert own.json == theirs.json
    assert own.headers["WWW-Authenticate"] == theirs.headers["WWW-Authenticate"]
    assert own.headers["Content-Type"] == theirs.headers["Content-Type"]


@pytest.mark.parametrize("headers", [{}, {**FORGED, "X-Project-Id": PROJECT}], ids=["honest", "forged"])
def test_accepts_a_vendors_own_authentication(cloud: Cloud, headers: dict[str, str]) -> None:
    app = cloud.app({}, VENDOR_AUTH)
    assert cloud.post_action(app, BAD, OWN_PROJECT, headers).status_int == 400
    assert cloud.images() == []
    assert cloud.post_action(app, GOOD, OWN_PROJECT, headers).status_int == 202
    assert cloud.images() == [Image("x", {})]

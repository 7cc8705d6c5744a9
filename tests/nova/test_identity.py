"""Who asks: the real auth_token in Nova's pipeline, with canned answers of Keystone; and a vendor's own."""

from __future__ import annotations

import pytest

from tests.cases import PROJECT
from tests.nova.cloud import KEYSTONE, OTHER_PROJECT, Cloud, Image
from tests.requests import send

VENDOR = "vendorauth"
GOOD = {"createImage": {"name": "x"}}
BAD = {"createImage": {"name": ""}}
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
def test_own_project(cloud: Cloud, token: str, headers: dict[str, str]) -> None:
    path = f"/v2.1/{PROJECT}/servers/{cloud.server}/action"
    response = send(cloud.app({}), "POST", path, GOOD, {"X-Auth-Token": token, **headers})
    assert (response.status_int, cloud.images()) == (202, [Image("x", {})])


@pytest.mark.parametrize("authtoken", ["authtoken keystonecontext", VENDOR])
@pytest.mark.parametrize(("token", "own"), [("member", PROJECT), ("admin", PROJECT), ("other", OTHER_PROJECT)])
def test_a_project_in_the_path_must_be_the_callers(cloud: Cloud, authtoken: str, token: str, own: str) -> None:
    foreign = OTHER_PROJECT if own == PROJECT else PROJECT
    # The client's headers name the foreign project: they count for nothing.
    headers = {"X-Auth-Token": token, "X-Project-Id": foreign, "X-Roles": "admin"}
    path = f"/v2.1/{foreign}/servers/{cloud.server}/action"
    response = send(cloud.app({}, authtoken), "POST", path, GOOD, headers)
    assert (response.status_int, cloud.images()) == (400, [])
    message = f"Malformed request URL: URL's project_id '{foreign}' doesn't match Context's project_id '{own}'"
    assert response.json["badRequest"]["message"] == message
    assert send(cloud.bare, "POST", path, GOOD, headers).json["badRequest"]["message"] == message


def test_another_projects_server_is_novas_to_refuse(cloud: Cloud) -> None:
    path = f"/v2.1/servers/{cloud.server}/action"
    headers = {"X-Auth-Token": "other", **FORGED}
    assert send(cloud.app({}), "POST", path, GOOD, headers).status_int == 404
    assert send(cloud.app({}), "POST", path, BAD, headers).status_int == 400
    assert cloud.images() == []


@pytest.mark.parametrize("token", ["expired", "garbage", None])
@pytest.mark.parametrize("headers", [{}, FORGED], ids=["honest", "forged"])
@pytest.mark.parametrize("document", [GOOD, BAD], ids=["good", "bad"])
def test_no_good_token(cloud: Cloud, token: str | None, headers: dict[str, str], document: object) -> None:
    headers = {**headers, **({"X-Auth-Token": token} if token else {})}
    response = send(cloud.app({}), "POST", f"/v2.1/servers/{cloud.server}/action", document, headers)
    assert (response.status_int, cloud.images()) == (401, [])
    assert response.json == UNAUTHORIZED
    assert response.headers["WWW-Authenticate"] == f'Keystone uri="{KEYSTONE}"'


def test_our_own_401_is_keystonemiddlewares(cloud: Cloud) -> None:
    """Where nobody authenticates in front of the filter, its 401 looks like auth_token's."""
    path = f"/v2.1/servers/{cloud.server}/action"
    theirs = send(cloud.bare, "POST", path, GOOD)
    ours = send(cloud.unauthenticated({"www_authenticate_uri": KEYSTONE}), "POST", path, GOOD)
    assert ours.status_int == theirs.status_int == 401
    assert ours.json == theirs.json
    assert ours.headers["WWW-Authenticate"] == theirs.headers["WWW-Authenticate"]
    assert ours.headers["Content-Type"] == theirs.headers["Content-Type"]


@pytest.mark.parametrize("headers", [{}, {**FORGED, "X-Project-Id": PROJECT}], ids=["honest", "forged"])
def test_a_vendors_own_authentication(cloud: Cloud, headers: dict[str, str]) -> None:
    app = cloud.app({}, VENDOR)
    path = f"/v2.1/{PROJECT}/servers/{cloud.server}/action"
    assert send(app, "POST", path, BAD, {"X-Auth-Token": "member", **headers}).status_int == 400
    assert cloud.images() == []
    assert send(app, "POST", path, GOOD, {"X-Auth-Token": "member", **headers}).status_int == 202
    assert cloud.images() == [Image("x", {})]

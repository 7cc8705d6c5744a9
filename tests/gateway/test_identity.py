"""Who asks: auth_token in the gateway's pipeline and in Nova's, both asking a real Keystone."""

from __future__ import annotations

import time
from typing import Any, Callable, NamedTuple

import pytest

from tests.gateway.conftest import Served
from tests.gateway.servers import Gateway
from tests.nova.cloud import Image

GOOD = {"createImage": {"name": "x"}}
BAD = {"createImage": {"name": ""}}
UNAUTHORIZED = "The request you have made requires authentication."


class Site(NamedTuple):
    """A cloud behind a gateway; ``server_id`` belongs to alice's project."""

    keystone: Any
    cloud: Any
    gateway: Gateway
    server_id: str

    def act(self, token: str | None, document: Any = GOOD, project: str = "", **headers: str) -> Any:
        self.cloud.settle(self.server_id)
        path = f"/v2.1{project and '/'}{project}/servers/{self.server_id}/action"
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        response = self.gateway.ask("POST", path, document, {**sent, "X-Auth-Token": token or ""})
        self.cloud.settle(self.server_id)
        return response

    def forwarded(self) -> int:
        """How many image actions reached Nova: each has a record of Nova's answer."""
        return sum(record["eventType"] == "activity" for record in self.gateway.records())

    def last_record(self, kind: str = "control") -> dict[str, Any]:
        return [record for record in self.gateway.records() if record["eventType"] == kind][-1]


@pytest.fixture
def guard(
    server: str,
    asking_nova: Served,
    keystone: Any,
    memcached: dict[str, str],
    alices_server: str,
    gateways: Callable[..., Gateway],
) -> Callable[..., Site]:
    """Put a gateway in front; with ``authtoken=False`` none but Nova looks at tokens."""

    def made(options: dict[str, str] | None = None, authtoken: bool = True, **settings: str) -> Site:
        asks = {**keystone.authtoken(), **memcached, **settings} if authtoken else None
        gateway = gateways(server=server, compute_url=asking_nova.url, options=options or {}, authtoken=asks)
        return Site(keystone, asking_nova.cloud, gateway, alices_server)

    return made


def is_auth_tokens(response: Any) -> bool:
    """Whether a 401 came from the gateway's own auth_token: Nova would give its answer an id."""
    return response.header("X-Compute-Request-Id") is None


def test_a_valid_token(guard: Callable[..., Site]) -> None:
    site = guard()
    ids = site.keystone.ids
    response = site.act(site.keystone.token("alice"))
    assert (response.status, site.cloud.images()) == (202, [Image("x", {})])
    assert site.act(site.keystone.token("alice"), BAD).status == 400
    assert site.act(site.keystone.token("alice"), project=ids["demo"]).status == 202
    initiator = site.last_record()["initiator"]
    assert initiator["vouched"] is True
    assert (initiator["id"], initiator["name"]) == (ids["alice"], "alice")
    assert (initiator["project_id"], initiator["project_name"]) == (ids["demo"], "demo")
    assert (initiator["user_domain_id"], initiator["project_domain_id"]) == ("default", "default")
    assert initiator["domain"] == "Default"
    assert {"member", "reader"} <= set(initiator["roles"])
    assert "claims" not in initiator
    assert site.last_record("activity")["initiator"]["id"] == ids["alice"]


@pytest.mark.parametrize("kind", ["expired", "revoked", "garbage", "none"])
@pytest.mark.parametrize("document", [GOOD, BAD], ids=["good", "bad"])
def test_no_good_token(guard: Callable[..., Site], kind: str, document: Any, expired: str) -> None:
    site = guard()
    token = {"expired": expired, "garbage": "garbage", "none": None, "revoked": site.keystone.token("alice")}[kind]
    if kind == "revoked":
        site.keystone.revoke(token)
    before = len(site.gateway.records())
    forged = {"X_Roles": "admin", "X_User_Id": "root", "X_Identity_Status": "Confirmed", "X_Project_Id": "1"}
    for headers in ({}, forged):
        response = site.act(token, document, **headers)
        assert (response.status, is_auth_tokens(response), site.cloud.images()) == (401, True, [])
        assert response.json["error"]["message"] == UNAUTHORIZED
        assert response.header("WWW-Authenticate") == f'Keystone uri="{site.keystone.url}"'
    assert len(site.gateway.records()) == before, "strangers write no records"


@pytest.fixture(scope="module")
def expired(keystone: Any) -> str:
    return str(keystone.expired_token())


def test_a_token_that_is_revoked_is_refused_when_it_is_asked_about_again(guard: Callable[..., Site]) -> None:
    site = guard(token_cache_time="1")
    token = site.keystone.token("alice")
    assert site.act(token, BAD).status == 400
    site.keystone.revoke(token)
    until = time.monotonic() + 60
    while (response := site.act(token, BAD)).status != 401:
        assert time.monotonic() < until, response
        time.sleep(0.2)
    assert is_auth_tokens(response)


def test_another_projects_token(guard: Callable[..., Site]) -> None:
    site = guard()
    ids = site.keystone.ids
    response = site.act(site.keystone.token("bob"))
    assert response.status == 404
    forwarded = site.forwarded()
    assert site.last_record("activity")["attachments"][0]["content"]["status"] == 404, "Nova's to refuse"
    assert site.last_record()["initiator"]["project_id"] == ids["other"]
    # A path of the server's own project, and headers that say so too.
    forged = {"X_Project_Id": ids["demo"], "X_Roles": "admin", "X_User_Id": ids["alice"]}
    response = site.act(site.keystone.token("bob"), project=ids["demo"], **forged)
    assert (response.status, site.forwarded()) == (400, forwarded)
    assert response.message == (
        f"Malformed request URL: URL's project_id '{ids['demo']}' doesn't match Context's project_id '{ids['other']}'"
    )
    assert (site.last_record()["initiator"]["id"], site.cloud.images()) == (ids["bob"], [])


def test_nova_acts_as_the_user_that_was_judged(guard: Callable[..., Site]) -> None:
    """A header that Connection names is dropped, and without X-Auth-Token auth_token reads X-Storage-Token."""
    site = guard()
    bob, alice = site.keystone.token("bob"), site.keystone.token("alice")
    for connection in ("X-Auth-Token", "close, x-auth-token", "X-Foo"):
        response = site.act(bob, **{"Connection": connection, "X_Storage_Token": alice})
        assert (response.status, site.cloud.images()) == (404, [])
        assert site.last_record()["initiator"]["id"] == site.keystone.ids["bob"]


def test_roles_that_a_client_claims_never_count(guard: Callable[..., Site]) -> None:
    site = guard({"snapshots_enabled": "false", "exempt_roles": "backup"})
    for name in ("X_Roles", "X_Role", "X_Service_Roles"):
        assert site.act(site.keystone.token("alice"), **{name: "backup"}).status == 400
        assert "backup" not in site.last_record()["initiator"]["roles"]
    assert site.cloud.images() == []
    assert site.act(site.keystone.token("night")).status == 202
    assert site.cloud.images() == [Image("x", {})]
    record = site.last_record()
    assert record["attachments"][0]["content"]["verdict"] == "exempt"
    assert record["initiator"]["name"] == "night"


def test_a_projects_own_rules_are_those_of_the_token(guard: Callable[..., Site], tmp_path: Any, keystone: Any) -> None:
    conf = tmp_path / "imagefilter.conf"
    conf.write_text(f"[imagefilter:project:{keystone.ids['demo']}]\nsnapshots_enabled = false\n")
    site = guard({"oslo_config_file": str(conf)})
    for project in ("", keystone.ids["demo"]):
        response = site.act(keystone.token("alice"), project=project, X_Project_Id=keystone.ids["other"])
        assert (response.status, response.message) == (400, "Instance snapshots are not permitted at this time.")
    assert site.act(keystone.token("alice"), project=keystone.ids["other"]).status == 400, (
        "another's path is no way out"
    )
    assert (site.forwarded(), site.cloud.images()) == (0, [])
    assert site.act(keystone.token("bob")).status == 404
    assert site.forwarded() == 1


def test_without_auth_token_identities_are_claims(guard: Callable[..., Site], expired: str) -> None:
    """The second pipeline: Nova alone judges tokens, and what headers say of a caller is marked as unverified."""
    site = guard({"snapshots_enabled": "true", "exempt_roles": "backup", "metadata_required": "k"}, authtoken=False)
    alice = site.keystone.token("alice")
    forged = {"X_User_Id": "root", "X_User_Name": "root", "X_Roles": "backup", "X_Project_Id": "1"}
    assert site.act(alice, **forged).status == 403, "a claimed role exempts nobody"
    document = {"createImage": {"name": "x", "metadata": {"k": "v"}}}
    response = site.act(alice, document, **forged)
    assert (response.status, site.cloud.images()) == (202, [Image("x", {"k": "v"})])
    initiator = site.last_record()["initiator"]
    assert (initiator["vouched"], initiator["id"]) == (False, "unknown")
    claims = {"user_id": "root", "user_name": "root", "roles": "backup", "project_id": "1"}
    assert initiator["claims"] == claims
    assert not {"name", "roles", "project_id"} & set(initiator)
    for token in (expired, "garbage"):
        response = site.act(token, document)
        assert (response.status, is_auth_tokens(response), site.cloud.images()) == (401, False, [])
        assert site.last_record("activity")["attachments"][0]["content"]["status"] == 401
    assert site.act(None, document).status == 401


def test_keystone_is_asked_through_no_token_of_ours(guard: Callable[..., Site]) -> None:
    """The gateway's own service user is Keystone's business: none of its tokens is in a record or the log."""
    site = guard()
    token = site.keystone.token("alice")
    assert site.act(token).status == 202
    written = site.gateway.journal.read_text() + site.gateway.log.read_text()
    assert token not in written
    assert token[:20] not in written
    assert "gAAAA" not in written

"""Who asks: auth_token in the gateway's pipeline and in Nova's, both asking a real Keystone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest

from tests.gateway.client import Response
from tests.gateway.nova import ServedNova
from tests.gateway.servers import Gateway, GatewayFactory
from tests.nova.cloud import Image
from tests.waiting import wait_until

GOOD = {"createImage": {"name": "x"}}
BAD = {"createImage": {"name": ""}}
UNAUTHORIZED = "The request you have made requires authentication."
CONFIRMED_ADMIN = {"X-Roles": "admin", "X-User-Id": "root", "X-Identity-Status": "Confirmed", "X-Project-Id": "1"}


class Site(NamedTuple):
    """A cloud behind a gateway; ``server_id`` belongs to alice's project."""

    keystone: Any
    cloud: Any
    gateway: Gateway
    server_id: str

    def send_action(
        self, token: str | None, document: Any = GOOD, project: str = "", headers: dict[str, str] | None = None
    ) -> Response:
        """Send an image action; its path names the project if there is one."""
        path = f"/v2.1/servers/{self.server_id}/action"
        if project:
            path = f"/v2.1/{project}/servers/{self.server_id}/action"
        self.cloud.settle(self.server_id)
        response = self.gateway.send_request("POST", path, document, {**(headers or {}), "X-Auth-Token": token or ""})
        self.cloud.settle(self.server_id)
        return response

    def count_forwarded(self) -> int:
        """Return how many image actions reached Nova: each has a record of Nova's response."""
        return len(self.gateway.records("activity"))

    def last_initiator(self) -> Any:
        """Return who asked, by the last verdict's record."""
        return self.gateway.records("control")[-1]["initiator"]


@pytest.fixture
def make_site(
    server: str,
    asking_nova: ServedNova,
    keystone: Any,
    memcached: dict[str, str],
    alices_server: str,
    gateways: GatewayFactory,
) -> Callable[..., Site]:
    """Put a gateway with auth_token in front; options of the filter, and settings of auth_token, can be given."""

    def make(options: dict[str, str] | None = None, **settings: str) -> Site:
        authtoken = {**keystone.authtoken(), **memcached, **settings}
        gateway = gateways(server=server, compute_url=asking_nova.url, options=options, authtoken=authtoken)
        return Site(keystone, asking_nova.cloud, gateway, alices_server)

    return make


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A gateway with auth_token and the default options."""
    return make_site()


@pytest.fixture
def site_without_auth_token(
    server: str, asking_nova: ServedNova, keystone: Any, alices_server: str, gateways: GatewayFactory
) -> Site:
    """A gateway without auth_token: Nova alone judges tokens."""
    options = {"snapshots_enabled": "true", "exempt_roles": "backup", "metadata_required": "k"}
    gateway = gateways(server=server, compute_url=asking_nova.url, options=options)
    return Site(keystone, asking_nova.cloud, gateway, alices_server)


def is_from_gateway(response: Response) -> bool:
    """Return whether a 401 is that of the gateway's own auth_token: Nova gives its responses an id."""
    return response.header("X-Compute-Request-Id") is None


def test_valid_token_identifies_the_caller(site: Site) -> None:
    ids = site.keystone.ids
    response = site.send_action(site.keystone.token("alice"))
    assert (response.status, site.cloud.images()) == (202, [Image("x", {})])
    assert site.send_action(site.keystone.token("alice"), BAD).status == 400
    response = site.send_action(site.keystone.token("alice"), project=ids["demo"])
    assert response.status == 202
    initiator = site.last_initiator()
    assert initiator["authenticated"] is True
    assert (initiator["id"], initiator["name"]) == (ids["alice"], "alice")
    assert (initiator["project_id"], initiator["project_name"]) == (ids["demo"], "demo")
    assert (initiator["user_domain_id"], initiator["project_domain_id"]) == ("default", "default")
    assert initiator["domain"] == "Default"
    assert {"member", "reader"} <= set(initiator["roles"])
    assert "claims" not in initiator
    assert site.gateway.wait_for_outcome(response)["initiator"]["id"] == ids["alice"]


@pytest.fixture(scope="module")
def expired_token(keystone: Any) -> str:
    return str(keystone.expired_token())


@pytest.fixture(scope="module")
def revoked_token(keystone: Any) -> str:
    """A token that was revoked before any gateway saw it."""
    token = keystone.token("alice")
    keystone.revoke(token)
    return str(token)


@pytest.fixture(params=["expired", "revoked", "garbage", "none"])
def bad_token(request: pytest.FixtureRequest, expired_token: str, revoked_token: str) -> str | None:
    """Each kind of token that is not valid."""
    tokens = {"expired": expired_token, "revoked": revoked_token, "garbage": "garbage", "none": None}
    return tokens[request.param]


@pytest.mark.parametrize("document", [GOOD, BAD], ids=["good", "bad"])
@pytest.mark.parametrize("headers", [{}, CONFIRMED_ADMIN], ids=["plain", "forged"])
def test_bad_token_is_refused_and_not_recorded(
    site: Site, bad_token: str | None, document: Any, headers: dict[str, str]
) -> None:
    before = len(site.gateway.records("control"))
    response = site.send_action(bad_token, document, headers=headers)
    assert (response.status, is_from_gateway(response), site.cloud.images()) == (401, True, [])
    assert response.json["error"]["message"] == UNAUTHORIZED
    assert response.header("WWW-Authenticate") == f'Keystone uri="{site.keystone.url}"'
    assert len(site.gateway.records("control")) == before, "strangers write no records"


def test_revoked_token_is_refused_once_the_cache_forgets_it(make_site: Callable[..., Site]) -> None:
    site = make_site(token_cache_time="1")
    token = site.keystone.token("alice")
    assert site.send_action(token, BAD).status == 400
    site.keystone.revoke(token)
    wait_until(lambda: site.send_action(token, BAD).status == 401, 60, interval=0.2)
    assert is_from_gateway(site.send_action(token, BAD))


def test_token_of_another_project_is_refused(site: Site) -> None:
    ids = site.keystone.ids
    response = site.send_action(site.keystone.token("bob"))
    assert response.status == 404
    outcome = site.gateway.wait_for_outcome(response)
    assert outcome["attachments"][0]["content"]["status"] == 404, "Nova refuses it"
    assert site.last_initiator()["project_id"] == ids["other"]
    forwarded = site.count_forwarded()
    # A path of the server's own project, and headers that claim it too.
    forged = {"X-Project-Id": ids["demo"], "X-Roles": "admin", "X-User-Id": ids["alice"]}
    response = site.send_action(site.keystone.token("bob"), project=ids["demo"], headers=forged)
    assert (response.status, site.count_forwarded()) == (400, forwarded)
    assert response.message == (
        f"Malformed request URL: URL's project_id '{ids['demo']}' doesn't match Context's project_id '{ids['other']}'"
    )
    assert (site.last_initiator()["id"], site.cloud.images()) == (ids["bob"], [])


@pytest.mark.parametrize("connection", ["X-Auth-Token", "close, x-auth-token", "X-Foo"])
def test_nova_acts_as_the_user_that_was_judged(site: Site, connection: str) -> None:
    """A header that Connection names is dropped, and without X-Auth-Token auth_token reads X-Storage-Token."""
    headers = {"Connection": connection, "X-Storage-Token": site.keystone.token("alice")}
    response = site.send_action(site.keystone.token("bob"), headers=headers)
    assert (response.status, site.cloud.images()) == (404, [])
    assert site.last_initiator()["id"] == site.keystone.ids["bob"]


def test_claimed_roles_exempt_nobody(make_site: Callable[..., Site]) -> None:
    site = make_site({"snapshots_enabled": "false", "exempt_roles": "backup"})
    for name in ("X-Roles", "X-Role", "X-Service-Roles"):
        assert site.send_action(site.keystone.token("alice"), headers={name: "backup"}).status == 400
        assert "backup" not in site.last_initiator()["roles"]
    assert site.cloud.images() == []
    assert site.send_action(site.keystone.token("night")).status == 202
    assert site.cloud.images() == [Image("x", {})]
    record = site.gateway.records("control")[-1]
    assert record["attachments"][0]["content"]["verdict"] == "exempt"
    assert record["initiator"]["name"] == "night"


def test_policy_of_the_tokens_project_applies(make_site: Callable[..., Site], tmp_path: Path, keystone: Any) -> None:
    alice, demo, other = keystone.token("alice"), keystone.ids["demo"], keystone.ids["other"]
    conf = tmp_path / "imagefilter.conf"
    conf.write_text(f"[imagefilter:project:{demo}]\nsnapshots_enabled = false\n")
    site = make_site({"oslo_config_file": str(conf)})
    for project in ("", demo):
        response = site.send_action(alice, project=project, headers={"X-Project-Id": other})
        assert (response.status, response.message) == (400, "Instance snapshots are not permitted at this time.")
    assert site.send_action(alice, project=other).status == 400, "another project's path makes no difference"
    assert (site.count_forwarded(), site.cloud.images()) == (0, [])
    response = site.send_action(keystone.token("bob"))
    assert response.status == 404
    site.gateway.wait_for_outcome(response)
    assert site.count_forwarded() == 1


def test_identities_are_claims_without_auth_token(site_without_auth_token: Site, expired_token: str) -> None:
    """Nova alone judges tokens, and what headers say of a caller is marked as unverified."""
    site = site_without_auth_token
    alice = site.keystone.token("alice")
    forged = {"X-User-Id": "root", "X-User-Name": "root", "X-Roles": "backup", "X-Project-Id": "1"}
    assert site.send_action(alice, headers=forged).status == 403, "a claimed role exempts nobody"
    document = {"createImage": {"name": "x", "metadata": {"k": "v"}}}
    response = site.send_action(alice, document, headers=forged)
    assert (response.status, site.cloud.images()) == (202, [Image("x", {"k": "v"})])
    initiator = site.last_initiator()
    assert (initiator["authenticated"], initiator["id"]) == (False, "unknown")
    claims = {"user_id": "root", "user_name": "root", "roles": "backup", "project_id": "1"}
    assert initiator["claims"] == claims
    assert not {"name", "roles", "project_id"} & set(initiator)
    for token in (expired_token, "garbage"):
        response = site.send_action(token, document)
        assert (response.status, is_from_gateway(response), site.cloud.images()) == (401, False, [])
        assert site.gateway.wait_for_outcome(response)["attachments"][0]["content"]["status"] == 401
    assert site.send_action(None, document).status == 401


def test_no_token_is_written_to_the_journal_or_the_log(site: Site) -> None:
    """Neither a client's nor one of the gateway's own service user."""
    token = site.keystone.token("alice")
    assert site.send_action(token).status == 202
    written = site.gateway.journal.path.read_text() + site.gateway.log.read_text()
    assert token not in written
    assert token[:20] not in written
    assert "gAAAA" not in written

"""Who acts for whom, on a real Keystone: the trustee of a trust, an application credential, a service beside a user."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest

pytest.importorskip("keystone", reason="no Keystone in this virtualenv")

from tests.gateway.keystone import SERVICE_USER
from tests.gateway.nova import ServedNova
from tests.gateway.servers import GatewayFactory
from tests.records import content, parse_requests
from tests.wsgi import send

IMAGE = {"createImage": {"name": "x"}}


class Sender(NamedTuple):
    """Sends image actions through a filter, and knows its journal."""

    send: Callable[[dict[str, str]], int]  # with these headers; returns the status
    journal: Path

    def records_of(self, headers: dict[str, str]) -> list[dict[str, Any]]:
        """Send a request; return its records."""
        before = len(self._read())
        assert self.send(headers) == 202
        records = self._read()[before:]
        assert [record["eventType"] for record in records] == ["control", "activity"]
        return records

    def _read(self) -> list[dict[str, Any]]:
        if not self.journal.exists():
            return []
        return parse_requests(self.journal.read_text().splitlines())


@pytest.fixture(params=["pipeline", "gateway"])
def sender(
    request: pytest.FixtureRequest,
    asking_nova: ServedNova,
    keystone: Any,
    memcached: dict[str, str],
    alices_server: str,
    gateways: GatewayFactory,
    tmp_path: Path,
) -> Sender:
    """A filter in Nova's pipeline, and one in a gateway, each behind auth_token."""
    path = f"/v2.1/servers/{alices_server}/action"
    cloud = asking_nova.cloud
    if request.param == "gateway":
        authtoken = {**keystone.authtoken(), **memcached}
        gateway = gateways(server="granian", compute_url=asking_nova.url, authtoken=authtoken)

        def send_to_gateway(headers: dict[str, str]) -> int:
            cloud.settle(alices_server)
            response = gateway.send_request("POST", path, IMAGE, headers)
            gateway.wait_for_outcome(response)
            return response.status

        return Sender(send_to_gateway, gateway.journal.path)
    journal = tmp_path / "audit.jsonl"
    app = cloud.app_with_keystone(keystone.authtoken(), {"audit_journal": str(journal)})

    def send_to_pipeline(headers: dict[str, str]) -> int:
        cloud.settle(alices_server)
        return int(send(app, "POST", path, IMAGE, headers).status_int)

    return Sender(send_to_pipeline, journal)


def find_users_requests(journal: Path, user: str) -> list[dict[str, Any]]:
    """Return what ``audit list --user`` lists."""
    command = [sys.executable, "-m", "imagefilter.cli.app", "audit", "list", "--journal", journal, "--user", user]
    done = subprocess.run([*command, "-f", "json"], capture_output=True, text=True, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_a_trustee_is_in_each_record_and_is_found(sender: Sender, keystone: Any) -> None:
    """The token of a trust with impersonation names the trustor as its user."""
    pytest.importorskip("duckdb")
    token, trust_id = keystone.trust_token("alice", "bob")
    for record in sender.records_of({"X-Auth-Token": token}):
        initiator = record["initiator"]
        assert (initiator["id"], initiator["name"]) == (keystone.ids["alice"], "alice")
        assert initiator["trust"] == {
            "id": trust_id,
            "trustee_id": keystone.ids["bob"],
            "trustor_id": keystone.ids["alice"],
        }
        assert len(initiator["audit_ids"]) >= 1
        assert token not in json.dumps(record)
    rows = find_users_requests(sender.journal, keystone.ids["bob"])
    assert [row["User"] for row in rows] == ["alice"]


def test_an_application_credential_is_in_each_record(sender: Sender, keystone: Any, request: Any) -> None:
    token, credential_id = keystone.application_credential_token("alice", f"ci {request.node.name}")
    for record in sender.records_of({"X-Auth-Token": token}):
        initiator = record["initiator"]
        assert initiator["name"] == "alice"
        assert initiator["application_credential"] == {"id": credential_id, "name": f"ci {request.node.name}"}


def test_a_service_beside_a_user_is_in_each_record(sender: Sender, keystone: Any) -> None:
    headers = {"X-Auth-Token": keystone.token("alice"), "X-Service-Token": keystone.token(SERVICE_USER)}
    for record in sender.records_of(headers):
        assert record["initiator"]["service_user"] == {"id": keystone.ids[SERVICE_USER], "name": SERVICE_USER}


def test_an_ordinary_token_has_no_delegation(sender: Sender, keystone: Any) -> None:
    verdict, _ = sender.records_of({"X-Auth-Token": keystone.token("alice")})
    assert not {"trust", "application_credential", "service_user"} & set(verdict["initiator"])
    assert content(verdict)["verdict"] == "allow"

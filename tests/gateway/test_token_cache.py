"""The gateway's cache of tokens, in a memcached as it is shipped: nobody else may say who is calling."""

from __future__ import annotations

import base64
import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

pytest.importorskip("keystone", reason="no Keystone in this virtualenv")

from tests.gateway.memcached import UNIT, ask
from tests.gateway.nova import ServedNova, serve_wsgi
from tests.gateway.servers import Gateway, GatewayFactory
from tests.nova.cloud import Image

pytestmark = pytest.mark.skipif(not shutil.which("memcached"), reason="no memcached: apt install memcached")

SWITCHED_OFF = {"snapshots_enabled": "false", "exempt_roles": "backup"}
IMAGE = {"createImage": {"name": "x"}}


class Stranger:
    """What touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.fixture
def gateway(asking_nova: ServedNova, keystone: Any, memcached: dict[str, str], gateways: GatewayFactory) -> Gateway:
    """A gateway with the shipped cache."""
    authtoken = {**keystone.authtoken(), **memcached}
    return gateways(server="granian", compute_url=asking_nova.url, options=SWITCHED_OFF, authtoken=authtoken)


def read_hits(memcached: dict[str, str]) -> int:
    found = re.search(r"STAT get_hits (\d+)", ask(memcached, "stats"))
    assert found
    return int(found[1])


def read_keys(memcached: dict[str, str]) -> set[str]:
    found = re.findall(r"key=(\S+)", ask(memcached, "lru_crawler metadump all"))
    return {unquote(key) for key in found}  # it prints them as in a URL


def find_key(gateway: Gateway, memcached: dict[str, str], token: str, server: str) -> str:
    """Have the gateway remember a token; return its key in memcached, as whoever lists them sees it."""
    before = read_keys(memcached)
    assert send_image_action(gateway, token, server) == 400
    [key] = read_keys(memcached) - before
    return key


def forge(keystone: Any, token: str) -> bytes:
    """Return what Keystone says of a token, but of somebody else, who has the role that is exempt."""
    response = keystone.session("alice").get(f"{keystone.url}/auth/tokens", headers={"X-Subject-Token": token})
    document = response.json()
    document["token"]["roles"].append({"id": "0", "name": "backup"})
    document["token"]["user"].update(id="0" * 32, name="the-boss")
    return json.dumps(document).encode()


def poison(memcached: dict[str, str], key: str, flags: int, value: bytes) -> None:
    command = f"set {key} {flags} 60 {len(value)}\r\n".encode() + value
    assert "STORED" in ask(memcached, command.decode("latin-1"))


def send_image_action(gateway: Gateway, token: str, server: str) -> int:
    path = f"/v2.1/servers/{server}/action"
    return gateway.send_request("POST", path, IMAGE, {"X-Auth-Token": token}).status


def test_keystone_is_asked_once_for_a_token(
    gateway: Gateway, keystone: Any, memcached: dict[str, str], alices_server: str
) -> None:
    token = keystone.token("alice")
    send_image_action(gateway, token, alices_server)
    keystone.revoke(token)
    before = read_hits(memcached)
    for _ in range(3):
        assert send_image_action(gateway, token, alices_server) == 400, "Keystone would have said 401"
    assert read_hits(memcached) >= before + 3


def test_as_shipped_tokens_are_remembered_in_the_process(
    asking_nova: ServedNova, keystone: Any, alices_server: str, gateways: GatewayFactory
) -> None:
    gateway = gateways(
        server="granian", compute_url=asking_nova.url, options=SWITCHED_OFF, authtoken=keystone.authtoken()
    )
    token = keystone.token("alice")
    assert send_image_action(gateway, token, alices_server) == 400
    keystone.revoke(token)
    assert send_image_action(gateway, token, alices_server) == 400, "Keystone would have said 401"


def test_what_is_in_it_is_no_plain_token(
    gateway: Gateway, keystone: Any, memcached: dict[str, str], alices_server: str
) -> None:
    key = find_key(gateway, memcached, keystone.token("alice"), alices_server)
    value = ask(memcached, f"get {key}").split("\r\n")[1]
    signature, stored = value[:64], base64.b64decode(value[64:])
    assert len(signature) == 64
    assert stored
    assert b"alice" not in stored


def test_a_forged_token_counts_where_nothing_is_encrypted(
    asking_nova: ServedNova, keystone: Any, memcached: dict[str, str], alices_server: str, gateways: GatewayFactory
) -> None:
    """The attack works without the shipped strategy, so the next test can be believed."""
    authtoken = {**keystone.authtoken(), **memcached, "memcache_security_strategy": "None"}
    gateway = gateways(server="granian", compute_url=asking_nova.url, options=SWITCHED_OFF, authtoken=authtoken)
    token = keystone.token("alice")
    poison(memcached, find_key(gateway, memcached, token, alices_server), 0, forge(keystone, token))
    asking_nova.cloud.settle(alices_server)
    assert send_image_action(gateway, token, alices_server) == 202
    verdict = gateway.records("control")[-1]
    assert verdict["attachments"][0]["content"]["verdict"] == "exempt"
    assert (verdict["initiator"]["id"], verdict["initiator"]["name"]) == ("0" * 32, "the-boss")


def test_a_forged_token_makes_nobody_exempt(
    gateway: Gateway, keystone: Any, memcached: dict[str, str], alices_server: str
) -> None:
    """Even of whoever could write to the socket: what is not signed with the key does not count."""
    token = keystone.token("alice")
    poison(memcached, find_key(gateway, memcached, token, alices_server), 0, forge(keystone, token))
    assert send_image_action(gateway, token, alices_server) == 400
    assert gateway.records("control")[-1]["initiator"]["id"] == keystone.ids["alice"]
    assert "Failed to decrypt/verify cache data" in gateway.log.read_text()


def test_a_pickle_runs_but_changes_no_identity(
    gateway: Gateway, keystone: Any, memcached: dict[str, str], alices_server: str, tmp_path: Path
) -> None:
    """What stays: python-memcached unpickles what bears flag 1 before anything is verified, whatever the strategy.

    So who may write to the socket may run code in the gateway. That is the service's own user, and root: see the next.
    """
    token = keystone.token("alice")
    key = find_key(gateway, memcached, token, alices_server)
    poison(memcached, key, 1, pickle.dumps(Stranger(tmp_path / "touched"), protocol=0))
    assert send_image_action(gateway, token, alices_server) == 400
    assert gateway.records("control")[-1]["initiator"]["id"] == keystone.ids["alice"]
    assert (tmp_path / "touched").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_no_other_user_can_write_to_it(memcached: dict[str, str]) -> None:
    path = Path(memcached["memcached_servers"][len("unix:") :])
    path.parent.chmod(0o755)  # the file's own mode must do
    os.seteuid(65534)
    try:
        with socket.socket(socket.AF_UNIX) as connection, pytest.raises(PermissionError):
            connection.connect(str(path))
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd")
def test_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/memcached", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=15", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:]


@pytest.fixture
def nova_with_service_type(asking_nova: ServedNova, keystone: Any) -> Iterator[ServedNova]:
    """The same Nova, whose own auth_token accepts access rules as well."""
    options = {**keystone.authtoken(), "token_cache_time": "-1", "service_type": "compute"}
    with serve_wsgi(asking_nova.cloud.app_with_keystone(options)) as port:
        yield ServedNova(asking_nova.cloud, port)


def test_an_application_credential_with_access_rules(
    keystone: Any, nova_with_service_type: ServedNova, alices_server: str, gateways: GatewayFactory, request: Any
) -> None:
    """As shipped: service_type and the catalog are what auth_token needs for them."""
    nova = nova_with_service_type
    keystone.publish("compute", nova.url)
    gateway = gateways(server="granian", compute_url=nova.url, authtoken=keystone.authtoken())
    rules = [{"service": "compute", "method": "POST", "path": "/v2.1/servers/*/action"}]
    token, _ = keystone.application_credential_token("alice", request.node.name, rules)
    nova.cloud.settle(alices_server)
    assert send_image_action(gateway, token, alices_server) == 202
    assert nova.cloud.images() == [Image("x", {})]
    verdict = gateway.records("control")[-1]
    assert (verdict["initiator"]["name"], verdict["outcome"]) == ("alice", "success")
    refused = gateway.send_request("GET", "/v2.1/servers/detail", None, {"X-Auth-Token": token})
    assert (refused.status, refused.header("X-Compute-Request-Id")) == (401, None), "the gateway refuses it"

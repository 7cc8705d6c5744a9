"""The gateway's cache of tokens, in a memcached as it is shipped: nobody else may say who is calling."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("keystone", reason="no Keystone in this virtualenv")

from tests.gateway.memcached import UNIT, ask
from tests.gateway.nova import ServedNova
from tests.gateway.servers import Gateway, GatewayFactory

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


def read_keys(memcached: dict[str, str]) -> list[str]:
    return re.findall(r"key=(\S+)", ask(memcached, "lru_crawler metadump all"))


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
    before = read_hits(memcached)
    for _ in range(3):
        assert send_image_action(gateway, token, alices_server) == 400
    assert read_hits(memcached) >= before + 3


def test_what_is_in_it_is_no_plain_token(
    gateway: Gateway, keystone: Any, memcached: dict[str, str], alices_server: str
) -> None:
    assert send_image_action(gateway, keystone.token("alice"), alices_server) == 400
    for key in read_keys(memcached):
        assert "alice" not in ask(memcached, f"get {key}")


def test_a_forged_token_makes_nobody_exempt(
    gateway: Gateway, keystone: Any, memcached: dict[str, str], alices_server: str
) -> None:
    """Even of whoever could write to the socket: what is not signed with the key does not count."""
    token = keystone.token("alice")
    assert send_image_action(gateway, token, alices_server) == 400
    for key in read_keys(memcached):
        poison(memcached, key, 0, b'{"token": {"roles": [{"name": "backup"}], "user": {"id": "0"}}}')
    assert send_image_action(gateway, token, alices_server) == 400
    assert gateway.records("control")[-1]["initiator"]["id"] == keystone.ids["alice"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_no_other_user_can_write_to_it(memcached: dict[str, str], tmp_path: Path) -> None:
    """python-memcached unpickles what bears a flag, whatever the strategy: the socket is what keeps strangers out."""
    path = Path(memcached["memcached_servers"][len("unix:") :])
    path.parent.chmod(0o755)  # the file's own mode must do
    os.seteuid(65534)
    try:
        with socket.socket(socket.AF_UNIX) as connection, pytest.raises(PermissionError):
            connection.connect(str(path))
    finally:
        os.seteuid(0)
    pickled = pickle.dumps(Stranger(tmp_path / "touched"))
    pickle.loads(pickled)
    assert (tmp_path / "touched").exists(), "this is what a stranger would have had run"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd")
def test_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/memcached", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=15", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:]


def test_an_application_credential_with_access_rules(
    keystone: Any, asking_nova: ServedNova, alices_server: str, gateways: GatewayFactory, request: Any
) -> None:
    """As shipped: service_type and the catalog are what auth_token needs for them."""
    keystone.publish("compute", asking_nova.url)
    gateway = gateways(server="granian", compute_url=asking_nova.url, authtoken=keystone.authtoken(), threads=4)
    rules = [{"service": "compute", "method": "POST", "path": "/v2.1/servers/*/action"}]
    token, _ = keystone.application_credential_token("alice", request.node.name, rules)
    headers = {"X-Auth-Token": token}
    asking_nova.cloud.settle(alices_server)
    # Nova's own auth_token has no service_type here, and refuses such credentials: what counts is who refuses.
    response = gateway.send_request("POST", f"/v2.1/servers/{alices_server}/action", IMAGE, headers)
    assert response.header("X-Compute-Request-Id") is not None, "the gateway let it pass"
    verdict = gateway.records("control")[-1]
    assert (verdict["initiator"]["name"], verdict["outcome"]) == ("alice", "success")
    refused = gateway.send_request("GET", "/v2.1/servers/detail", None, headers)
    assert (refused.status, refused.header("X-Compute-Request-Id")) == (401, None)

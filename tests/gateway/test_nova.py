"""A real Nova behind the gateway: the filter's questions to it, its request ids, and the links in its responses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

from tests.cases import PROJECT, SERVER, image, items
from tests.gateway.client import Response, find_free_port
from tests.gateway.nova import ServedNova
from tests.gateway.servers import GatewayFactory
from tests.nova.cloud import Image

GLOBAL_ID = "req-11111111-2222-4333-8444-555555555555"
LATEST = {"OpenStack-API-Version": "compute 2.45"}
GARBAGE = {"X-Auth-Token": "garbage"}


def read_content(record: dict[str, Any]) -> Any:
    return record["attachments"][0]["content"]


@pytest.mark.parametrize(
    ("project", "status_for_garbage"),
    [("", 401), (f"/{PROJECT}", 403)],  # the quota of a known project is remembered, so Nova is not asked again
    ids=["no project", "project"],
)
def test_quota_is_novas_own(
    project: str, status_for_garbage: int, server: str, nova: ServedNova, gateways: GatewayFactory
) -> None:
    """The question goes through the gateway too, with the caller's own token."""
    gateway = gateways(server=server, compute_url=nova.url, options={"metadata_items_source": "compute"})
    path = f"/v2.1{project}/servers/{nova.cloud.server}/action"
    too_many = image(metadata=items(129))
    response = gateway.send_request("POST", path, too_many, LATEST)
    assert (response.status, response.message) == (403, "Image metadata limit exceeded")
    assert read_content(gateway.records("control")[-1])["limit"] == 128
    assert gateway.send_request("POST", path, image(), LATEST).status == 202
    assert nova.cloud.images() == [Image("nightly", {})]
    assert gateway.send_request("POST", path, too_many, GARBAGE).status == status_for_garbage


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
def test_a_rule_of_ones_own_asks_for_the_server(
    prefix: str, server: str, nova: ServedNova, gateways: GatewayFactory, tmp_path: Path
) -> None:
    """Through the gateway, where Nova takes microversions away on /v2: the flavor is then asked for by its id."""
    pytest.importorskip("cel_expr_python")
    path = f"{prefix}/servers/{nova.cloud.server}/action"
    for flavor, status in (("m1.tiny", 403), ("m1.large", 202)):
        config = tmp_path / f"{flavor}.conf"
        deny = f'server.flavor.name == "{flavor}" && server.flavor.vcpus == 1 && server.name == "web-1"'
        config.write_text(f"[imagefilter:rule:r]\ndeny = {deny}\n")
        options = {"oslo_config_file": str(config)}
        gateway = gateways(server=server, compute_url=nova.url, options=options)
        response = gateway.send_request("POST", path, image(), LATEST)
        assert response.status == status
        content = read_content(gateway.records("control")[-1])
        assert "reason" not in content
        assert content["server_seconds"] > 0
        assert {"field": "server.flavor.name", "value": '"m1.tiny"'} in content["facts"]
        assert len(nova.cloud.images()) == (status == 202)
    missing = gateway.send_request("POST", path.replace(nova.cloud.server, SERVER), image(), LATEST)
    assert (missing.status, missing.message) == (404, f"Instance {SERVER} could not be found.")


def image_id_in_location(response: Response) -> str:
    return str(response.header("Location")).rpartition("/")[2]


def image_id_in_body(response: Response) -> str:
    return str(response.json["image_id"])


@pytest.mark.parametrize(
    ("version", "read_image_id"), [("2.1", image_id_in_location), ("2.45", image_id_in_body)], ids=["2.1", "2.45"]
)
def test_outcome_has_the_image_and_the_ids_of_the_request(
    version: str, read_image_id: Callable[[Response], str], server: str, nova: ServedNova, gateways: GatewayFactory
) -> None:
    gateway = gateways(server=server, compute_url=nova.url)
    headers = {"OpenStack-API-Version": f"compute {version}", "X-Openstack-Request-Id": GLOBAL_ID}
    response = gateway.send_request("POST", f"/v2.1/servers/{nova.cloud.server}/action", image(), headers)
    outcome = gateway.wait_for_outcome(response)
    assert (response.status, nova.cloud.images()) == (202, [Image("nightly", {})])
    content = read_content(outcome)
    assert (content["image_id"], content["status"]) == (read_image_id(response), 202)
    assert outcome["initiator"]["request_id"] == response.header("X-Openstack-Request-Id")
    assert outcome["initiator"]["global_request_id"] == GLOBAL_ID
    nova_id = response.header("X-Compute-Request-Id")
    assert nova_id not in (None, GLOBAL_ID, outcome["initiator"]["request_id"])


@pytest.mark.parametrize("host", ["api.example:8774", "[2001:db8::1]:8774", "api.example"])
def test_links_lead_to_the_host_that_the_client_asked(
    host: str, server: str, nova: ServedNova, gateways: GatewayFactory
) -> None:
    gateway = gateways(server=server, compute_url=nova.url)
    links = gateway.send_request("GET", "/v2.1/", headers={"Host": host}).json["version"]["links"]
    assert links[0]["href"] == f"http://{host}/v2.1/"


def test_request_without_a_token_gets_auth_tokens_401(server: str, nova: ServedNova, gateways: GatewayFactory) -> None:
    """The pipeline with auth_token, and a Keystone that is down; a real one is tested in test_identity.py."""
    keystone = f"http://127.0.0.1:{find_free_port()}"
    settings = {"auth_url": keystone, "www_authenticate_uri": keystone, "memcached_servers": ""}
    gateway = gateways(server=server, compute_url=nova.url, authtoken=settings)
    assert gateway.send_request("GET", "/healthcheck").status == 200
    path = f"/v2.1/servers/{nova.cloud.server}/action"
    response = gateway.send_request("POST", path, image(), {"X-Auth-Token": ""})
    assert response.status == 401
    assert response.header("WWW-Authenticate") == f'Keystone uri="{keystone}"'
    assert gateway.records() == []
    assert nova.cloud.images() == []

"""A real Nova behind the gateway: what the filter asks of it, what it is told, and what its answers say."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from tests.cases import PROJECT, image
from tests.gateway.conftest import Served
from tests.gateway.servers import Gateway, free_port, serve_gateway
from tests.nova.cloud import Image

GLOBAL = "req-11111111-2222-4333-8444-555555555555"


def content(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = record["attachments"][0]["content"]
    return found


@pytest.mark.parametrize("project", ["", f"/{PROJECT}"])
def test_the_quota_is_novas_own(server: str, project: str, nova: Served, gateways: Callable[..., Gateway]) -> None:
    """The question goes through the gateway too, with the caller's own token."""
    gateway = gateways(server=server, compute_url=nova.url, options={"metadata_items_source": "compute"})
    path = f"/v2.1{project}/servers/{nova.cloud.server}/action"
    too_many = image(metadata={f"k{number}": "v" for number in range(129)})
    response = gateway.ask("POST", path, too_many, {"OpenStack-API-Version": "compute 2.45"})
    assert (response.status, response.message) == (403, "Image metadata limit exceeded")
    assert content(gateway.records()[-1])["limit"] == 128
    assert gateway.ask("POST", path, image(), {"OpenStack-API-Version": "compute 2.45"}).status == 202
    assert nova.cloud.images() == [Image("nightly", {})]
    assert gateway.ask("POST", path, too_many, {"X-Auth-Token": "garbage"}).status == (401 if not project else 403)


@pytest.mark.parametrize("version", ["2.1", "2.45"])
def test_an_image_and_its_records(server: str, version: str, nova: Served) -> None:
    headers = {"OpenStack-API-Version": f"compute {version}", "X-Openstack-Request-Id": GLOBAL}
    with serve_gateway(server, nova.url) as gateway:
        response = gateway.ask("POST", f"/v2.1/servers/{nova.cloud.server}/action", image(), headers)
        [outcome] = gateway.outcomes(1)
    made = response.json["image_id"] if version == "2.45" else str(response.header("Location")).rpartition("/")[2]
    assert (response.status, nova.cloud.images()) == (202, [Image("nightly", {})])
    assert (content(outcome)["image_id"], content(outcome)["status"]) == (made, 202)
    assert outcome["initiator"]["request_id"] == response.header("X-Openstack-Request-Id")
    assert outcome["initiator"]["global_request_id"] == GLOBAL
    novas = response.header("X-Compute-Request-Id")
    assert novas not in (None, GLOBAL, outcome["initiator"]["request_id"])


def test_links_lead_to_the_front(server: str, nova: Served, gateways: Callable[..., Gateway]) -> None:
    gateway = gateways(server=server, compute_url=nova.url)
    for host in ("api.example:8774", "[2001:db8::1]:8774", "api.example"):
        links = gateway.ask("GET", "/v2.1/", headers={"Host": host}).json["version"]["links"]
        assert links[0]["href"] == f"http://{host}/v2.1/"


def test_without_a_token_it_is_auth_tokens_401(server: str, nova: Served) -> None:
    """The pipeline with auth_token; with a real Keystone it is tested elsewhere."""
    keystone = f"http://127.0.0.1:{free_port()}"
    settings = {"auth_url": keystone, "www_authenticate_uri": keystone, "memcached_servers": ""}
    with serve_gateway(server, nova.url, authtoken=settings) as gateway:
        assert gateway.ask("GET", "/healthcheck").status == 200
        response = gateway.ask("POST", f"/v2.1/servers/{nova.cloud.server}/action", image(), {"X-Auth-Token": ""})
        assert response.status == 401
        assert response.header("WWW-Authenticate") == f'Keystone uri="{keystone}"'
        assert gateway.records() == []
        assert nova.cloud.images() == []

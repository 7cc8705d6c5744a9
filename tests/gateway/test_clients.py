"""Real clients through the gateway: openstacksdk and the openstack client, each at the microversion it asks for.

They log in at the real Keystone, whose catalog points to the gateway, and so do the links in Nova's responses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest
from keystoneauth1.adapter import Adapter

from tests.cases import items
from tests.gateway.front import serve_front
from tests.gateway.images import ImageApi
from tests.gateway.keystone import PASSWORD, REGION
from tests.gateway.nova import ServedNova, serve_wsgi
from tests.gateway.servers import Gateway, GatewayFactory
from tests.nova.cloud import IMAGE, Image
from tests.waiting import wait_until

openstack = pytest.importorskip("openstack", reason="no openstacksdk in this virtualenv")
exceptions = openstack.exceptions

OPENSTACK = Path(sys.executable).with_name("openstack")


class Site(NamedTuple):
    """A cloud whose catalog names a gateway as its compute API; ``server_id`` belongs to alice's project."""

    keystone: Any
    cloud: Any
    gateway: Gateway
    server_id: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    def connect(self, **settings: Any) -> Any:
        """Return a connection of openstacksdk's, as alice."""
        session = self.keystone.session("alice")
        return openstack.connection.Connection(session=session, region_name=REGION, **settings)

    def last_verdict(self) -> Any:
        """Return what the last record of a verdict contains, which must be alice's."""
        record = self.gateway.records("control")[-1]
        assert record["initiator"]["name"] == "alice"
        return record["attachments"][0]["content"]

    def recorded_images(self) -> list[str | None]:
        """Return the ids of images in records of outcomes."""
        contents = [record["attachments"][0]["content"] for record in self.gateway.records("activity")]
        return [content.get("image_id") for content in contents]

    def settle(self) -> None:
        self.cloud.settle(self.server_id)


@pytest.fixture(autouse=True)
def _real_sdk(monkeypatch: pytest.MonkeyPatch, asking_nova: ServedNova) -> None:
    """Undo the mock that Nova's fixtures put into the SDK."""
    monkeypatch.setattr("openstack.proxy.Proxy.get_endpoint", Adapter.get_endpoint)


@pytest.fixture(scope="module")
def image_api(asking_nova: ServedNova, keystone: Any) -> Iterator[None]:
    """An image service that Keystone's catalog names."""
    with serve_wsgi(ImageApi(asking_nova.cloud)) as port:
        keystone.publish("image", f"http://127.0.0.1:{port}")
        yield


@pytest.fixture
def authtoken(keystone: Any, memcached: dict[str, str]) -> dict[str, str]:
    """The settings of the gateways' auth_token."""
    return {**keystone.authtoken(), **memcached}


@pytest.fixture
def publish_gateway(
    asking_nova: ServedNova,
    keystone: Any,
    authtoken: dict[str, str],
    alices_server: str,
    image_api: None,
    gateways: GatewayFactory,
) -> Callable[[str], Site]:
    """Put a gateway in front, and into Keystone's catalog."""

    def publish(server: str) -> Site:
        gateway = gateways(server=server, compute_url=asking_nova.url, authtoken=authtoken)
        site = Site(keystone, asking_nova.cloud, gateway, alices_server)
        keystone.publish("compute", f"{site.url}/v2.1")
        site.settle()
        return site

    return publish


@pytest.fixture
def site(publish_gateway: Callable[[str], Site], server: str) -> Iterator[Site]:
    """A gateway under each server."""
    site = publish_gateway(server)
    yield site
    site.settle()


@pytest.fixture
def granian_site(publish_gateway: Callable[[str], Site]) -> Iterator[Site]:
    """A gateway under granian."""
    site = publish_gateway("granian")
    yield site
    site.settle()


# --- openstacksdk


@pytest.mark.parametrize(
    "settings",
    [{}, {"compute_default_microversion": "2.1"}, {"compute_default_microversion": "2.45"}],
    ids=["default", "2.1", "2.45"],
)
def test_sdk_makes_an_image(site: Site, settings: dict[str, str]) -> None:
    image = site.connect(**settings).compute.create_server_image(site.server_id, "nightly", {"purpose": "test"})
    assert (image.name, site.cloud.images()) == ("nightly", [Image("nightly", {"purpose": "test"})])
    verdict = site.last_verdict()
    assert (verdict["verdict"], verdict["path"]) == ("allow", f"/v2.1/servers/{site.server_id}/action")
    wait_until(lambda: image.id in site.recorded_images())


def test_sdk_makes_a_backup(site: Site) -> None:
    site.connect().compute.backup_server(site.server_id, "weekly-1", "weekly", 99)
    assert site.cloud.images() == [Image("weekly-1", {})]
    assert site.last_verdict()["action"] == "createBackup"


def test_sdk_shows_why_a_request_was_refused(site: Site) -> None:
    compute = site.connect().compute
    with pytest.raises(exceptions.ForbiddenException, match="Image metadata limit exceeded"):
        compute.create_server_image(site.server_id, "big", items(129))
    with pytest.raises(exceptions.BadRequestException, match="createImage entity requires name attribute"):
        compute.create_server_image(site.server_id, "")
    assert (site.cloud.images(), site.last_verdict()["verdict"]) == ([], "deny")


def test_links_in_responses_lead_to_the_gateway(site: Site) -> None:
    """Links of versions and of servers, and the Location of a 202."""
    connection = site.connect()
    compute = connection.compute
    assert compute.get_endpoint() == f"{site.url}/v2.1"
    assert connection.session.get(f"{site.url}/v2.1/").json()["version"]["links"][0]["href"] == f"{site.url}/v2.1/"
    versions = connection.session.get(f"{site.url}/").json()["versions"]
    assert {version["links"][0]["href"] for version in versions} == {f"{site.url}/v2/", f"{site.url}/v2.1/"}
    server = compute.get_server(site.server_id)
    assert server.links[0]["href"] == f"{site.url}/v2.1/servers/{site.server_id}"
    page = compute.get("/servers", params={"limit": 1}).json()
    assert page["servers_links"][0]["href"].startswith(f"{site.url}/v2.1/servers?limit=1&marker=")
    booted = {"name": "web-2", "imageRef": IMAGE, "flavorRef": "1", "networks": "none"}
    response = compute.post("/servers", json={"server": booted}, microversion="2.37")
    server_id = response.json()["server"]["id"]
    assert response.headers["Location"] == f"{site.url}/v2.1/servers/{server_id}"
    site.cloud.settle(server_id)
    compute.delete_server(server_id)


# --- the openstack client


def run_client(site: Site, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the openstack client in a process of its own, with an environment as an operator's openrc sets it."""
    openrc = {
        "OS_AUTH_URL": site.keystone.url,
        "OS_USERNAME": "alice",
        "OS_PASSWORD": PASSWORD,
        "OS_PROJECT_NAME": "demo",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": REGION,
        "OS_IDENTITY_API_VERSION": "3",
    }
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("OS_")}
    command = [sys.executable, "-W", "ignore", str(OPENSTACK), *arguments]
    return subprocess.run(
        command, env={**inherited, **openrc, **environ}, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize(
    "environ", [{}, {"OS_COMPUTE_API_VERSION": "2.1"}, {"OS_COMPUTE_API_VERSION": "2.100"}], ids=str
)
def test_openstack_server_image_create(granian_site: Site, environ: dict[str, str]) -> None:
    site = granian_site
    properties = ["--property", "purpose=test", "--property", "os_type=linux"]
    arguments = ["server", "image", "create", "--name", "nightly", *properties, "-f", "json", "web-1"]
    done = run_client(site, *arguments, **environ)
    assert done.returncode == 0, done.stderr
    assert site.cloud.images() == [Image("nightly", {"purpose": "test", "os_type": "linux"})]
    image = json.loads(done.stdout)
    assert (image["name"], image["properties"]["purpose"]) == ("nightly", "test")
    verdict = site.last_verdict()
    assert (verdict["verdict"], sorted(verdict["metadata_keys"])) == ("allow", ["os_type", "purpose"])


def test_openstack_server_backup_create(granian_site: Site) -> None:
    site = granian_site
    # Nova's own fixture rotates all images there are, so that a smaller number would delete this one.
    arguments = ["--name", "weekly-2", "--type", "cli", "--rotate", "99", "-f", "json", "web-1"]
    done = run_client(site, "server", "backup", "create", *arguments)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["name"], site.cloud.images()) == ("weekly-2", [Image("weekly-2", {})])
    assert site.last_verdict()["action"] == "createBackup"


def test_openstack_shows_why_a_request_was_refused(granian_site: Site) -> None:
    site = granian_site
    done = run_client(site, "server", "image", "create", "--name", "x", "--property", "owner=me", "web-1")
    assert (done.returncode, site.cloud.images()) == (1, [])
    assert "403" in done.stderr
    assert "Image metadata key 'owner' is reserved (metadata-reserved)" in done.stderr


def test_openstack_over_tls_through_a_front_that_splits(
    kind: str,
    asking_nova: ServedNova,
    keystone: Any,
    authtoken: dict[str, str],
    alices_server: str,
    image_api: None,
    gateways: GatewayFactory,
) -> None:
    """All of it: Keystone's catalog, nginx or haproxy, two gateways with auth_token, Nova with its own."""
    gateway = gateways(server="granian", compute_url=asking_nova.url, authtoken=authtoken, proxied=True)
    site = Site(keystone, asking_nova.cloud, gateway, alices_server)
    with serve_front(kind, asking_nova.port, [gateway.port] * 2) as front:
        keystone.publish("compute", f"https://127.0.0.1:{front.port}/v2.1")
        ca_file = str(front.folder / "ca.pem")
        arguments = ["server", "image", "create", "--name", "nightly", "--property", "purpose=test", "web-1"]
        done = run_client(site, *arguments, OS_CACERT=ca_file)
        assert done.returncode == 0, done.stderr
        assert site.cloud.images() == [Image("nightly", {"purpose": "test"})]
        site.settle()
        refused = run_client(site, *arguments[:-1], "--property", "id=1", "web-1", OS_CACERT=ca_file)
        assert (refused.returncode, site.cloud.images()) == (1, [])
        assert "(metadata-reserved)" in refused.stderr
    assert site.last_verdict()["verdict"] == "deny"

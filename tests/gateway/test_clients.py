"""Real clients through the gateway: openstacksdk and the openstack client, each at the microversion it asks for.

They log in at the real Keystone, whose catalog points to the gateway, and so do the links in Nova's answers.
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

from tests.gateway.conftest import Served, served
from tests.gateway.front import FRONTS, serve_front
from tests.gateway.images import ImageApi
from tests.gateway.keystone import PASSWORD, REGION
from tests.gateway.servers import Gateway
from tests.nova.cloud import IMAGE, Image

openstack = pytest.importorskip("openstack", reason="no openstacksdk in this virtualenv")
exceptions = openstack.exceptions

OPENSTACK = Path(sys.executable).with_name("openstack")


class Site(NamedTuple):
    """A cloud whose catalog names a gateway as its compute API."""

    keystone: Any
    cloud: Any
    gateway: Gateway
    server_id: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    def connection(self, user: str = "alice", **settings: Any) -> Any:
        return openstack.connection.Connection(session=self.keystone.session(user), region_name=REGION, **settings)

    def verdict(self) -> dict[str, Any]:
        """The last one."""
        record = [each for each in self.gateway.records() if each["eventType"] == "control"][-1]
        assert record["initiator"]["name"] == "alice"
        content: dict[str, Any] = record["attachments"][0]["content"]
        return content


@pytest.fixture(autouse=True)
def _real_sdk(monkeypatch: pytest.MonkeyPatch, asking_nova: Served) -> None:
    """Nova's fixtures put a mock into the SDK."""
    monkeypatch.setattr("openstack.proxy.Proxy.get_endpoint", Adapter.get_endpoint)


@pytest.fixture(scope="module")
def image_api(asking_nova: Served) -> Iterator[str]:
    with served(asking_nova.cloud, ImageApi(asking_nova.cloud)) as made:
        yield made.url


@pytest.fixture
def publish(
    asking_nova: Served,
    keystone: Any,
    memcached: dict[str, str],
    alices_server: str,
    image_api: str,
    gateways: Callable[..., Gateway],
) -> Callable[[str], Site]:
    """Put a gateway in front, and into Keystone's catalog."""

    def made(server: str) -> Site:
        authtoken = {**keystone.authtoken(), **memcached}
        gateway = gateways(server=server, compute_url=asking_nova.url, authtoken=authtoken)
        keystone.publish("compute", f"http://127.0.0.1:{gateway.port}/v2.1")
        keystone.publish("image", image_api)
        asking_nova.cloud.settle(alices_server)
        return Site(keystone, asking_nova.cloud, gateway, alices_server)

    return made


@pytest.fixture
def site(publish: Callable[[str], Site], server: str) -> Site:
    return publish(server)


@pytest.mark.parametrize("version", [None, "2.1", "2.45"])
def test_the_sdk_makes_an_image(site: Site, version: str | None) -> None:
    settings = {"compute_default_microversion": version} if version else {}
    image = site.connection(**settings).compute.create_server_image(site.server_id, "nightly", {"purpose": "test"})
    assert (image.name, site.cloud.images()) == ("nightly", [Image("nightly", {"purpose": "test"})])
    verdict = site.verdict()
    assert (verdict["verdict"], verdict["path"]) == ("allow", f"/v2.1/servers/{site.server_id}/action")
    answer = [each for each in site.gateway.records() if each["eventType"] == "activity"][-1]
    assert answer["attachments"][0]["content"]["image_id"] == image.id
    site.cloud.settle(site.server_id)


def test_the_sdk_makes_a_backup(site: Site) -> None:
    site.connection().compute.backup_server(site.server_id, "weekly-1", "weekly", 99)
    assert site.cloud.images() == [Image("weekly-1", {})]
    assert site.verdict()["action"] == "createBackup"
    site.cloud.settle(site.server_id)


def test_the_sdk_shows_why_it_was_refused(site: Site) -> None:
    compute = site.connection().compute
    with pytest.raises(exceptions.ForbiddenException, match="Image metadata limit exceeded"):
        compute.create_server_image(site.server_id, "big", {f"k{n}": "v" for n in range(129)})
    with pytest.raises(exceptions.BadRequestException, match="createImage entity requires name attribute"):
        compute.create_server_image(site.server_id, "")
    assert (site.cloud.images(), site.verdict()["verdict"]) == ([], "deny")


def test_the_sdk_finds_its_way_by_links(site: Site) -> None:
    """What Nova says of itself leads back to the gateway: version links, servers' links, and the Location of a 202."""
    connection = site.connection()
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


def openstack_client(site: Site, *words: str, user: str = "alice", **environ: str) -> subprocess.CompletedProcess[str]:
    """The openstack client in a process of its own, with an environment as an operator's openrc sets it."""
    openrc = {
        "OS_AUTH_URL": site.keystone.url,
        "OS_USERNAME": user,
        "OS_PASSWORD": PASSWORD,
        "OS_PROJECT_NAME": "demo",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": REGION,
        "OS_IDENTITY_API_VERSION": "3",
    }
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("OS_")}
    command = [sys.executable, "-W", "ignore", str(OPENSTACK), *words]
    return subprocess.run(
        command, env={**inherited, **openrc, **environ}, capture_output=True, text=True, timeout=300, check=False
    )


VERSIONS = ({}, {"OS_COMPUTE_API_VERSION": "2.1"}, {"OS_COMPUTE_API_VERSION": "2.100"})


@pytest.mark.parametrize("environ", VERSIONS, ids=str)
def test_openstack_server_image_create(publish: Callable[[str], Site], environ: dict[str, str]) -> None:
    site = publish("granian")
    properties = ["--property", "purpose=test", "--property", "os_type=linux"]
    words = ["server", "image", "create", "--name", "nightly", *properties, "-f", "json", "web-1"]
    done = openstack_client(site, *words, **environ)
    assert done.returncode == 0, done.stderr
    assert site.cloud.images() == [Image("nightly", {"purpose": "test", "os_type": "linux"})]
    shown = json.loads(done.stdout)
    assert (shown["name"], shown["properties"]["purpose"]) == ("nightly", "test")
    assert (site.verdict()["verdict"], sorted(site.verdict()["metadata_keys"])) == ("allow", ["os_type", "purpose"])
    site.cloud.settle(site.server_id)


def test_openstack_server_backup_create(publish: Callable[[str], Site]) -> None:
    site = publish("granian")
    # Nova's own fixture rotates all images there are, so that a smaller number would delete this one.
    words = ["--name", "weekly-2", "--type", "cli", "--rotate", "99", "-f", "json", "web-1"]
    done = openstack_client(site, "server", "backup", "create", *words)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["name"], site.cloud.images()) == ("weekly-2", [Image("weekly-2", {})])
    assert site.verdict()["action"] == "createBackup"
    site.cloud.settle(site.server_id)


def test_openstack_shows_why_it_was_refused(publish: Callable[[str], Site]) -> None:
    site = publish("granian")
    done = openstack_client(site, "server", "image", "create", "--name", "x", "--property", "owner=me", "web-1")
    assert (done.returncode, site.cloud.images()) == (1, [])
    assert "403" in done.stderr
    assert "Image metadata key 'owner' is reserved (metadata-reserved)" in done.stderr


@pytest.mark.parametrize("kind", FRONTS)
def test_openstack_over_tls_through_a_front_that_splits(
    kind: str,
    asking_nova: Served,
    keystone: Any,
    memcached: dict[str, str],
    alices_server: str,
    image_api: str,
    gateways: Callable[..., Gateway],
) -> None:
    """All of it: Keystone's catalog, nginx or haproxy, two gateways with auth_token, Nova with its own."""
    authtoken = {**keystone.authtoken(), **memcached}
    gateway = gateways(server="granian", compute_url=asking_nova.url, authtoken=authtoken, proxied=True)
    site = Site(keystone, asking_nova.cloud, gateway, alices_server)
    keystone.publish("image", image_api)
    with serve_front(kind, asking_nova.port, [gateway.port] * 2) as front:
        keystone.publish("compute", f"https://127.0.0.1:{front.port}/v2.1")
        words = ["server", "image", "create", "--name", "nightly", "--property", "purpose=test", "web-1"]
        done = openstack_client(site, *words, OS_CACERT=str(front.folder / "ca.pem"))
        assert done.returncode == 0, done.stderr
        assert site.cloud.images() == [Image("nightly", {"purpose": "test"})]
        site.cloud.settle(site.server_id)
        refused = openstack_client(site, *words[:-1], "--property", "id=1", "web-1", OS_CACERT=f"{front.folder}/ca.pem")
        assert (refused.returncode, site.cloud.images()) == (1, [])
        assert "(metadata-reserved)" in refused.stderr
    assert site.verdict()["verdict"] == "deny"

"""The real components do together what other tests rely on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagefilter.filter import ImageFilter
from tests.real.glance import Glance, serve_glance
from tests.real.nova import real_casts
from tests.real.site import Site
from tests.waiting import wait_until
from tests.wsgi import send

PROTECTIONS = """\
[^imagefilter_]
create = admin,member
read = admin,member,reader
update = admin
delete = admin
[.*]
create = admin,member
read = admin,member,reader
update = admin,member
delete = admin,member
"""

SNAPSHOT = {"createImage": {"name": "nightly", "metadata": {"purpose": "test"}}}


@pytest.fixture(scope="module")
def server(real_site: Site) -> str:
    """A server of alice's."""
    return real_site.boot("alice")


@pytest.fixture
def app(site: Site) -> Any:
    """Nova's API with the filter."""
    return site.app({})


def test_a_snapshot_is_an_image_of_the_callers_project(site: Site, app: Any, server: str) -> None:
    assert site.post_action(app, "alice", server, SNAPSHOT).status_int == 202
    [image] = site.images("alice")
    assert (image["name"], image["status"], image["instance_uuid"]) == ("nightly", "active", server)
    assert (image["purpose"], image["owner"]) == ("test", site.keystone.ids["demo"])
    assert site.images("bob") == []


def test_a_snapshot_waits_for_its_host(site: Site, app: Any, server: str) -> None:
    site.host.mode = "wait"
    response = site.post_action(app, "alice", server, SNAPSHOT)
    image_id = response.json["image_id"]
    assert site.glance.show("alice", image_id)["status"] == "queued"
    site.host.finish(image_id)
    assert site.glance.show("alice", image_id)["status"] == "active"


def test_a_host_that_fails_leaves_no_image(site: Site, app: Any, server: str) -> None:
    site.host.mode = "fail"
    with real_casts():
        assert site.post_action(app, "alice", server, SNAPSHOT).status_int == 202
    assert site.images("alice") == []


def test_the_host_works_after_the_response(site: Site, app: Any, server: str) -> None:
    with real_casts():
        for _ in range(3):
            assert site.post_action(app, "alice", server, SNAPSHOT).status_int == 202
    assert [image["status"] for image in site.images("alice")] == ["active"] * 3


def test_an_image_of_a_server_on_a_volume(site: Site, app: Any) -> None:
    server = site.boot_from_volume("alice")
    assert site.post_action(app, "alice", server, SNAPSHOT).status_int == 202
    [image] = site.images("alice")
    [device] = json.loads(image["block_device_mapping"])
    assert (image["status"], image["size"], device["source_type"]) == ("active", 0, "snapshot")
    assert "instance_uuid" not in image


def test_a_shelved_server_comes_back(site: Site) -> None:
    server = site.boot("alice")
    site.act("alice", server, "shelve")
    assert [image["name"] for image in site.images("alice")] == ["web-1-shelved"]
    assert site.show_server("alice", server)["status"] == "SHELVED_OFFLOADED"
    site.act("alice", server, "unshelve")
    wait_until(lambda: site.show_server("alice", server)["status"] == "ACTIVE")
    assert site.images("alice") == []


def test_a_tenant_hides_protects_and_shares(site: Site) -> None:
    image = site.glance.create("alice", "mine")
    site.glance.update("alice", image, os_hidden=True, protected=True)
    assert site.glance.request("alice", "GET", "/images?name=mine").json()["images"] == []
    assert [found["id"] for found in site.images("alice")] == [image]
    assert site.glance.request("alice", "DELETE", f"/images/{image}").status_code == 403
    site.glance.share("alice", image, "bob")
    assert site.glance.show("bob", image)["visibility"] == "shared"
    assert site.images("bob") == []


def test_the_filter_finds_the_endpoint(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nova's context keeps only some services of the catalog."""
    contexts: list[Any] = []
    respond = ImageFilter.respond

    def look(self: ImageFilter, environ: dict[str, Any], start_response: Any) -> Any:
        contexts.append(environ["nova.context"])
        return respond(self, environ, start_response)

    monkeypatch.setattr(ImageFilter, "respond", look)
    send(site.app({}), "GET", "/v2.1/servers", None, site.headers("alice"))
    [service] = [service for service in contexts[0].service_catalog if service["type"] == "image"]
    assert {site.glance.url} == {service["endpoints"][0][name] for name in ("internalURL", "publicURL")}


def test_openstacksdk_lists_images(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import openstack
    from keystoneauth1.adapter import Adapter

    # Nova's fixtures put a mock into the SDK.
    monkeypatch.setattr("openstack.proxy.Proxy.get_endpoint", Adapter.get_endpoint)
    image = site.glance.create("alice", "mine")
    connection = openstack.connection.Connection(session=site.keystone.session("alice"), region_name="RegionOne")
    assert [found.id for found in connection.image.images(owner=site.keystone.ids["demo"])] == [image]


def test_an_image_is_made_older(site: Site) -> None:
    image = site.glance.create("alice", "old")
    site.glance.set_created(image, "2026-01-01 00:00:00")
    assert site.glance.show("alice", image)["created_at"] == "2026-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def protecting_glance(keystone: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    """A Glance with property protections."""
    folder = tmp_path_factory.mktemp("protecting-glance")
    protections = Path(folder / "property-protections.conf")
    protections.write_text(PROTECTIONS)
    with serve_glance(folder, keystone, protections=protections) as glance:
        yield glance


def test_a_glance_that_protects_properties(protecting_glance: Glance) -> None:
    image = protecting_glance.create("alice", "mine", imagefilter_server="x", purpose="test")
    operation = {"op": "replace", "path": "/imagefilter_server", "value": "y"}
    assert protecting_glance.patch("alice", image, operation).status_code == 403
    assert protecting_glance.patch("alice", image, {"op": "remove", "path": "/purpose"}).status_code == 200
    assert protecting_glance.patch("root", image, operation).status_code == 200

"""Glance's own quota asked beforehand, on a Glance that enforces the unified limits of a real Keystone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.keystone import ADMIN, PASSWORD, REGION, Keystone
from tests.real.glance import Glance, serve_glance
from tests.real.nova import use_glance
from tests.real.site import Site
from tests.records import content
from tests.unified_limits import UnifiedLimits
from tests.wsgi import send

DEFAULTS = {"image_count_total": 100, "image_size_total": 100, "image_stage_total": 100, "image_count_uploading": 100}

OSLO_LIMIT = {
    "auth_type": "password",
    "username": ADMIN,
    "password": PASSWORD,
    "project_name": ADMIN,
    "user_domain_name": "Default",
    "project_domain_name": "Default",
    "endpoint_service_type": "image",
    "endpoint_region_name": REGION,
    "endpoint_interface": "public",
}


@pytest.fixture(scope="module")
def limits(keystone: Keystone) -> Iterator[UnifiedLimits]:
    with UnifiedLimits(keystone) as limits:
        yield limits


@pytest.fixture(scope="module")
def limited_glance(
    keystone: Keystone, limits: UnifiedLimits, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Glance]:
    """A Glance that enforces the limits that are registered in Keystone."""
    settings = {
        "DEFAULT": {"use_keystone_limits": "true"},
        "oslo_limit": {**OSLO_LIMIT, "auth_url": keystone.url},
    }
    with serve_glance(tmp_path_factory.mktemp("limited-glance"), keystone, settings) as glance:
        keystone.publish("image", glance.url)
        for name, limit in DEFAULTS.items():
            limits.register(name, limit, region=REGION)
        yield glance


@pytest.fixture(scope="module")
def limited_site(keystone: Keystone, limited_glance: Glance, cloud: Any) -> Iterator[Site]:
    with use_glance(limited_glance) as host:
        site = Site(keystone, limited_glance, cloud, host)
        with site.delete_servers():
            yield site
    limited_glance.clear()


@pytest.fixture
def alice(limited_site: Site) -> Site:
    """The cloud for each test, without images but the one to boot servers from, which alice's project owns."""
    limited_site.clear_images()
    limited_site.host.mode = "upload"
    return limited_site


@pytest.fixture(scope="module")
def server(limited_site: Site) -> str:
    return limited_site.boot("alice")


def snapshot(site: Site, app: Any, server: str, action: str = "createImage") -> Any:
    document: dict[str, Any] = {"createImage": {"name": "x"}}
    if action == "createBackup":
        document = {"createBackup": {"name": "x", "backup_type": "daily", "rotation": 1}}
    return site.post_action(app, "alice", server, document)


def fault(response: Any) -> tuple[int, str]:
    [found] = response.json.values()
    return response.status_int, found["message"]


CHECK = {"image_quota_check": "true"}


@pytest.mark.parametrize("action", ["createImage", "createBackup"])
def test_one_image_more_than_the_count(alice: Site, limits: UnifiedLimits, server: str, action: str) -> None:
    app, bare = alice.app(CHECK), alice.app({})
    with limits.having("demo", "image_count_total", 1, region=REGION):
        alice.cloud.records()
        assert snapshot(alice, app, server, action).status_int == 202
        assert content(alice.cloud.records()[0])["image_quota"]["image_count_total"] == {"limit": 1, "usage": 0}
        refused = snapshot(alice, app, server, action)
        assert fault(refused) == (403, "Image quota exceeded (image_count_total: limit 1, in use 1)")
        assert len(alice.images("alice")) == 1
        record = content(alice.cloud.records()[0])
        assert (record["rule"], record["limit"], record["usage"]) == ("image-quota", 1, 1)
        assert record["lookup_seconds"] > 0
        assert snapshot(alice, bare, server, action).status_int == 500, "what Nova says without it"
        alice.glance.delete("alice", alice.images("alice")[0]["id"])
        assert snapshot(alice, app, server, action).status_int == 202


def test_the_size_is_at_its_limit(alice: Site, limits: UnifiedLimits, server: str) -> None:
    image = alice.glance.create("alice", "large")
    alice.glance.upload("alice", image, b"\0" * (2 << 20))
    app = alice.app(CHECK)
    with limits.having("demo", "image_size_total", 3, region=REGION):
        assert snapshot(alice, app, server).status_int == 202
    with limits.having("demo", "image_size_total", 2, region=REGION):
        refused = fault(snapshot(alice, app, server))
        assert refused == (403, "Image quota exceeded (image_size_total: limit 2, in use 2)")


def test_an_image_that_nova_accepts_and_that_vanishes(alice: Site, limits: UnifiedLimits, server: str) -> None:
    """Without the check: the host's upload is refused, and Nova deletes the record."""
    image = alice.glance.create("alice", "large")
    alice.glance.upload("alice", image, b"\0" * (2 << 20))
    with limits.having("demo", "image_size_total", 1, region=REGION):
        before = alice.images("alice")
        response = snapshot(alice, alice.app({}), server)
        assert response.status_int in (202, 500), "500: Nova's fixtures make each cast a call"
        assert alice.images("alice") == before
        refused = fault(snapshot(alice, alice.app(CHECK), server))
        assert refused == (403, "Image quota exceeded (image_size_total: limit 1, in use 2)")


def test_too_many_uploads(alice: Site, limits: UnifiedLimits, server: str) -> None:
    app = alice.app(CHECK)
    with limits.having("demo", "image_count_uploading", 0, region=REGION):
        refused = fault(snapshot(alice, app, server))
        assert refused == (403, "Image quota exceeded (image_count_uploading: limit 0, in use 0)")


def test_no_limit_is_minus_one(alice: Site, limits: UnifiedLimits, server: str) -> None:
    app = alice.app(CHECK)
    with limits.having("demo", "image_count_total", -1, region=REGION):
        for _ in range(3):
            assert snapshot(alice, app, server).status_int == 202


def test_a_trial_refuses_nothing_itself(alice: Site, limits: UnifiedLimits, server: str) -> None:
    app = alice.app({**CHECK, "mode": "warn"})
    with limits.having("demo", "image_size_total", 0, region=REGION):
        response = snapshot(alice, app, server)
        assert "image-quota: Image quota exceeded (image_size_total: limit 0, in use 0)" in response.headers["Warning"]


def test_another_projects_quota_is_its_own(alice: Site, limits: UnifiedLimits, server: str) -> None:
    bobs = alice.boot("bob")
    with limits.having("demo", "image_count_total", 0, region=REGION):
        response = alice.post_action(alice.app(CHECK), "bob", bobs, {"createImage": {"name": "x"}})
        assert response.status_int == 202


def test_a_caller_who_may_not_ask(alice: Site, server: str) -> None:
    """The access rules of an application credential let it make images, and nothing else."""
    alice.keystone.publish("compute", "http://127.0.0.1:1/v2.1")
    rule = {"path": "/v2.1/servers/*/action", "method": "POST", "service": "compute"}
    token, _ = alice.keystone.application_credential_token("alice", "images-alone", [rule])
    app = alice.app(CHECK, service_type="compute")
    path = f"/v2.1/servers/{server}/action"
    response = send(app, "POST", path, {"createImage": {"name": "x"}}, {"X-Auth-Token": token})
    assert fault(response) == (503, "The snapshot limit could not be checked.")


def test_a_glance_without_unified_limits(site: Site) -> None:
    """It says so, and there is nothing to check. The last test here: another Glance is in the catalog from now on."""
    server = site.boot("alice")
    site.cloud.records()
    assert snapshot(site, site.app(CHECK), server).status_int == 202
    assert content(site.cloud.records()[0])["image_quota"] == {}

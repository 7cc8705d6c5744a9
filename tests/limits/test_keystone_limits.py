"""Limits that are Keystone's unified limits, set by an operator, on a real Keystone, Nova and Glance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable

import pytest

from imagefilter.lookup.identity import check_identity_api
from imagefilter.policy.policy import ImageAPIOptions
from tests.gateway.keystone import REGION, Keystone
from tests.gateway.nova import ServedNova
from tests.limits.glance import Glance
from tests.limits.test_limits import Tenant, fault, tenant
from tests.openstack_client import run_openstack, run_openstack_json
from tests.unified_limits import UnifiedLimits

__all__ = ["tenant"]  # a fixture

SERVER, PROJECT, IN_PROGRESS = "snapshots_per_server", "snapshots_per_project", "snapshots_in_progress"


@pytest.fixture
def limits(keystone: Keystone) -> Iterator[UnifiedLimits]:
    with UnifiedLimits(keystone) as limits:
        yield limits


@pytest.fixture
def alice(tenant: Callable[..., Tenant], keystone: Keystone) -> Callable[..., Tenant]:
    """Build a tenant whose limits are Keystone's; each answer is asked anew."""
    options = {"limits_source": "keystone", "identity_api_url": keystone.url, "lookup_ttl": "0"}
    return lambda user="alice", **more: tenant(user, **{**options, **more})


@pytest.mark.parametrize("path", ["", "/v3"])
def test_a_check_before_the_start(keystone: Keystone, path: str) -> None:
    check_identity_api(ImageAPIOptions(None, "internal", None, None, 30.0, f"{keystone.url.removesuffix('/v3')}{path}"))


def test_as_an_operator_and_a_tenant_do_it(alice: Any, limits: UnifiedLimits, keystone: Keystone) -> None:
    """With the openstack client, by the commands of the page."""
    limits.add_region(REGION)
    where = ("--service", "image", "--region", REGION)
    run_openstack(keystone, "registered", "limit", "create", *where, "--default-limit", "1", SERVER)
    run_openstack(keystone, "registered", "limit", "create", *where, "--default-limit", "9", PROJECT)
    own = ("--project", "demo", "--resource-limit", "2")
    run_openstack(keystone, "limit", "create", *where, *own, SERVER)
    listed = run_openstack_json(keystone, "limit", "list", user="alice")
    assert [(limit["Resource Name"], limit["Resource Limit"]) for limit in listed] == [(SERVER, 2)]
    tenant = alice(api_region=REGION)
    usage = [tenant.image().headers["X-Snapshot-Usage"] for _ in range(2)]
    assert usage == ["server=1/2, project=1/9", "server=2/2, project=2/9"]
    assert fault(tenant.image()) == (403, "Server snapshot limit exceeded (limit 2, in use 2)")
    record = tenant.record()
    assert (record["rule"], record["limit"], record["usage"]) == ("server-limit", 2, 2)
    assert record["snapshot_limits"] == {"server": 2, "project": 9, "in_progress": -1}


@pytest.mark.parametrize("prefix", ["/v2", "/v2.1"])
def test_a_registered_limit_holds_for_each_project(alice: Any, boot: Any, limits: UnifiedLimits, prefix: str) -> None:
    limits.register(PROJECT, 1)
    tenant = alice()
    assert tenant.image(prefix=prefix).status_int == 202
    assert fault(tenant.image(prefix=prefix)) == (403, "Project snapshot limit exceeded (limit 1, in use 1)")
    bob = alice("bob")
    assert bob.image(boot("bob"), prefix=prefix).status_int == 202


def test_another_projects_limit_is_its_own(alice: Any, boot: Any, limits: UnifiedLimits) -> None:
    limits.register(SERVER, 1)
    limits.set("other", SERVER, 0)
    assert alice().image().status_int == 202
    bob = alice("bob")
    assert fault(bob.image(boot("bob")))[0] == 403


@pytest.mark.parametrize("user", ["root", "night"])
def test_an_administrator_is_shown_his_own_projects_limit(alice: Any, limits: UnifiedLimits, user: str) -> None:
    """Keystone shows everybody's limits to the role admin: the question names the project."""
    limits.register(SERVER, 5)
    limits.set("other", SERVER, 0)
    limits.set("demo", SERVER, 1)
    tenant = alice(user)
    assert tenant.image().headers["X-Snapshot-Usage"] == "server=1/1"
    assert fault(tenant.image())[0] == 403


def test_minus_one_is_no_limit(alice: Any, limits: UnifiedLimits, glance: Glance) -> None:
    limits.register(SERVER, 1)
    limits.set("demo", SERVER, -1)
    tenant = alice(snapshots_per_server="1")
    for _ in range(3):
        response = tenant.image()
        assert (response.status_int, response.headers.get("X-Snapshot-Usage")) == (202, None)
    assert {image["imagefilter_server"] for image in glance.snapshots()} == {tenant.server}


def test_what_is_not_registered_is_the_configs(alice: Any, limits: UnifiedLimits) -> None:
    limits.register("server_groups", 10)
    tenant = alice(snapshots_per_server="1")
    assert tenant.image().status_int == 202
    assert fault(tenant.image())[0] == 403
    limits.register(SERVER, 2)
    assert tenant.image().headers["X-Snapshot-Usage"] == "server=2/2"


def test_in_progress(alice: Any, limits: UnifiedLimits, glance: Glance) -> None:
    limits.register(IN_PROGRESS, 1)
    tenant = alice()
    assert tenant.image().headers["X-Snapshot-Usage"] == "in_progress=1/1"
    assert fault(tenant.image()) == (403, "Too many snapshots in progress (limit 1, in progress 1)")
    glance.upload(glance.snapshots()[0]["id"])
    assert tenant.image().status_int == 202


def test_a_limit_of_the_region_wins(alice: Any, limits: UnifiedLimits) -> None:
    for region, number in ((None, 9), (REGION, 1), ("RegionTwo", 0)):
        if region:
            limits.add_region(region)
        limits.register(SERVER, number, region=region)
    tenant = alice(api_region=REGION)
    assert tenant.image().headers["X-Snapshot-Usage"] == "server=1/1"
    assert fault(tenant.image())[0] == 403
    limits.set("demo", SERVER, 3)
    assert tenant.image().headers["X-Snapshot-Usage"] == "server=2/3", "a project's own wins over the registered ones"
    guessing = alice(image_api_url=tenant.glance.url)
    assert fault(guessing.image()) == (503, "The snapshot limit could not be checked.")


def test_two_services_of_one_name(alice: Any, limits: UnifiedLimits, caplog: pytest.LogCaptureFixture) -> None:
    limits.register(SERVER, 5)
    limits.register(SERVER, 5, service="another")
    assert fault(alice().image()) == (503, "The snapshot limit could not be checked.")
    assert f"{SERVER} is registered by 2 services" in caplog.text
    assert alice(lookup_on_error="allow").image().status_int == 202


def test_a_keystone_that_is_down(alice: Any, limits: UnifiedLimits, glance: Glance) -> None:
    down = {"identity_api_url": "http://127.0.0.1:1"}
    assert fault(alice(**down).image()) == (503, "The snapshot limit could not be checked.")
    assert not glance.snapshots()
    response = alice(mode="warn", **down).image()
    assert (response.status_int, "server-limit" in response.headers["Warning"]) == (202, True)


def test_an_answer_is_used_again(alice: Any, limits: UnifiedLimits) -> None:
    limits.register(SERVER, 1)
    tenant = alice(lookup_ttl="60")
    assert tenant.image().status_int == 202
    limits.set("demo", SERVER, 9)
    assert fault(tenant.image())[0] == 403
    assert alice(lookup_ttl="0").image().status_int == 202


def test_a_server_on_a_volume(alice: Any, limits: UnifiedLimits, nova: ServedNova) -> None:
    limits.register(SERVER, 1)
    tenant = alice()
    with nova.cloud.on_volume():
        assert tenant.image(nova.cloud.server).status_int == 202
        assert fault(tenant.image(nova.cloud.server))[0] == 403


def test_a_backup_at_the_limit_makes_room_for_itself(alice: Any, limits: UnifiedLimits) -> None:
    limits.register(SERVER, 1)
    tenant = alice()
    assert [tenant.backup(1).status_int for _ in range(3)] == [202, 202, 202]
    assert tenant.backup(2).status_int == 403


def test_who_is_exempt_asks_nobody(alice: Any) -> None:
    tenant = alice("night", exempt_roles="backup", identity_api_url="http://127.0.0.1:1", one_at_a_time="true")
    assert tenant.image().status_int == 202

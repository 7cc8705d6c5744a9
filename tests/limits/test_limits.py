"""Limits on a real Nova with a real Glance, in Nova's own pipeline."""

from __future__ import annotations

import itertools
from typing import Any, Callable

import pytest

from tests.gateway.nova import ServedNova
from tests.limits.glance import Glance
from tests.wsgi import send

_names = itertools.count()


class Tenant:
    """Asks for images of servers as one of Keystone's users."""

    def __init__(self, nova: ServedNova, glance: Glance, user: str, **options: str) -> None:
        self.cloud, self.glance, self.user = nova.cloud, glance, user
        self.server: str = nova.cloud.server
        self.app = nova.cloud.app(options)
        nova.cloud.records()

    def image(self, server: str = "", prefix: str = "/v2.1", **entity: Any) -> Any:
        """Ask for an image."""
        return self.act({"createImage": {"name": f"image-{next(_names)}", **entity}}, server, prefix)

    def backup(self, rotation: Any, backup_type: str = "daily", server: str = "", **entity: Any) -> Any:
        """Ask for a backup."""
        wanted = {"name": f"backup-{next(_names)}", "backup_type": backup_type, "rotation": rotation, **entity}
        return self.act({"createBackup": wanted}, server)

    def act(self, document: Any, server: str = "", prefix: str = "/v2.1") -> Any:
        headers = {"X-Auth-Token": self.glance.keystone.cached_token(self.user)}
        server = server or self.server
        response = send(self.app, "POST", f"{prefix}/servers/{server}/action", document, headers)
        self.cloud.settle(server)
        return response

    def record(self) -> dict[str, Any]:
        """Return imagefilter's own part of the last verdict's record."""
        verdicts = [record for record in self.cloud.records() if record["action"] == "evaluate"]
        own: dict[str, Any] = verdicts[-1]["attachments"][0]["content"]
        return own


@pytest.fixture
def tenant(nova: ServedNova, glance: Glance) -> Callable[..., Tenant]:
    """Build a tenant, with the options of the filter in front of Nova."""
    return lambda user="alice", **options: Tenant(nova, glance, user, **options)


def fault(response: Any) -> tuple[int, str]:
    [found] = response.json.values()
    assert found["code"] == response.status_int
    return response.status_int, found["message"]


def test_a_server_limit(tenant: Callable[..., Tenant], glance: Glance) -> None:
    alice = tenant(snapshots_per_server="2")
    usage = [alice.image().headers["X-Snapshot-Usage"] for _ in range(2)]
    assert usage == ["server=1/2", "server=2/2"]
    refused = alice.image()
    assert fault(refused) == (403, "Server snapshot limit exceeded (limit 2, in use 2)")
    assert refused.headers["X-Snapshot-Usage"] == "server=2/2"
    record = alice.record()
    assert (record["rule"], record["limit"], record["usage"]) == ("server-limit", 2, 2)
    assert record["snapshot_usage"] == {"server": 2}
    assert record["lock_seconds"] >= 0
    assert record["lookup_seconds"] > 0
    assert len(glance.snapshots()) == 2
    glance.delete(glance.snapshots()[0]["id"])
    assert alice.image().status_int == 202, "there is room again"


def test_the_stamps(tenant: Callable[..., Tenant], glance: Glance) -> None:
    alice = tenant(snapshots_per_server="2")
    alice.image(metadata={"team": "blue"})
    verdict, _ = alice.cloud.records()
    [image] = glance.snapshots()
    assert image["team"] == "blue"
    assert image["imagefilter_server"] == alice.server
    assert image["imagefilter_record"] == verdict["id"]
    assert image["imagefilter_stamped"][:10] == verdict["eventTime"][:10]
    assert verdict["attachments"][0]["content"]["metadata_keys"] == ["team"], "they are not the client's"


@pytest.mark.parametrize("prefix", ["/v2", "/v2.1"])
def test_a_project_limit_counts_all_servers(tenant: Callable[..., Tenant], nova: ServedNova, prefix: str) -> None:
    alice = tenant(snapshots_per_project="2")
    other = nova.cloud.new_server()
    assert alice.image(prefix=prefix).headers["X-Snapshot-Usage"] == "project=1/2"
    assert alice.image(other, prefix=prefix).status_int == 202
    assert fault(alice.image(prefix=prefix)) == (403, "Project snapshot limit exceeded (limit 2, in use 2)")


def test_what_counts(tenant: Callable[..., Tenant], glance: Glance) -> None:
    """Of every visibility, hidden or protected, active or not; an upload does not, nor what another project shares."""
    alice = tenant(snapshots_per_project="9")
    for _ in range(4):
        alice.image()
    hidden, community, protected, active = glance.snapshots()
    glance.change(hidden["id"], os_hidden=True).raise_for_status()
    glance.change(community["id"], visibility="community").raise_for_status()
    glance.change(protected["id"], protected=True).raise_for_status()
    glance.upload(active["id"])
    glance.create(name="an upload")
    glance.create("bob", name="of another project", visibility="community", instance_uuid=alice.server)
    assert alice.image().headers["X-Snapshot-Usage"] == "project=5/9"


def test_a_progress_limit(tenant: Callable[..., Tenant], glance: Glance) -> None:
    alice = tenant(snapshots_in_progress="1")
    assert alice.image().headers["X-Snapshot-Usage"] == "in_progress=1/1"
    assert fault(alice.image()) == (403, "Too many snapshots in progress (limit 1, in progress 1)")
    glance.upload(glance.snapshots()[0]["id"])
    assert alice.image().status_int == 202


def test_a_server_on_a_volume(tenant: Callable[..., Tenant], nova: ServedNova, glance: Glance) -> None:
    """Nova gives such an image no instance_uuid: the stamp says of which server it is."""
    alice = tenant(snapshots_per_server="2")
    with nova.cloud.on_volume():
        on_volume = nova.cloud.server
        assert alice.image(on_volume).status_int == 202
        assert alice.image(on_volume).status_int == 202
        assert fault(alice.image(on_volume)) == (403, "Server snapshot limit exceeded (limit 2, in use 2)")
        assert alice.image().status_int == 202, "the other server's own limit"
        images = [image for image in glance.images() if image.get("block_device_mapping")]
        assert [image.get("instance_uuid") for image in images] == [None, None]


def test_a_server_that_was_booted_from_a_snapshot(
    tenant: Callable[..., Tenant], nova: ServedNova, glance: Glance
) -> None:
    """Nova copies the snapshot's properties, our stamps included, into the images of the new server."""
    alice = tenant(snapshots_per_server="1")
    alice.image()
    [snapshot] = glance.snapshots()
    glance.upload(snapshot["id"])
    child = nova.cloud.new_server({"imageRef": snapshot["id"]})
    assert alice.image(child).headers["X-Snapshot-Usage"] == "server=1/1"
    assert fault(alice.image(child))[0] == 403
    [of_child] = [image for image in glance.snapshots() if image["instance_uuid"] == child]
    assert of_child["imagefilter_server"] == child


def test_an_image_does_not_take_its_expiry_from_the_image_that_its_server_was_booted_from(
    tenant: Callable[..., Tenant], nova: ServedNova, glance: Glance
) -> None:
    """Bob shares an image with an expiry; it would have the reaper delete the snapshots of who boots from it."""
    shared = glance.create("bob", imagefilter_expires="2027-01-01T00:00:00Z", visibility="community")
    glance.upload(shared["id"], "bob")
    alice = tenant(snapshots_per_server="5")
    child = nova.cloud.new_server({"imageRef": shared["id"]})
    assert alice.image(child).status_int == 202
    [of_child] = [image for image in glance.snapshots() if image["instance_uuid"] == child]
    assert of_child["imagefilter_expires"] == "never"


def test_an_id_in_another_spelling_is_the_same_server(tenant: Callable[..., Tenant]) -> None:
    alice = tenant(snapshots_per_server="1")
    alice.image()
    for server in (alice.server.upper(), alice.server.replace("-", "")):
        headers = {"X-Auth-Token": alice.glance.keystone.cached_token("alice")}
        document = {"createImage": {"name": "x"}}
        response = send(alice.app, "POST", f"/v2.1/servers/{server}/action", document, headers)
        assert response.status_int == 403


# --- backups


@pytest.mark.parametrize(
    ("existing", "rotation", "entity", "status"),
    [
        (2, 2, {}, 202),  # the oldest goes
        (2, 1, {}, 202),
        (2, 0, {}, 202),  # all go
        (2, "2", {}, 202),
        (2, 3, {}, 403),  # none would go
        (2, 2, {"backup_type": "weekly"}, 403),  # there is none of this type
        (2, 2, {"metadata": {"instance_uuid": "x"}}, 403),  # reserved
        (2, 2, {"metadata": {"Backup_Type": "x"}}, 403),
        (1, 9, {}, 202),  # there is room
    ],
)
def test_a_backup_at_the_limit(
    tenant: Callable[..., Tenant], existing: int, rotation: Any, entity: dict[str, Any], status: int
) -> None:
    alice = tenant(snapshots_per_server="2")
    for _ in range(existing):
        assert alice.backup(9).status_int == 202
    backup_type = entity.pop("backup_type", "daily")
    assert alice.backup(rotation, backup_type, **entity).status_int == status


def test_a_backup_at_the_limit_beside_what_rotation_can_not_delete(
    tenant: Callable[..., Tenant], glance: Glance
) -> None:
    alice = tenant(snapshots_per_server="2")
    alice.backup(9)
    alice.backup(9)
    oldest = min(glance.snapshots(), key=lambda image: image["created_at"])
    glance.change(oldest["id"], protected=True).raise_for_status()
    assert fault(alice.backup(2)) == (403, "Server snapshot limit exceeded (limit 2, in use 2)")
    glance.change(oldest["id"], protected=False, os_hidden=True).raise_for_status()
    assert alice.backup(2).status_int == 403, "Nova does not find a hidden one"
    glance.change(oldest["id"], os_hidden=False).raise_for_status()
    assert alice.backup(2).status_int == 202
    assert len(glance.snapshots()) == 2


@pytest.mark.parametrize(
    ("rotation", "message"),
    [
        (8, "Backup rotation too large (maximum 7, requested 8)"),
        ("8", "Backup rotation too large (maximum 7, requested 8)"),
        ("8\n", "Backup rotation too large (maximum 7, requested 8)"),
        ("0" * 30 + "8", "Backup rotation too large (maximum 7, requested 8)"),
        (10**30, f"Backup rotation too large (maximum 7, requested {10**30})"),
        (8.0, "Backup rotation too large (maximum 7, requested 8)"),
        (0, "Backup rotation too small (minimum 1, requested 0)"),
        (-0.0, "Backup rotation too small (minimum 1, requested 0)"),
        ("00", "Backup rotation too small (minimum 1, requested 0)"),
        (7, ""),
        (7.0, ""),
        (1, ""),
    ],
)
def test_the_rotation_of_a_backup(tenant: Callable[..., Tenant], rotation: Any, message: str) -> None:
    alice = tenant(backup_rotation_max="7", backup_rotation_min="1")
    response = alice.backup(rotation)
    if message:
        assert fault(response) == (403, message)
    else:
        assert response.status_int == 202


# --- who is bound, and how


def test_a_trial_counts_and_changes_nothing(tenant: Callable[..., Tenant], glance: Glance) -> None:
    alice = tenant(snapshots_per_server="1", mode="warn")
    alice.image()
    response = alice.image()
    assert response.status_int == 202
    assert "server-limit: Server snapshot limit exceeded (limit 1, in use 1)" in response.headers["Warning"]
    assert alice.record()["verdict"] == "would_deny"
    assert not any("imagefilter_server" in image for image in glance.snapshots())


def test_a_rule_in_trial_stamps(tenant: Callable[..., Tenant], glance: Glance) -> None:
    alice = tenant(snapshots_per_server="1", rule_modes="server-limit:warn")
    alice.image()
    assert alice.image().status_int == 202
    assert [image["imagefilter_server"] for image in glance.snapshots()] == [alice.server] * 2


def test_exempt_callers_are_not_bound_and_count(tenant: Callable[..., Tenant], glance: Glance) -> None:
    options = {"snapshots_per_server": "1", "exempt_roles": "backup"}
    night = tenant("night", **options)
    assert [night.image().status_int for _ in range(2)] == [202, 202]
    assert [image["imagefilter_server"] for image in glance.snapshots()] == [night.server] * 2
    assert fault(tenant("alice", **options).image()) == (403, "Server snapshot limit exceeded (limit 1, in use 2)")


def test_another_projects_limit_is_its_own(tenant: Callable[..., Tenant], nova: ServedNova) -> None:
    tenant(snapshots_per_project="1").image()
    bob = tenant("bob", snapshots_per_project="1")
    assert bob.image(nova.cloud.new_server(token="bob")).status_int == 202


@pytest.mark.parametrize("key", ["imagefilter_server", "ImageFilter_Stamped", "imagefilter_record ", "instance_uuid"])
def test_keys_that_counting_needs_are_reserved(tenant: Callable[..., Tenant], key: str) -> None:
    alice = tenant(snapshots_per_server="5")
    assert fault(alice.image(metadata={key: "x"}))[0] == 403
    assert tenant().image(metadata={key.strip(): "x"}).status_int == 202, "without a limit they are free"


def test_the_stamps_win(tenant: Callable[..., Tenant], glance: Glance) -> None:
    alice = tenant(snapshots_per_server="5", rule_modes="metadata-reserved:off")
    alice.image(metadata={"ImageFilter_Server": "forged", "imagefilter_record": "forged"})
    [image] = glance.snapshots()
    assert "forged" not in image.values()


@pytest.mark.parametrize(("count", "status"), [(114, 202), (115, 403)])
def test_items_and_stamps_that_glance_does_not_take(tenant: Callable[..., Tenant], count: int, status: int) -> None:
    alice = tenant(snapshots_per_server="5")
    response = alice.image(metadata={f"key{number}": "v" for number in range(count)})
    assert response.status_int == status
    if status == 403:
        assert fault(response)[1] == "Image metadata limit exceeded"


def test_no_limit_asks_nobody(tenant: Callable[..., Tenant], glance: Glance) -> None:
    alice = tenant(image_api_url="http://127.0.0.1:1")
    response = alice.image()
    assert (response.status_int, response.headers.get("X-Snapshot-Usage")) == (202, None)
    [image] = glance.snapshots()
    assert "imagefilter_server" not in image
    assert "lookup_seconds" not in alice.record()

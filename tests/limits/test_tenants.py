"""What a tenant gains by changing images in Glance: nothing, with the property protections that are shipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.keystone import Keystone
from tests.gateway.nova import ServedNova
from tests.limits.glance import Glance, serve_glance
from tests.limits.test_limits import Tenant, fault
from tests.paths import ETC

PROTECTIONS = ETC / "glance-property-protections.conf"


@pytest.fixture(scope="module")
def protected(keystone: Keystone, session_glance: Glance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    """A second Glance on the same database, with the protections; Nova asks the first."""
    folder: Path = tmp_path_factory.mktemp("protected")
    with serve_glance(keystone, folder, PROTECTIONS, database=session_glance.folder / "glance.db") as glance:
        yield glance
    keystone.publish("image", session_glance.url)


@pytest.mark.parametrize(
    ("change", "is_refused"),
    [
        ({"instance_uuid": "x"}, True),
        ({"instance_uuid": None}, True),
        ({"imagefilter_server": "x"}, True),
        ({"imagefilter_server": None}, True),
        ({"imagefilter_record": "x"}, True),
        ({"imagefilter_expires": "2126-01-01T00:00:00Z"}, True),
        ({"imagefilter_expires": None}, True),
        ({"image_type": "x"}, True),
        ({"os_hidden": True}, False),
        ({"visibility": "community"}, False),
        ({"protected": True}, False),
        ({"name": "another"}, False),
        ({"block_device_mapping": "[]"}, False),
        ({"own": "property"}, False),
    ],
    ids=str,
)
def test_no_change_frees_a_place(
    nova: ServedNova, glance: Glance, protected: Glance, change: dict[str, Any], is_refused: bool
) -> None:
    options = {"snapshots_per_server": "1", "snapshots_per_project": "1", "image_expires": "1d"}
    alice = Tenant(nova, glance, "alice", **options)
    assert alice.image().status_int == 202
    [image] = glance.snapshots()
    changed = protected.change(image["id"], **change)
    assert (changed.status_code == 403) is is_refused, changed.text
    assert fault(alice.image())[0] == 403


@pytest.mark.parametrize(
    "change", [{"block_device_mapping": None}, {"block_device_mapping": ""}, {"bdm_v2": None, "root_device_name": None}]
)
def test_no_change_of_an_image_on_volumes_frees_a_place(
    nova: ServedNova, glance: Glance, change: dict[str, Any]
) -> None:
    """Even without the protections."""
    alice = Tenant(nova, glance, "alice", snapshots_per_server="1", snapshots_per_project="1")
    with nova.cloud.on_volume():
        on_volume = nova.cloud.server
        assert alice.image(on_volume).status_int == 202
        [image] = glance.snapshots()
        assert "block_device_mapping" in image
        glance.change(image["id"], **change).raise_for_status()
        assert fault(alice.image(on_volume)) == (403, "Server snapshot limit exceeded (limit 1, in use 1)")
        assert fault(alice.image()) == (403, "Project snapshot limit exceeded (limit 1, in use 1)")


@pytest.mark.parametrize("change", [{"block_device_mapping": None}, {"block_device_mapping": ""}])
def test_a_volume_that_names_another_server_frees_no_place(
    nova: ServedNova, glance: Glance, protected: Glance, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nova copies what Cinder has of a volume's image; a tenant may write that, with instance_uuid among it."""
    other = "99999999-0000-4000-8000-000000000009"
    cinder = nova.cloud.cinder

    def get(api: Any, context: Any, volume_id: str, microversion: Any = None) -> dict[str, Any]:
        volume = cinder.fake_get(context, volume_id)
        metadata = volume.get("volume_image_metadata") or {}
        return {**volume, "volume_image_metadata": {**metadata, "instance_uuid": other}}

    monkeypatch.setattr("nova.volume.cinder.API.get", get)
    alice = Tenant(nova, glance, "alice", snapshots_per_server="1")
    server = nova.cloud.new_server(nova.cloud._boot_from_volume())
    assert alice.image(server).status_int == 202
    [image] = glance.snapshots()
    assert image["instance_uuid"] == other, "otherwise nothing is tried"
    assert protected.change(image["id"], **change).status_code == 403
    assert fault(alice.image(server)) == (403, "Server snapshot limit exceeded (limit 1, in use 1)")


def test_an_image_with_forged_marks_counts_against_its_owner(nova: ServedNova, glance: Glance) -> None:
    alice = Tenant(nova, glance, "alice", snapshots_per_server="1")
    glance.create(instance_uuid=alice.server, imagefilter_server="x")
    assert fault(alice.image())[0] == 403
    glance.create("bob", instance_uuid=alice.server, visibility="community")
    glance.delete_all()
    assert alice.image().status_int == 202, "another project's image is nothing to this one"


def test_nova_makes_images_and_backups_below_the_protections(
    nova: ServedNova, glance: Glance, protected: Glance
) -> None:
    alice = Tenant(nova, glance, "alice", snapshots_per_server="3")
    nova.cloud.flags(api_servers=[protected.url], group="glance")
    try:
        assert alice.image(metadata={"team": "blue"}).status_int == 202
        assert alice.backup(1).status_int == 202
        assert len(glance.snapshots()) == 2
    finally:
        nova.cloud.flags(api_servers=[glance.url], group="glance")

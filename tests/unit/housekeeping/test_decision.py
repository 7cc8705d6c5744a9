"""The table of images that must survive, each with its reason, and of those that need not."""

from __future__ import annotations

from typing import Any

import pytest

from imagefilter.housekeeping.decision import (
    OTHER_REASONS,
    OWN_REASONS,
    Kind,
    Server,
    Surroundings,
    why_keep_around,
    why_keep_itself,
)
from imagefilter.housekeeping.image import read_image
from tests.unit.housekeeping.fakes import OTHER_SERVER, SERVER, TERMS, at, orphan, snapshot

VOLUMES = '[{"snapshot_id": "bbbbbbbb-0000-4000-8000-000000000001", "source_type": "snapshot"}]'
SHELVED = {SERVER: Server("SHELVED_OFFLOADED", "")}
NOTHING_AROUND = Surroundings(servers={SERVER: Server("ACTIVE", "")}, is_booted_from=False, is_record_shared=False)

NOT_EXPIRED = "it has not expired"
NOT_STAMPED = "it is not stamped"
OTHER_STAMP = "it says it is of another server than its stamp"
OTHER_TIME = "it was not made when it was stamped"
TOO_LATE = "it had expired when it was made"
NOT_ACTIVE = "it is not active"
NO_ORPHAN = "it is not an orphan any more"

#: How a tenant or an operator came to have it: members of a snapshot that has expired, and why it is kept.
SURVIVORS: dict[str, tuple[dict[str, Any], str]] = {
    "protected": ({"protected": True}, "it is protected"),
    "a golden image that was published": ({"visibility": "public"}, "it is not private"),
    "offered to the community": ({"visibility": "community"}, "it is not private"),
    "shared with another project": ({"visibility": "shared"}, "it is not private"),
    "without an expiry": ({"imagefilter_expires": None}, NOT_EXPIRED),
    "not expired": ({"imagefilter_expires": at(seconds=-1)}, NOT_EXPIRED),
    "its expiry is no time": ({"imagefilter_expires": "soon"}, NOT_EXPIRED),
    "its expiry has no zone": ({"imagefilter_expires": "2026-11-01T00:00:00"}, NOT_EXPIRED),
    "its expiry is empty": ({"imagefilter_expires": ""}, NOT_EXPIRED),
    "an image that a tenant gave an expiry": (
        {"imagefilter_server": None, "imagefilter_stamped": None, "imagefilter_record": None},
        NOT_STAMPED,
    ),
    "its server's stamp was removed": ({"imagefilter_server": None}, NOT_STAMPED),
    "its server's stamp is no id": ({"imagefilter_server": "../servers"}, NOT_STAMPED),
    "its time stamp was removed": ({"imagefilter_stamped": None}, NOT_STAMPED),
    "its record was removed": ({"imagefilter_record": ""}, NOT_STAMPED),
    "uploading for hours": ({"status": "saving"}, NOT_ACTIVE),
    "waiting for its host": ({"status": "queued"}, NOT_ACTIVE),
    "importing": ({"status": "importing"}, NOT_ACTIVE),
    "deactivated by an administrator": ({"status": "deactivated"}, NOT_ACTIVE),
    "of a server booted from a stamped image": ({"instance_uuid": OTHER_SERVER}, OTHER_STAMP),
    "instance_uuid was removed": ({"instance_uuid": None}, OTHER_STAMP),
    "instance_uuid was changed": ({"instance_uuid": "x"}, OTHER_STAMP),
    "a copy of an expired one": ({"created_at": at(days=1)}, OTHER_TIME),
    "properties were restored into a newer image": ({"created_at": at(days=29, hours=23)}, OTHER_TIME),
    "stamped seven minutes before it was made": ({"imagefilter_stamped": at(days=30, minutes=7)}, OTHER_TIME),
    "the API host's clock is an hour early": ({"imagefilter_stamped": at(days=30, hours=1)}, OTHER_TIME),
    "the API host's clock is an hour late": ({"imagefilter_stamped": at(days=30, hours=-1)}, OTHER_TIME),
    "made at an unknown time": ({"created_at": None}, OTHER_TIME),
    "expires before it was stamped": ({"imagefilter_expires": at(days=31)}, TOO_LATE),
    "a copy that is made at once, of one that had expired": (
        {"created_at": at(days=30, minutes=-5), "imagefilter_expires": at(days=30, minutes=-4)},
        TOO_LATE,
    ),
}

#: Around an image that has expired, and why it is kept.
SURROUNDINGS: dict[str, tuple[dict[str, Any], str]] = {
    "a copy bears its record": ({"is_record_shared": True}, "another image bears its record"),
    "a server was booted from it": ({"is_booted_from": True}, "a server was booted from it"),
    "its server is shelved": ({"servers": SHELVED}, "its server is shelved"),
    "its server is shelved on its host": ({"servers": {SERVER: Server("SHELVED", "")}}, "its server is shelved"),
    "its server is being shelved": (
        {"servers": {SERVER: Server("ACTIVE", "shelving_image_uploading")}},
        "its server is busy with an image",
    ),
    "its server is being unshelved": (
        {"servers": {SERVER: Server("ACTIVE", "unshelving")}},
        "its server is busy with an image",
    ),
    "its server's cell is down": ({"servers": {SERVER: Server("UNKNOWN", "")}}, "its server can't be looked up"),
    "its server was not looked up": ({"servers": {}}, "its server can't be looked up"),
    "another server that it names is shelved": (
        {"servers": {SERVER: None, OTHER_SERVER: Server("SHELVED", "")}},
        "its server is shelved",
    ),
}

#: Members of an orphan, and why it is kept.
ORPHAN_SURVIVORS: dict[str, tuple[dict[str, Any], str]] = {
    "got its data": ({"status": "active"}, NO_ORPHAN),
    "is getting its data": ({"status": "saving"}, NO_ORPHAN),
    "a day old, but a second": ({"created_at": at(hours=23, minutes=59, seconds=59)}, NO_ORPHAN),
    "touched an hour ago": ({"updated_at": at(hours=1)}, NO_ORPHAN),
    "a record without data that no server made": ({"instance_uuid": None, "imagefilter_server": None}, NO_ORPHAN),
    "not made by Nova": ({"image_type": None}, NO_ORPHAN),
    "protected": ({"protected": True}, "it is protected"),
    "shared": ({"visibility": "shared"}, "it is not private"),
    "stamped for another server": ({"imagefilter_server": OTHER_SERVER}, OTHER_STAMP),
}

TASKS_OF_HOSTS = [
    "image_snapshot_pending",
    "image_snapshot",
    "image_pending_upload",
    "image_uploading",
    "image_backup",
    "shelving",
    "shelving_image_pending_upload",
    "shelving_image_uploading",
    "shelving_offloading",
    "unshelving",
]

#: Members of images that may be deleted.
DELETABLE: dict[str, dict[str, Any]] = {
    "as the filter made it": {},
    "hidden": {"os_hidden": True},
    "a second after it expired": {"imagefilter_expires": at(seconds=1)},
    "expired this very second": {"imagefilter_expires": at()},
    "made while Nova took its time": {"imagefilter_stamped": at(days=30, minutes=5)},
    "Glance's clock is half a minute early": {"imagefilter_stamped": at(days=30, seconds=-30)},
    "server written in capitals": {"instance_uuid": SERVER.upper()},
    "renamed": {"name": "precious"},
    "of a server on volumes": {"block_device_mapping": VOLUMES, "instance_uuid": None},
    "of a server on volumes, with a copied instance_uuid": {
        "block_device_mapping": VOLUMES,
        "instance_uuid": OTHER_SERVER,
    },
}


@pytest.mark.parametrize("members", DELETABLE.values(), ids=DELETABLE)
def test_may_be_deleted(members: dict[str, Any]) -> None:
    image = read_image(snapshot(**members))
    assert why_keep_itself(image, Kind.EXPIRED, TERMS) == ""
    around = NOTHING_AROUND._replace(servers=dict.fromkeys(image.servers))
    assert why_keep_around(image, Kind.EXPIRED, around) == ""


@pytest.mark.parametrize(("members", "reason"), SURVIVORS.values(), ids=SURVIVORS)
def test_must_survive(members: dict[str, Any], reason: str) -> None:
    assert why_keep_itself(read_image(snapshot(**members)), Kind.EXPIRED, TERMS) == reason


@pytest.mark.parametrize(("around", "reason"), SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_must_survive_because_of_what_is_around(around: dict[str, Any], reason: str) -> None:
    image = read_image(snapshot())
    assert why_keep_itself(image, Kind.EXPIRED, TERMS) == ""
    assert why_keep_around(image, Kind.EXPIRED, NOTHING_AROUND._replace(**around)) == reason


def test_an_orphan_may_be_deleted() -> None:
    image = read_image(orphan())
    assert why_keep_itself(image, Kind.ORPHAN, TERMS) == ""
    assert why_keep_around(image, Kind.ORPHAN, NOTHING_AROUND) == ""
    assert why_keep_around(image, Kind.ORPHAN, NOTHING_AROUND._replace(servers={SERVER: None})) == ""


def test_an_orphan_from_before_the_filter_may_be_deleted() -> None:
    stamps = dict.fromkeys(("imagefilter_server", "imagefilter_stamped", "imagefilter_record"))
    assert why_keep_itself(read_image(orphan(**stamps)), Kind.ORPHAN, TERMS) == ""


@pytest.mark.parametrize(("members", "reason"), ORPHAN_SURVIVORS.values(), ids=ORPHAN_SURVIVORS)
def test_is_no_orphan_to_delete(members: dict[str, Any], reason: str) -> None:
    assert why_keep_itself(read_image(orphan(**members)), Kind.ORPHAN, TERMS) == reason


@pytest.mark.parametrize("task", TASKS_OF_HOSTS)
def test_an_orphan_of_a_busy_server_survives(task: str) -> None:
    around = NOTHING_AROUND._replace(servers={SERVER: Server("ACTIVE", task)})
    assert why_keep_around(read_image(orphan()), Kind.ORPHAN, around) == "its server is busy with an image"


@pytest.mark.parametrize("task", ["", "rebooting", "powering-off", "resize_prep"])
def test_other_tasks_make_no_image(task: str) -> None:
    around = NOTHING_AROUND._replace(servers={SERVER: Server("ACTIVE", task)})
    assert why_keep_around(read_image(orphan()), Kind.ORPHAN, around) == ""


def test_each_reason_is_in_a_table() -> None:
    tables = (SURVIVORS, SURROUNDINGS, ORPHAN_SURVIVORS)
    texts = {reason for table in tables for _, reason in table.values()}
    assert texts == {reason.text for reason in OWN_REASONS} | {reason.text for reason in OTHER_REASONS}

"""Images as tenants can write them."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from imagefilter.housekeeping.image import read_image, read_time, read_uuid
from tests.unit.housekeeping.fakes import OTHER_SERVER, SERVER, snapshot

VOLUMES = '[{"source_type": "snapshot"}]'
UTC = datetime.timezone.utc


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-26T23:00:00Z", datetime.datetime(2026, 11, 26, 23, tzinfo=UTC)),
        ("2026-11-26T23:00:00.5Z".replace(".5", ".500000"), datetime.datetime(2026, 11, 26, 23, 0, 0, 500000, UTC)),
        ("2026-11-27T01:00:00+02:00", datetime.datetime(2026, 11, 26, 23, tzinfo=UTC)),
        ("2026-11-26T23:00:00", None),
        ("2026-11-26", None),
        ("", None),
        ("never", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("9999-12-31T23:59:59-01:00", None),
        (None, None),
        (1764198000, None),
        ("9" * 65535, None),
    ],
)
def test_reads_times_with_a_zone_only(text: Any, expected: datetime.datetime | None) -> None:
    assert read_time(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (SERVER, SERVER),
        (SERVER.upper(), SERVER),
        (f" {SERVER}\n", SERVER),
        (SERVER.replace("-", ""), SERVER),
        ("../images/x", ""),
        ("", ""),
        (None, ""),
        ([SERVER], ""),
    ],
)
def test_reads_ids(value: Any, expected: str) -> None:
    assert read_uuid(value) == expected


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, SERVER),
        ({"imagefilter_server": None}, SERVER),
        ({"instance_uuid": OTHER_SERVER}, OTHER_SERVER),
        ({"instance_uuid": None}, SERVER),  # its owner removed block_device_mapping
        ({"instance_uuid": None, "imagefilter_server": None}, ""),
        ({"block_device_mapping": VOLUMES, "instance_uuid": OTHER_SERVER}, SERVER),
        ({"block_device_mapping": VOLUMES, "instance_uuid": OTHER_SERVER, "imagefilter_server": None}, OTHER_SERVER),
    ],
)
def test_counts_for_the_server_that_it_was_made_of(members: dict[str, Any], expected: str) -> None:
    assert read_image(snapshot(**members)).counts_for == expected


@pytest.mark.parametrize("devices", ["", "[]", "{}", "[7]", "nonsense", "[" * 5000, '[{"snapshot_id": 5}]', "null"])
def test_nonsense_in_the_devices_names_no_snapshot(devices: str) -> None:
    assert read_image(snapshot(block_device_mapping=devices)).volume_snapshots == ()


@pytest.mark.parametrize("value", [None, 0, "", "False", [], {}])
def test_only_false_is_unprotected(value: Any) -> None:
    document = {**snapshot(), "protected": value}
    assert read_image(document).is_protected


@pytest.mark.parametrize("value", [None, 7, [], {}, True])
def test_any_type_of_any_member_is_read(value: Any) -> None:
    for name in snapshot():
        read_image({**snapshot(), name: value})

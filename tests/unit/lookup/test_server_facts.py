"""What own rules read of a server, out of what the compute API answers."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from imagefilter.lookup.server_facts import FLAVOR, Answers, read_facts
from imagefilter.rules.document import FIELDS

SERVER_FIELDS = [field.name for field in FIELDS if field.name.startswith("server.")]
SERVER: dict[str, Any] = {
    "id": "11111111-2222-4333-8444-555555555555",
    "name": "web-1",
    "status": "ACTIVE",
    "created": "2026-11-02T08:00:00Z",
    "locked": False,
    "tags": ["batch"],
    "metadata": {"k": "v"},
    "OS-EXT-AZ:availability_zone": "az1",
    "flavor": {"original_name": "m1", "vcpus": 2, "ram": 4, "disk": 8, "extra_specs": {"a": "b"}},
    "image": {"id": "i", "properties": {"os_distro": "x"}},
    "os-extended-volumes:volumes_attached": [],
}


def read(server: dict[str, Any], **answers: Any) -> tuple[dict[str, Any], dict[str, str]]:
    facts = read_facts(Answers({**SERVER, **server}, **answers), SERVER_FIELDS)
    return dict(facts.values), dict(facts.why_absent)


def test_all_of_it() -> None:
    values, _ = read({}, image={"name": "windows", "metadata": {"a": 1, "b": None, "c": "d"}})
    assert values == {
        "server.id": SERVER["id"],
        "server.name": "web-1",
        "server.status": "ACTIVE",
        "server.created": datetime.datetime(2026, 11, 2, 8, tzinfo=datetime.timezone.utc),
        "server.locked": False,
        "server.tags": ["batch"],
        "server.metadata": {"k": "v"},
        "server.availability_zone": "az1",
        "server.flavor.name": "m1",
        "server.flavor.vcpus": 2,
        "server.flavor.ram": 4,
        "server.flavor.disk": 8,
        "server.flavor.extra_specs": {"a": "b"},
        "server.image.id": "i",
        "server.image.name": "windows",
        "server.image.properties": {"a": "1", "c": "d"},
        "server.volume_backed": False,
        "server.volumes": [],
    }
    assert set(values) == set(SERVER_FIELDS)


@pytest.mark.parametrize("key", [key for key in SERVER if key not in ("name", "metadata")])
@pytest.mark.parametrize("value", [None, 5, "", [], {}, "x", True, 0.5, {"id": 5}, [None]])
def test_another_type_is_absent(key: str, value: Any) -> None:
    values, _ = read({key: value})
    for field, found in values.items():
        assert found is not None
        assert type(found) is type(read({}, image={"name": "n", "metadata": {}})[0][field])


def test_only_what_is_read_is_a_fact() -> None:
    assert read_facts(Answers(SERVER), ["server.name"]).values == {"server.name": "web-1"}


def test_an_empty_text_is_absent() -> None:
    values, _ = read({"OS-EXT-AZ:availability_zone": ""})  # a server that was never scheduled
    assert "server.availability_zone" not in values


def test_the_ids_of_volumes() -> None:
    values, _ = read({"os-extended-volumes:volumes_attached": [{"id": "v"}, 5, {"id": "w"}]})
    assert values["server.volumes"] == ["v", "w"]


def test_extra_specs_that_are_hidden() -> None:
    values, why_absent = read({"flavor": {"original_name": "m1"}})
    assert "server.flavor.extra_specs" not in values
    assert why_absent == {"server.flavor.extra_specs": "the compute API does not show them to the caller"}


@pytest.mark.parametrize("image", ["", None, {}, {"id": 5}])
def test_a_server_without_an_image(image: Any) -> None:
    _, why_absent = read({"image": image})
    fields = ("server.image.id", "server.image.name", "server.image.properties")
    assert why_absent == dict.fromkeys(fields, "the server was not booted from an image")


@pytest.mark.parametrize("missing", ["name", "metadata"])
def test_a_cell_that_is_down_has_no_facts(missing: str) -> None:
    server = {key: value for key, value in SERVER.items() if key != missing}
    facts = read_facts(Answers({**server, "status": "UNKNOWN"}), SERVER_FIELDS)
    assert facts.values == {}
    assert "the cell of the server is down" in facts.why_absent[""]


def test_a_flavor_of_its_own() -> None:
    flavor = {"id": "1"}
    own = {"name": "gpu", "vcpus": 1, "ram": 2, "disk": 3}
    values, _ = read({"flavor": flavor}, flavor=own, extra_specs={"a": "b"})
    assert [values[field] for field in FLAVOR] == ["gpu", 1, 2, 3]
    assert values["server.flavor.extra_specs"] == {"a": "b"}
    values, why_absent = read({"flavor": flavor}, flavor={})
    assert not set(FLAVOR) & set(values)
    assert why_absent["server.flavor.name"] == "the flavor is gone"


def test_an_image_that_is_gone() -> None:
    values, why_absent = read({"image": {"id": "i"}}, image={})
    assert values["server.image.id"] == "i"
    assert "server.image.properties" not in values
    gone = "the image is gone, or not the caller's to see"
    assert why_absent == {"server.image.name": gone, "server.image.properties": gone}


@pytest.mark.parametrize(
    ("image", "volumes", "attachments", "root", "expected"),
    [
        ("", 0, None, None, True),
        ("", 1, [{"device": "/dev/vda"}], None, True),
        ({"id": "i"}, 0, None, None, False),
        ({"id": "i"}, 1, [{"device": "/dev/vdb"}], None, False),
        ({"id": "i"}, 2, [{"device": "/dev/vdb"}, {"device": "/dev/sdz"}], None, False),
        # It may be the root device of a server that was booted from the image of one on a volume.
        ({"id": "i"}, 1, [{"device": "/dev/vda"}], None, None),
        ({"id": "i"}, 1, [{"device": "/dev/sda1"}], None, None),
        ({"id": "i"}, 2, [{"device": "/dev/vdb"}, {"device": "/dev/xvda"}], None, None),
        ({"id": "i"}, 1, [{"device": "vda"}], None, None),
        # An administrator is shown the root device.
        ({"id": "i"}, 1, [{"device": "/dev/vda"}], "/dev/vda", True),
        ({"id": "i"}, 1, [{"device": "/dev/sda"}], "/dev/vda", False),
        ({"id": "i"}, 1, [{"device": "/dev/vdc"}], "/dev/vdc", True),
        # What is not known is not guessed.
        ({"id": "i"}, 1, None, None, None),
        ({"id": "i"}, 1, [], None, None),
        ({"id": "i"}, 1, [{}], None, None),
        ({"id": "i"}, 1, [{}], "/dev/vda", None),
        ({"id": "i"}, 1, [5], None, None),
    ],
)
def test_volume_backed(image: Any, volumes: int, attachments: Any, root: str | None, expected: bool | None) -> None:
    server = {"image": image, "os-extended-volumes:volumes_attached": [{"id": "v"}] * volumes}
    if root:
        server["OS-EXT-SRV-ATTR:root_device_name"] = root
    values, why_absent = read(server, attachments=attachments)
    assert values.get("server.volume_backed") is expected
    assert ("server.volume_backed" in why_absent) is (expected is None)


def test_why_nobody_can_tell_whether_a_server_is_on_a_volume() -> None:
    _, why_absent = read({"os-extended-volumes:volumes_attached": [{"id": "v"}]})
    why = "the compute API shows the root device to administrators alone, and a volume may be it"
    assert why_absent["server.volume_backed"] == why

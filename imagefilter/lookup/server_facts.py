"""Read the fields of own rules out of what the compute API says of a server: each has its type, or is left out."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from imagefilter.rules.case import ServerFacts

EXTRA_SPECS = "server.flavor.extra_specs"
IMAGE_NAME = "server.image.name"
PROPERTIES = "server.image.properties"
VOLUME_BACKED = "server.volume_backed"

#: The fields of a flavor, by their names in a server, and in the flavor itself.
FLAVOR: Mapping[str, tuple[str, str, type]] = {
    "server.flavor.name": ("original_name", "name", str),
    "server.flavor.vcpus": ("vcpus", "vcpus", int),
    "server.flavor.ram": ("ram", "ram", int),
    "server.flavor.disk": ("disk", "disk", int),
}

_SERVER: Mapping[str, tuple[str, type]] = {
    "server.id": ("id", str),
    "server.name": ("name", str),
    "server.status": ("status", str),
    "server.locked": ("locked", bool),
    "server.tags": ("tags", list),
    "server.metadata": ("metadata", dict),
    "server.availability_zone": ("OS-EXT-AZ:availability_zone", str),
}

# The first device of each bus: hypervisors give it to the root disk.
_FIRST_DEVICE = re.compile(r"(?:/dev/)?(?:v|s|h|xv)da[0-9]*")

_CELL_IS_DOWN = "the cell of the server is down: the compute API answers only part of it"
_NO_ROOT = "the compute API shows the root device to administrators alone, and a volume may be it"


class Answers(NamedTuple):
    """What the compute API answered; None: it was not asked, or said that it does not show it."""

    server: dict[str, Any]
    flavor: dict[str, Any] | None = None  # empty: it is gone
    extra_specs: dict[str, Any] | None = None
    image: dict[str, Any] | None = None  # empty: it is gone
    attachments: list[Any] | None = None


def read_facts(answers: Answers, fields: Collection[str]) -> ServerFacts:
    """Return the values of some fields, and why others have none."""
    if "name" not in answers.server or "metadata" not in answers.server:
        return ServerFacts({}, {"": _CELL_IS_DOWN})
    values: dict[str, Any] = {}
    why_absent: dict[str, str] = {}
    _read_server(answers.server, values)
    _read_flavor(answers, values, why_absent)
    _read_image(answers, values, why_absent)
    _read_volumes(answers, values, why_absent)
    return ServerFacts({field: value for field, value in values.items() if field in fields}, why_absent)


def _read_server(server: Mapping[str, Any], values: dict[str, Any]) -> None:
    for field, (key, wanted) in _SERVER.items():
        value = server.get(key)
        if type(value) is wanted and value != "":
            values[field] = value
    created = _parse_time(server.get("created"))
    if created is not None:
        values["server.created"] = created


def _read_flavor(answers: Answers, values: dict[str, Any], why_absent: dict[str, str]) -> None:
    flavor = answers.server.get("flavor")
    if type(flavor) is not dict:
        return
    for field, (key, own_key, wanted) in FLAVOR.items():
        value = flavor.get(key)
        if answers.flavor is not None:
            value = answers.flavor.get(own_key)
        if type(value) is wanted:
            values[field] = value
        elif answers.flavor == {}:
            why_absent[field] = "the flavor is gone"
    extra_specs = flavor.get("extra_specs", answers.extra_specs)
    if type(extra_specs) is dict:
        values[EXTRA_SPECS] = extra_specs
    else:
        why_absent[EXTRA_SPECS] = "the compute API does not show them to the caller"


def _read_image(answers: Answers, values: dict[str, Any], why_absent: dict[str, str]) -> None:
    image = answers.server.get("image")
    if type(image) is not dict or type(image.get("id")) is not str:
        for field in ("server.image.id", IMAGE_NAME, PROPERTIES):
            why_absent[field] = "the server was not booted from an image"
        return
    values["server.image.id"] = image["id"]
    properties = image.get("properties")
    if answers.image is not None:
        properties = answers.image.get("metadata")
        if type(answers.image.get("name")) is str:
            values[IMAGE_NAME] = answers.image["name"]
    if type(properties) is dict:
        values[PROPERTIES] = _write_texts(properties)
    if answers.image == {}:
        why_absent[IMAGE_NAME] = why_absent[PROPERTIES] = "the image is gone, or not the caller's to see"


def _read_volumes(answers: Answers, values: dict[str, Any], why_absent: dict[str, str]) -> None:
    volumes = answers.server.get("os-extended-volumes:volumes_attached")
    if type(volumes) is not list:
        return
    values["server.volumes"] = [volume.get("id") for volume in volumes if type(volume) is dict]
    is_backed = _is_volume_backed(answers, len(volumes))
    if is_backed is None:
        why_absent[VOLUME_BACKED] = _NO_ROOT
    else:
        values[VOLUME_BACKED] = is_backed


def _is_volume_backed(answers: Answers, volumes: int) -> bool | None:
    """Return whether the root device is a volume; None if nobody can tell.

    A server that was booted from an image of a volume-backed server has the id of that image, and a volume all the
    same. A volume on another bus than the root disk's may be the first there.
    """
    if not answers.server.get("image"):
        return True
    if not volumes:
        return False
    return _is_root_attached(answers, volumes)


def _is_root_attached(answers: Answers, volumes: int) -> bool | None:
    if answers.attachments is None:
        return None
    devices = [attachment.get("device") for attachment in answers.attachments if type(attachment) is dict]
    root = answers.server.get("OS-EXT-SRV-ATTR:root_device_name")
    if type(root) is str and root in devices:
        return True
    if len(devices) < volumes or None in devices:
        return None
    if not root and any(_FIRST_DEVICE.fullmatch(str(device)) for device in devices):
        return None
    return False


def _write_texts(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return properties as texts: Nova decodes some of them."""
    texts = {}
    for key, value in properties.items():
        if type(value) is str:
            texts[key] = value
        elif value is not None:
            texts[key] = json.dumps(value)
    return texts


def _parse_time(text: Any) -> datetime.datetime | None:
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
    except (TypeError, ValueError):
        return None

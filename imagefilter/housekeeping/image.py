"""An image as Glance describes it, with the stamps that the filter set when it was made."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from oslo_utils import uuidutils

#: The properties that the filter sets.
SERVER = "imagefilter_server"
STAMPED = "imagefilter_stamped"
RECORD = "imagefilter_record"
EXPIRES = "imagefilter_expires"

#: The statuses of an image that is not finished.
IN_PROGRESS = frozenset(("queued", "saving", "uploading", "importing"))


class Image(NamedTuple):
    """What matters of an image. A time is None, and a text empty, if it is not there or is none."""

    id: str
    name: str
    owner: str
    status: str
    visibility: str
    is_protected: bool
    created_at: datetime.datetime | None
    updated_at: datetime.datetime | None
    size: int  # bytes
    instance_uuid: str
    image_type: str
    is_volume_backed: bool
    volume_snapshots: tuple[str, ...]  # ids of Cinder's
    server: str  # by its stamp
    stamped: datetime.datetime | None
    record: str
    expires: datetime.datetime | None

    @property
    def counts_for(self) -> str:
        """The id of the server that the image counts for; empty if it names none.

        Nova copies the properties of the image that a server was booted from into every image of that server. It sets
        ``instance_uuid`` afterwards, but not where the server boots from a volume. An owner may remove
        ``block_device_mapping`` from such an image, so the stamp alone counts as well.
        """
        if self.is_volume_backed:
            return self.server or self.instance_uuid
        return self.instance_uuid or self.server

    @property
    def is_of_a_server(self) -> bool:
        return bool(self.counts_for) or self.is_volume_backed

    @property
    def is_stamped(self) -> bool:
        return bool(self.server and self.stamped and self.record)

    @property
    def is_in_progress(self) -> bool:
        return self.status in IN_PROGRESS

    @property
    def servers(self) -> tuple[str, ...]:
        """All servers that the image names."""
        return tuple(dict.fromkeys(filter(None, (self.server, self.instance_uuid))))

    def has_expired(self, now: datetime.datetime) -> bool:
        return self.expires is not None and self.expires <= now


def read_image(document: Mapping[str, Any]) -> Image:
    """Read an image as ``GET /v2/images`` lists it. Whatever a tenant wrote into it is bounded by Glance alone."""
    devices = _text(document, "block_device_mapping")
    size = document.get("size")
    if type(size) is not int:
        size = 0
    return Image(
        id=_text(document, "id"),
        name=_text(document, "name"),
        owner=_text(document, "owner"),
        status=_text(document, "status"),
        visibility=_text(document, "visibility"),
        is_protected=document.get("protected") is not False,
        created_at=read_time(document.get("created_at")),
        updated_at=read_time(document.get("updated_at")),
        size=size,
        instance_uuid=read_uuid(document.get("instance_uuid")),
        image_type=_text(document, "image_type"),
        is_volume_backed=bool(devices),
        volume_snapshots=_read_snapshots(devices),
        server=read_uuid(document.get(SERVER)),
        stamped=read_time(document.get(STAMPED)),
        record=_text(document, RECORD),
        expires=read_time(document.get(EXPIRES)),
    )


def read_time(value: Any) -> datetime.datetime | None:
    """Read a time in ISO 8601 with a zone; None if it is not one."""
    if type(value) is not str:
        return None
    try:
        time = datetime.datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
        if time.tzinfo is None:
            return None
        time.astimezone(datetime.timezone.utc)
    except (ValueError, OverflowError):  # a tenant may write the year 1 of an eastern zone
        return None
    return time


def read_uuid(value: Any) -> str:
    """Return an id as Nova and Cinder write it; empty if it is not one."""
    if type(value) is str and uuidutils.is_uuid_like(value.strip()):
        return str(uuid.UUID(value.strip()))
    return ""


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if type(value) is str:
        return value
    return ""


def _read_snapshots(devices: str) -> tuple[str, ...]:
    """Return the ids of the volume snapshots that an image of a server on volumes consists of."""
    try:
        listed = json.loads(devices or "[]")
    except (ValueError, RecursionError):
        return ()
    if not isinstance(listed, list):
        return ()
    ids = []
    for device in listed:
        if isinstance(device, dict):
            ids.append(read_uuid(device.get("snapshot_id")))
    return tuple(dict.fromkeys(filter(None, ids)))

"""A cloud in memory, for the reaper and the census: see :class:`imagefilter.housekeeping.cloud.Cloud`."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Iterator
from typing import Any

from imagefilter.housekeeping.cloud import AskFailed, Document, Refused, VolumeSnapshot
from imagefilter.housekeeping.decision import Server, Terms
from imagefilter.housekeeping.image import RECORD, Image, read_time

PAGE = 3
NOW = datetime.datetime(2026, 12, 1, 12, tzinfo=datetime.timezone.utc)
TERMS = Terms(now=NOW, lock_lease=datetime.timedelta(seconds=300), older=datetime.timedelta(hours=24))

PROJECT = "11111111111111111111111111111111"
SERVER = "aaaaaaaa-0000-4000-8000-000000000001"
OTHER_SERVER = "aaaaaaaa-0000-4000-8000-000000000002"


def at(**ago: float) -> str:
    """Return a time before :data:`NOW`, as Glance writes it."""
    return (NOW - datetime.timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def snapshot(image_id: str = "1", **members: Any) -> dict[str, Any]:
    """Return an image that the filter stamped and that expired an hour ago; None takes a member away."""
    document: dict[str, Any] = {
        "id": image_id,
        "name": "nightly",
        "owner": PROJECT,
        "status": "active",
        "visibility": "private",
        "protected": False,
        "os_hidden": False,
        "created_at": at(days=30),
        "updated_at": at(days=30),
        "size": 2**30,
        "instance_uuid": SERVER,
        "image_type": "snapshot",
        "imagefilter_server": SERVER,
        "imagefilter_stamped": at(days=30, seconds=2),
        "imagefilter_record": f"record-{image_id}",
        "imagefilter_expires": at(hours=1),
    }
    document.update(members)
    return {name: value for name, value in document.items() if value is not None}


def orphan(image_id: str = "1", **members: Any) -> dict[str, Any]:
    """Return an image that has waited for its data for two days."""
    queued = {"status": "queued", "size": None, "created_at": at(days=2), "updated_at": at(days=2)}
    queued["imagefilter_stamped"] = at(days=2, seconds=1)
    queued["imagefilter_expires"] = None
    return snapshot(image_id, **{**queued, **members})


class FakeCloud:
    """A cloud in memory.

    :ivar deleted: the ids of images that were deleted, in order.
    :ivar refused: by the id of an image or a volume snapshot: the exception that its deletion raises.
    """

    def __init__(self, *images: dict[str, Any]) -> None:
        self.by_id = {image["id"]: image for image in images}
        self.server_documents: dict[str, dict[str, Any]] = {}
        self.volume_documents: list[dict[str, Any]] = []
        self.snapshots: dict[str, VolumeSnapshot] = {}
        self.deleted: list[str] = []
        self.refused: dict[str, Exception] = {}
        self.clock: datetime.timedelta | None = datetime.timedelta(0)
        self.boot(SERVER)
        self.boot(OTHER_SERVER)

    def boot(self, server_id: str, image_id: str = "base", status: str = "ACTIVE", task: str | None = None) -> None:
        """Add a server, or change it."""
        image: Any = {"id": image_id} if image_id else ""
        document = {"id": server_id, "status": status, "OS-EXT-STS:task_state": task, "image": image}
        self.server_documents[server_id] = document

    def clock_error(self) -> datetime.timedelta | None:
        return self.clock

    def images(self) -> Iterator[list[Document]]:
        yield from _pages(list(self.by_id.values()))

    def image(self, image_id: str) -> Document | None:
        return copy.deepcopy(self.by_id.get(image_id))

    def has_others_with_record(self, image: Image, since: datetime.datetime) -> bool:
        changed = [found for found in self.by_id.values() if read_time(found["updated_at"]) >= since]
        return any(found["id"] != image.id and found.get(RECORD) == image.record for found in changed)

    def servers(self) -> Iterator[list[Document]]:
        yield from _pages(list(self.server_documents.values()))

    def server(self, server_id: str) -> Server | None:
        document = self.server_documents.get(server_id)
        if document is None:
            return None
        return Server(document["status"], document["OS-EXT-STS:task_state"] or "")

    def is_booted_from(self, image_id: str) -> bool:
        return any(document["image"] == {"id": image_id} for document in self.server_documents.values())

    def volumes(self) -> Iterator[list[Document]]:
        yield from _pages(self.volume_documents)

    def delete_image(self, image_id: str) -> bool:
        if image_id in self.refused:
            raise self.refused[image_id]
        if image_id not in self.by_id:
            return False
        del self.by_id[image_id]
        self.deleted.append(image_id)
        return True

    def volume_snapshot(self, snapshot_id: str) -> VolumeSnapshot | None:
        return self.snapshots.get(snapshot_id)

    def delete_volume_snapshot(self, snapshot_id: str) -> bool:
        if snapshot_id in self.refused:
            raise self.refused[snapshot_id]
        self.deleted.append(snapshot_id)
        return self.snapshots.pop(snapshot_id, None) is not None


IN_USE = Refused(409, "409 the image is in use")
NO_ANSWER = AskFailed("image: DELETE: 500")


def _pages(documents: list[dict[str, Any]]) -> Iterator[list[Document]]:
    for start in range(0, len(documents), PAGE):
        yield [copy.deepcopy(document) for document in documents[start : start + PAGE]]


class MemoryJournal:
    """A journal in memory."""

    def __init__(self) -> None:
        self.records: list[tuple[str, ...]] = []
        self.error: OSError | None = None

    def write_verdict(self, deletion: Any) -> str:
        if self.error:
            raise self.error
        self.records.append(("verdict", deletion.action, deletion.volume_snapshot or deletion.image.id))
        return str(len(self.records))

    def write_outcome(self, deletion: Any, verdict_id: str, status: int | None, error: str = "") -> None:
        self.records.append(("outcome", deletion.volume_snapshot or deletion.image.id, str(status)))

"""What keeping house asks of a cloud and does in it, and how that can fail."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from imagefilter.housekeeping.decision import Server
from imagefilter.housekeeping.image import Image

Document = Mapping[str, Any]


class AskFailed(Exception):
    """An API did not answer a question, or not with what it was asked for."""


class Refused(Exception):
    """An API refused to delete something.

    :ivar status: of its response.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class VolumeSnapshot(NamedTuple):
    """A snapshot of Cinder's."""

    id: str
    project_id: str
    created_at: datetime.datetime | None


class Cloud(Protocol):
    """What keeping house asks and does. Each may raise AskFailed."""

    def clock_error(self) -> datetime.timedelta | None: ...
    def images(self) -> Iterator[list[Document]]: ...
    def image(self, image_id: str) -> Document | None: ...
    def has_others_with_record(self, image: Image, since: datetime.datetime) -> bool: ...
    def servers(self) -> Iterator[list[Document]]: ...
    def server(self, server_id: str) -> Server | None: ...
    def is_booted_from(self, image_id: str) -> bool: ...
    def volumes(self) -> Iterator[list[Document]]: ...
    def delete_image(self, image_id: str) -> bool: ...
    def volume_snapshot(self, snapshot_id: str) -> VolumeSnapshot | None: ...
    def delete_volume_snapshot(self, snapshot_id: str) -> bool: ...


def read_server(document: Mapping[str, Any]) -> Server:
    """Read a server as Nova shows it to an administrator; without its task state it is an unknown one."""
    if "OS-EXT-STS:task_state" not in document:
        return Server("UNKNOWN", "")
    return Server(str(document.get("status")), str(document["OS-EXT-STS:task_state"] or ""))

"""The first look at a cloud: which images are candidates, and what is known of all others at once.

It keeps ids only, so that a cloud of any size fits: about 300 bytes for each image and server.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Callable, NamedTuple

from imagefilter.housekeeping.cloud import AskFailed, Cloud, read_server
from imagefilter.housekeeping.decision import Kind, Terms, is_expired, is_orphan
from imagefilter.housekeeping.image import Image, read_image

#: Called with what was read so far: how many, and of what.
Progress = Callable[[int, str], None]


class Survey(NamedTuple):
    """What the first look found."""

    candidates: dict[str, Kind]  # by the id of the image
    shared_records: frozenset[str]  # borne by more than one image
    shared_snapshots: frozenset[str]  # volume snapshots that more than one image names
    boot_images: frozenset[str]  # that servers were booted from


class _Repeated:
    """Remembers which texts come more than once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self.repeated: set[str] = set()

    def add(self, text: str) -> None:
        if text in self._seen:
            self.repeated.add(text)
        self._seen.add(text)


def survey(cloud: Cloud, terms: Terms, kinds: Iterable[Kind], progress: Progress) -> Survey:
    """Read all images, servers and volumes once.

    :raises AskFailed: if one can't be read: nothing may be deleted then.
    """
    kinds = tuple(kinds)
    candidates: dict[str, Kind] = {}
    records, snapshots = _Repeated(), _Repeated()
    count = 0
    for page in cloud.images():
        for document in page:
            image = read_image(document)
            kind = _find_kind(image, terms, kinds)
            if kind:
                candidates[image.id] = kind
            records.add(image.record)
            for snapshot in image.volume_snapshots:
                snapshots.add(snapshot)
        count += len(page)
        progress(count, "images")
    boot_images = _read_boot_images(cloud, progress)
    return Survey(candidates, frozenset(records.repeated), frozenset(snapshots.repeated), frozenset(boot_images))


def _find_kind(image: Image, terms: Terms, kinds: tuple[Kind, ...]) -> Kind | None:
    if Kind.EXPIRED in kinds and is_expired(image, terms):
        return Kind.EXPIRED
    if Kind.ORPHAN in kinds and is_orphan(image, terms):
        return Kind.ORPHAN
    return None


def _read_boot_images(cloud: Cloud, progress: Progress) -> set[str]:
    images: set[str] = set()
    count = 0
    for page in cloud.servers():
        for document in page:
            if read_server(document).status == "UNKNOWN":
                raise AskFailed(f"the cell of server {document['id']} is down: nobody knows which images it needs")
            images.add(_id_of(document.get("image")))
        count += len(page)
        progress(count, "servers")
    for page in cloud.volumes():
        for document in page:
            if document.get("attachments"):
                images.add(_id_of(document.get("volume_image_metadata"), "image_id"))
    images.discard("")
    return images


def _id_of(document: object, key: str = "id") -> str:
    """Return the id of the image of a server; empty if it has none, as a server that boots from a volume."""
    if isinstance(document, dict):
        return str(document.get(key) or "")
    return ""

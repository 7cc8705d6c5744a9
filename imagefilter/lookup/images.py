"""Count images: ask the image API, with the caller's token, for the images that the caller's project owns.

Truth is the image API's; there is no table of ours that could drift from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from imagefilter.lookup.session import CallerSession
from imagefilter.policy.limits import STAMPS
from imagefilter.policy.policy import ImageAPIOptions

# The statuses of an image that is not finished.
_UNFINISHED = frozenset(("queued", "saving", "uploading", "importing"))

# Glance lists what is left of an image that two clients deleted at once.
_DELETED = ("deleted", "pending_delete")

_PAGE = 1000  # Glance's own maximum (api_limit_max)
_MAX_BYTES = 16 << 20  # of all pages of a count


class Image(NamedTuple):
    """What counts of an image of a server."""

    id: str
    server_id: str  # of which it counts
    is_finished: bool
    is_hidden: bool
    is_protected: bool
    created_at: str
    instance_uuid: str
    image_type: str
    backup_type: str


class ImageQuery(NamedTuple):
    """Which images of a project are asked for; with a server only those that say they are of it."""

    project_id: str
    server_id: str | None


def list_images(url: str, token: str, query: ImageQuery, options: ImageAPIOptions, seconds: float) -> list[Image]:
    """Return the images of servers that a project owns: of any visibility, hidden ones too, in any state.

    :param url: of the image API.
    :param seconds: how long it may take.
    :raises LookupFailed: if it takes longer, if there is too much of it, or if the answer is none.
    """
    failure = f"the images of project {query.project_id} could not be counted by the image API"
    with CallerSession(token, options.ca_file, seconds, _MAX_BYTES, failure) as session:
        reading = _Reading(session, f"{url}/v2/images")
        found = {}
        for parameters in _build_queries(query):
            for document in reading.pages(parameters):
                image = _read_image(document, query.project_id)
                if image and query.server_id in (None, image.server_id):
                    found[image.id] = image
        return list(found.values())


def count_rotated_out(images: Iterable[Image], server_id: str, backup_type: str, rotation: int) -> int | None:
    """Return how many images Nova deletes after a backup; None if it can't delete them all.

    As ``nova/compute/manager.py`` ``_rotate_backups()`` finds them: not hidden ones, by three properties, the oldest
    first; the new backup is among them.
    """
    wanted = (False, server_id, "backup", backup_type)
    backups = []
    for image in images:
        if (image.is_hidden, image.instance_uuid, image.image_type, image.backup_type) == wanted:
            backups.append(image)
    backups.sort(key=lambda image: image.created_at)
    excess = max(len(backups) + 1 - rotation, 0)
    for image in backups:
        # Of two that were made in the same second, nobody can say which one goes.
        may_go = excess and image.created_at <= backups[min(excess, len(backups)) - 1].created_at
        if may_go and image.is_protected:
            return None
    return excess


def _build_queries(query: ImageQuery) -> Iterator[dict[str, str]]:
    filters: list[dict[str, str]] = [{}]
    if query.server_id:
        filters = [{"instance_uuid": query.server_id}, {STAMPS[0]: query.server_id}]
    for own in filters:
        for hidden in ("false", "true"):  # Glance lists either
            yield {"owner": query.project_id, "os_hidden": hidden, "limit": str(_PAGE), **own}


class _Reading:
    """Reads pages of images."""

    def __init__(self, session: CallerSession, url: str) -> None:
        self._session = session
        self._url = url

    def pages(self, parameters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Yield the images on all pages. Of a page's ``next`` only the marker is used: the rest of it is ours."""
        markers: list[str] = []
        while True:
            own = dict(parameters)
            if markers:
                own["marker"] = markers[-1]
            page = self._session.get(self._url, own)
            images = page.get("images")
            if not isinstance(images, list) or not all(map(_has_id, images)):
                raise self._session.fail("its answer is no list of images")
            yield from images
            if not page.get("next"):
                return
            marker = _read_marker(page["next"])
            if not marker or marker in markers:
                raise self._session.fail("its pages have no end")
            markers.append(marker)


def _read_image(document: Mapping[str, Any], project_id: str) -> Image | None:
    """Return an image if it is one of a server and the project owns it.

    Nova copies the properties of the image that a server was booted from into every image of that server, our stamps
    included; ``instance_uuid`` it sets afterwards, but not where the server boots from a volume. An owner may remove
    ``block_device_mapping`` from such an image, so the stamp alone counts as well.
    """
    server_id = _text(document, "instance_uuid")
    if _text(document, "block_device_mapping") or not server_id:
        server_id = _text(document, STAMPS[0]) or server_id
    if not server_id or document.get("owner") != project_id or document.get("status") in _DELETED:
        return None
    return Image(
        id=_text(document, "id"),
        server_id=server_id.lower(),
        is_finished=_text(document, "status") not in _UNFINISHED,
        is_hidden=document.get("os_hidden") is True,
        is_protected=document.get("protected") is not False,
        created_at=_text(document, "created_at"),
        instance_uuid=_text(document, "instance_uuid").lower(),
        image_type=_text(document, "image_type"),
        backup_type=_text(document, "backup_type"),
    )


def _has_id(image: Any) -> bool:
    return isinstance(image, dict) and bool(_text(image, "id"))


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if isinstance(value, str):
        return value
    return ""


def _read_marker(link: Any) -> str:
    if not isinstance(link, str):
        return ""
    try:
        markers = parse_qs(urlsplit(link).query).get("marker", [""])
    except ValueError:
        return ""
    return markers[-1]

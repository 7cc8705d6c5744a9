"""Count images of servers by project and server. Only counters are kept, whatever the number of images."""

from __future__ import annotations

from typing import NamedTuple

from imagefilter.housekeeping.cloud import Cloud
from imagefilter.housekeeping.decision import Server, Terms, is_busy_with_image, is_expired, is_orphan
from imagefilter.housekeeping.image import Image, read_image
from imagefilter.housekeeping.survey import Progress

#: The server of images that name none: volume-backed ones that are not stamped.
UNKNOWN = ""


class Place(NamedTuple):
    """Whose images are counted together."""

    project_id: str
    server_id: str


class Count:
    """How many images of servers there are of each sort."""

    __slots__ = ("expired", "images", "in_progress", "orphans", "size", "unstamped")

    def __init__(self) -> None:
        self.images = self.in_progress = self.expired = self.unstamped = self.orphans = 0
        self.size = 0  # bytes

    def add(self, other: Count) -> None:
        """Add what another one counts."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Census:
    """The counts of a cloud, by project and server."""

    def __init__(self) -> None:
        self.places: dict[Place, Count] = {}
        self._names: dict[str, str] = {}  # one object for each id: json makes one for each image

    def by_project(self) -> dict[str, tuple[Count, int]]:
        """Return the counts of each project, and how many servers have images in it."""
        projects: dict[str, tuple[Count, int]] = {}
        for place, count in self.places.items():
            total, servers = projects.get(place.project_id, (Count(), 0))
            total.add(count)
            projects[place.project_id] = total, servers + (place.server_id != UNKNOWN)
        return projects

    def add(self, image: Image, terms: Terms) -> Count:
        """Count an image of a server; return what it was added to."""
        count = self.places.setdefault(self._place(image), Count())
        count.images += 1
        count.size += image.size
        count.in_progress += image.is_in_progress
        count.expired += is_expired(image, terms)
        count.unstamped += not image.is_stamped
        return count

    def _place(self, image: Image) -> Place:
        project_id, server_id = image.owner, image.counts_for
        return Place(self._names.setdefault(project_id, project_id), self._names.setdefault(server_id, server_id))


def take_census(cloud: Cloud, terms: Terms, progress: Progress) -> Census:
    """Count the images of servers of all projects.

    :raises AskFailed: if they can't be read.
    """
    census = Census()
    waiting: list[tuple[str, Count]] = []  # the server of each image that may be an orphan
    total = 0
    for page in cloud.images():
        for image in map(read_image, page):
            if not image.is_of_a_server:
                continue
            count = census.add(image, terms)
            if is_orphan(image, terms):
                waiting.append((image.instance_uuid, count))
        total += len(page)
        progress(total, "images")
    _count_orphans(cloud, waiting, progress)
    return census


def _count_orphans(cloud: Cloud, waiting: list[tuple[str, Count]], progress: Progress) -> None:
    servers: dict[str, Server | None] = {}
    for number, (server_id, count) in enumerate(waiting, 1):
        if server_id not in servers:
            servers[server_id] = cloud.server(server_id)
        server = servers[server_id]
        count.orphans += server is None or not is_busy_with_image(server)
        progress(number, f"of {len(waiting)} images that wait for their data")

"""The Glance of :mod:`tests.real.glance`, as the tests of limits ask it: as alice, unless they say otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from tests.gateway.keystone import Keystone
from tests.real import glance as real_glance
from tests.waiting import wait_until


class Glance:
    """A Glance, started by :func:`serve_glance`."""

    def __init__(self, keystone: Keystone, url: str, folder: Path) -> None:
        self.keystone = keystone
        self.url = url
        self.folder = folder

    def request(self, method: str, path: str, user: str = "alice", **options: Any) -> requests.Response:
        """Send a request as one of Keystone's users; fail if it is refused."""
        response = self.send(method, path, user, **options)
        response.raise_for_status()
        return response

    def send(self, method: str, path: str, user: str = "alice", **options: Any) -> requests.Response:
        """Send a request as one of Keystone's users."""
        headers = {"X-Auth-Token": self.keystone.cached_token(user), **options.pop("headers", {})}
        return requests.request(method, f"{self.url}/v2{path}", headers=headers, timeout=60, **options)

    def images(self, user: str = "alice") -> list[dict[str, Any]]:
        """Return the images that a user's project owns, hidden ones too."""
        owner = self.keystone.project_of(user)
        images: list[dict[str, Any]] = []
        for hidden in ("false", "true"):
            page = self.request("GET", f"/images?limit=1000&owner={owner}&os_hidden={hidden}", user)
            images += page.json()["images"]
        # What is left of an image that two clients deleted at once.
        return [image for image in images if image["status"] != "deleted"]

    def snapshots(self, user: str = "alice") -> list[dict[str, Any]]:
        """Return those of them that are of a server, as a person would tell them."""
        return [image for image in self.images(user) if image.get("instance_uuid") or image.get("imagefilter_server")]

    def create(self, user: str = "alice", **fields: Any) -> dict[str, Any]:
        """Make the record of an image."""
        document = {"name": "an image", "disk_format": "raw", "container_format": "bare", **fields}
        made: dict[str, Any] = self.request("POST", "/images", user, json=document).json()
        return made

    def upload(self, image_id: str, user: str = "alice", data: bytes = b"data") -> None:
        """Give an image its data, as a compute host does; it is active then."""
        if not self.request("GET", f"/images/{image_id}", user).json()["disk_format"]:
            self.change(image_id, user, disk_format="raw", container_format="bare").raise_for_status()
        headers = {"Content-Type": "application/octet-stream"}
        self.request("PUT", f"/images/{image_id}/file", user, data=data, headers=headers)

    def change(self, image_id: str, user: str = "alice", **fields: Any) -> requests.Response:
        """Set fields of an image; None removes one."""
        operations = []
        for name, value in fields.items():
            operation = {"op": "add", "path": f"/{name}", "value": value}
            if value is None:
                operation = {"op": "remove", "path": f"/{name}"}
            operations.append(operation)
        media_type = "application/openstack-images-v2.1-json-patch"
        return self.send("PATCH", f"/images/{image_id}", user, json=operations, headers={"Content-Type": media_type})

    def delete(self, image_id: str, user: str = "alice") -> None:
        self.request("DELETE", f"/images/{image_id}", user)

    def delete_all(self, user: str = "alice") -> None:
        """Delete all images of a user's project but those that servers boot from."""
        wait_until(lambda: not self._delete_some(user), interval=0.1)

    def _delete_some(self, user: str) -> list[dict[str, Any]]:
        images = [image for image in self.images(user) if image["visibility"] != "public"]
        for image in images:
            if image["protected"]:
                self.change(image["id"], user, protected=False)
            self.send("DELETE", f"/images/{image['id']}", user)  # somebody else may just have deleted it
        return images


@contextlib.contextmanager
def serve_glance(
    keystone: Keystone, folder: Path, protections: Path | None = None, database: Path | None = None
) -> Iterator[Glance]:
    """Run a Glance, and put its endpoints into the catalog.

    :param protections: a property-protections file.
    :param database: of another Glance, to share it.
    """
    folder.mkdir(exist_ok=True)
    connection = f"sqlite:///{database or folder / 'glance.db'}?timeout=60"
    settings = {"database": {"connection": connection}}
    # One request at a time: sqlite would refuse some of two that write, and Nova's rotation does not try again.
    with real_glance.serve_glance(folder, keystone, settings, protections, threads=1) as served:
        keystone.publish("image", served.url)
        yield Glance(keystone, served.url, folder)

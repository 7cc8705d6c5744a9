"""Servers for the operator's own rules: with a GPU, a large disk, a licensed image, and a volume."""

from __future__ import annotations

from typing import Any

from tests.cases import PROJECT
from tests.nova.cloud import Cloud, microversion
from tests.wsgi import send

ADMIN = {"X-Auth-Token": "admin"}
WINDOWS = "aaaaaaaa-0000-4000-8000-000000000001"


class OwnServers:
    """The ids of some servers, each booted when it is first asked for."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._ids = {"plain": cloud.server}
        self._flavors: dict[str, str] = {}
        self._boots = {
            "gpu": lambda: {"flavorRef": self.flavor("gpu.large", extra_specs={"hw:cpu_policy": "dedicated"})},
            "large": lambda: {"flavorRef": self.flavor("m1.huge", disk=2000)},
            "windows": self._boot_windows,
            "volume": cloud._boot_from_volume,
        }

    def __getitem__(self, name: str) -> str:
        if name not in self._ids:
            self._ids[name] = self._cloud.new_server({"name": name, **self._boots[name]()})
        return self._ids[name]

    def flavor(self, name: str, disk: int = 1, extra_specs: dict[str, str] | None = None) -> str:
        """Make a flavor and return its id."""
        if name not in self._flavors:
            flavor = {"name": name, "ram": 512, "vcpus": 1, "disk": disk}
            made = send(self._cloud.bare, "POST", "/v2.1/flavors", {"flavor": flavor}, ADMIN)
            self._flavors[name] = made.json["flavor"]["id"]
            path = f"/v2.1/flavors/{self._flavors[name]}/os-extra_specs"
            specs = {"extra_specs": extra_specs or {"hw:mem_page_size": "any"}}
            assert send(self._cloud.bare, "POST", path, specs, ADMIN).status_int == 200
        return self._flavors[name]

    def _boot_windows(self) -> dict[str, Any]:
        add_image(self._cloud, WINDOWS, {"os_distro": "windows", "licence": "4711"})
        return {"imageRef": WINDOWS}


def add_image(cloud: Cloud, image_id: str, properties: dict[str, Any]) -> None:
    """Add an image to the fake image service."""
    image = {
        "id": image_id,
        "name": "windows-2022",
        "status": "active",
        "visibility": "public",
        "owner": PROJECT,
        "container_format": "raw",
        "disk_format": "raw",
        "min_ram": 0,
        "min_disk": 0,
        "size": 1,
        "protected": False,
        "created_at": None,
        "updated_at": None,
        "deleted_at": None,
        "deleted": False,
        "tags": [],
        "properties": properties,
    }
    import datetime

    image["created_at"] = image["updated_at"] = datetime.datetime(2026, 1, 1)
    cloud.base_images.add(image_id)
    cloud.glance.create(None, image)
    cloud.images()


def attach_volume(cloud: Cloud, server: str) -> None:
    """Attach a volume to a server."""
    document = {"volumeAttachment": {"volumeId": cloud.cinder.SWAP_OLD_VOL}}
    path = f"/v2.1/servers/{server}/os-volume_attachments"
    headers = {"X-Auth-Token": "member", **microversion("2.60")}
    response = send(cloud.bare, "POST", path, document, headers)
    assert response.status_int == 200, response.text
    cloud.settle(server)

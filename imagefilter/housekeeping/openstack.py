"""A cloud of OpenStack's, seen as an administrator: its images, and what may need them.

Several regions may share one Glance, under one name or several. A server of any of them may need an image, so the
compute services of all regions are asked.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from keystoneauth1.adapter import Adapter

from imagefilter.housekeeping.apis import API, quote_id
from imagefilter.housekeeping.cloud import AskFailed, Document, VolumeSnapshot, read_server
from imagefilter.housekeeping.decision import Server
from imagefilter.housekeeping.image import RECORD, Image, read_time

_ALL = {"all_tenants": "1"}
_EVERY = {"visibility": "all"}  # without it an administrator sees no community images

# Nova leaves out servers that are deleted and can be restored; a restored one needs its image again.
_ALL_SERVERS = {**_ALL, "soft_deleted": "1"}

# From 2.69 on Nova shows what it can't tell of a cell that is down, with status UNKNOWN.
_COMPUTE_VERSION = "2.69"


class OpenStack:
    """A cloud of OpenStack's, see :class:`Cloud`.

    :param computes: Nova, of each region.
    :param volumes: Cinder, likewise; there may be none.
    :param login_error: how far this host's clock is from Keystone's, by the token that it has just issued.
    """

    def __init__(
        self, images: API, computes: list[API], volumes: list[API], login_error: datetime.timedelta | None = None
    ) -> None:
        self._images = images
        self._computes = computes
        self._volumes = volumes
        self._login_error = login_error

    def clock_error(self) -> datetime.timedelta | None:
        """Return how far this host's clock is from Glance's, or from Keystone's if Glance does not say."""
        self._images.find("/images", {"limit": "1"})
        if self._images.clock_error is None:
            return self._login_error
        return self._images.clock_error

    def images(self) -> Iterator[list[Document]]:
        """List all images of all projects, hidden ones too."""
        for hidden in ("false", "true"):
            params = {**_EVERY, "os_hidden": hidden, "sort": "created_at:desc,id:desc"}
            yield from self._images.pages("/images", "images", params)

    def image(self, image_id: str) -> Document | None:
        """Return an image as it is now; None if it is gone."""
        return self._images.find(f"/images/{quote_id(image_id)}")

    def has_others_with_record(self, image: Image, since: datetime.datetime) -> bool:
        """Return whether another image bears the same record, among those that were made or changed since a time.

        Glance has no index on properties, but one on the time.
        """
        updated = since.astimezone(datetime.timezone.utc).strftime("gte:%Y-%m-%dT%H:%M:%SZ")
        for hidden in ("false", "true"):
            params = {**_EVERY, "os_hidden": hidden, "updated_at": updated, RECORD: image.record}
            for page in self._images.pages("/images", "images", params):
                if any(document["id"] != image.id for document in page):
                    return True
        return False

    def servers(self) -> Iterator[list[Document]]:
        """List the servers of all projects."""
        for compute in self._computes:
            _check_cells(compute)
            yield from compute.pages("/servers/detail", "servers", _ALL_SERVERS)

    def server(self, server_id: str) -> Server | None:
        """Return a server; None if no region has it."""
        for compute in self._computes:
            document = compute.find(f"/servers/{quote_id(server_id)}")
            if document is not None:
                return read_server(document.get("server", {}))
        return None

    def is_booted_from(self, image_id: str) -> bool:
        """Return whether there is a server that was booted from an image."""
        params = {**_ALL_SERVERS, "image": image_id}
        for compute in self._computes:
            if any(compute.pages("/servers", "servers", params)):
                return True
            _check_cells(compute)
        return False

    def volumes(self) -> Iterator[list[Document]]:
        """List the volumes of all projects."""
        for api in self._volumes:
            yield from api.pages("/volumes/detail", "volumes", _ALL)

    def delete_image(self, image_id: str) -> bool:
        """Delete an image; return False if it was gone.

        :raises Refused: if Glance refuses.
        """
        return self._images.delete(f"/images/{quote_id(image_id)}")

    def volume_snapshot(self, snapshot_id: str) -> VolumeSnapshot | None:
        """Return a snapshot of a volume; None if no region has it."""
        for api in self._volumes:
            document = api.find(f"/snapshots/{quote_id(snapshot_id)}")
            if document is not None:
                return _read_volume_snapshot(document.get("snapshot", {}))
        return None

    def delete_volume_snapshot(self, snapshot_id: str) -> bool:
        """Delete a snapshot of a volume; return False if it was gone.

        :raises Refused: if Cinder refuses.
        """
        return any(api.delete(f"/snapshots/{quote_id(snapshot_id)}") for api in self._volumes)


def _check_cells(compute: API) -> None:
    """Make sure that a list of servers is complete.

    Nova silently leaves out the servers of a cell that is down from a list that has pages or filters
    (nova/api/openstack/compute/servers.py _is_cell_down_supported). The list of its services has no pages, and at 2.69
    names those of such a cell.

    :raises AskFailed: if a cell is down.
    """
    document = compute.get("/os-services")
    services = document.get("services")
    if not isinstance(services, list):
        raise AskFailed(f"{compute.name}: GET /os-services: there is no list 'services' in the response")
    for service in services:
        if not isinstance(service, dict) or service.get("status") == "UNKNOWN":
            raise AskFailed(f"{compute.name}: a cell is down: nobody knows which images its servers need")


def _read_volume_snapshot(document: Mapping[str, Any]) -> VolumeSnapshot:
    created = document.get("created_at")
    if isinstance(created, str) and not created.endswith("Z"):  # Cinder writes UTC without saying so
        created += "Z"
    project_id = document.get("os-extended-snapshot-attributes:project_id", "")
    return VolumeSnapshot(str(document.get("id")), str(project_id), read_time(created))


def connect(connection: Any) -> OpenStack:
    """Find the APIs of a cloud in its catalog.

    :param connection: of openstacksdk.
    :raises AskFailed: if one is missing, or it is not clear which Glance is meant.
    """
    interface = connection.config.get_interface("image") or "public"
    access = connection.session.auth.get_access(connection.session)
    login_error = abs(datetime.datetime.now(datetime.timezone.utc) - access.issued)
    catalog = access.service_catalog

    def find(service_type: str) -> dict[str, Adapter]:
        """Return an adapter for each region that has a service."""
        adapters = {}
        for endpoints in catalog.get_endpoints_data(service_type=service_type, interface=interface).values():
            for endpoint in endpoints:
                name = endpoint.region_name
                adapters[name] = Adapter(
                    connection.session, service_type=service_type, interface=interface, region_name=name
                )
        return adapters

    images = _choose(find("image"), connection.config.get_region_name("image"), interface)
    images.min_version, images.max_version = "2", "2.latest"
    computes = [API(adapter, f"compute ({name})", _COMPUTE_VERSION) for name, adapter in find("compute").items()]
    volumes = [API(adapter, f"block-storage ({name})") for name, adapter in find("block-storage").items()]
    if not computes:
        raise AskFailed(f"the catalog has no compute service (interface {interface})")
    return OpenStack(API(images, "image"), computes, volumes, login_error)


def _choose(adapters: dict[str, Adapter], region: str | None, interface: str) -> Adapter:
    if region is None and len(adapters) == 1:
        [region] = adapters
    if region is None:
        regions = ", ".join(sorted(adapters)) or "none"
        raise AskFailed(f"the region is not clear; the catalog has these with an image service: {regions}")
    if region not in adapters:
        raise AskFailed(f"the catalog has no image service in the region {region} (interface {interface})")
    return adapters[region]

"""The Nova of :mod:`tests.nova.cloud` with a real Glance in place of its fake image service."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any, Callable
from unittest import mock

import tests.nova.cloud  # noqa: F401  # chooses how Nova runs its threads, before all other modules of Nova

import nova.conf  # isort: skip
from nova.image import glance as nova_glance
from nova.tests.fixtures.cast_as_call import CastAsCallFixture
from nova.virt import fake
from oslo_messaging.rpc import client

from tests.real.glance import Glance


class Host:
    """What the compute host does with snapshots.

    :ivar mode: ``upload``, ``wait`` or ``fail``.
    """

    def __init__(self) -> None:
        self.mode = "upload"
        self._waiting: dict[str, Callable[[], None]] = {}

    def snapshot(self, context: Any, image_id: str) -> None:
        """Take the place of the fake hypervisor, which makes no data."""
        if self.mode == "fail":
            raise RuntimeError("the host has no space left")
        self._waiting[image_id] = lambda: _upload(context, image_id)
        if self.mode == "upload":
            self.finish(image_id)

    def finish(self, image_id: str) -> None:
        """Upload the data of an image that waits for it."""
        self._waiting.pop(image_id)()


def _upload(context: Any, image_id: str) -> None:
    # As the libvirt driver does it.
    api = nova_glance.API()
    image = api.get(context, image_id)
    metadata = {
        "name": image["name"],
        "disk_format": "raw",
        "container_format": "bare",
        "properties": {"owner_specified": "host", "image_location": "snapshot", "image_state": "available"},
    }
    api.update(context, image_id, metadata, io.BytesIO(b"some data"), purge_props=False)


@contextlib.contextmanager
def use_glance(glance: Glance) -> Iterator[Host]:
    """Let the Nova of this process use a real Glance until the block ends."""
    host = Host()
    fake_snapshot = fake.FakeDriver.snapshot

    def snapshot(driver: Any, context: Any, instance: Any, image_id: str, update_task_state: Any) -> None:
        fake_snapshot(driver, context, instance, image_id, update_task_state)
        host.snapshot(context, image_id)

    service = mock.patch.object(nova_glance, "get_default_image_service", nova_glance.GlanceImageServiceV2)
    driver = mock.patch.object(fake.FakeDriver, "snapshot", snapshot)
    with service, driver, _api_servers([glance.url]):
        yield host


@contextlib.contextmanager
def real_casts() -> Iterator[None]:
    """Let Nova's API answer before the host has begun, as in a cloud: Nova's test fixtures make each cast a call."""
    unchanged = mock.patch.object(CastAsCallFixture, "_stub_out", staticmethod(lambda *args: None))
    with unchanged, mock.patch.object(client._CallContext, "cast", client._BaseCallContext.cast):
        yield


@contextlib.contextmanager
def _api_servers(urls: list[str]) -> Iterator[None]:
    before = nova.conf.CONF.glance.api_servers
    nova.conf.CONF.set_override("api_servers", urls, group="glance")
    try:
        yield
    finally:
        nova.conf.CONF.set_override("api_servers", before, group="glance")

"""A real Nova in this process that asks a real Keystone and a real Glance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest import mock

from fixtures import Fixture

from tests.gateway.keystone import REGION
from tests.limits.glance import Glance
from tests.nova.cloud import IMAGE, Cloud, integrated_helpers


class NoGlance(Fixture):  # type: ignore[misc]
    """Stands where Nova's harness fakes the image service."""

    def __init__(self, test: Any) -> None:
        super().__init__()


class RealCloud(Cloud):
    """Nova's API, conductor, scheduler and compute; compute hosts are fake, so images stay ``queued``."""

    __test__ = False

    def __init__(self, glance: Glance) -> None:
        super().__init__()
        self.real_glance = glance
        self.keystone = glance.keystone

    def setUp(self) -> None:
        if not any(image["id"] == IMAGE for image in self.real_glance.images("root")):
            self.real_glance.create("root", id=IMAGE, name="cirros", visibility="public", min_disk=1, min_ram=1)
            self.real_glance.upload(IMAGE, "root")
        with mock.patch.object(integrated_helpers.nova_fixtures, "GlanceFixture", NoGlance):
            super().setUp()

    def app(self, options: Any, authentication: str = "") -> Any:
        """Return Nova's WSGI application, with an auth_token that asks the real Keystone."""
        key = repr(options)
        if key not in self._apps:
            self._apps[key] = self.app_with_keystone(self.keystone.authtoken(), options)
        return self._apps[key]

    def new_server(self, members: Mapping[str, Any] | None = None, token: str = "alice") -> str:
        """Boot a server of a user of Keystone's."""
        return super().new_server(members, self.keystone.cached_token(token))

    def _record_images(self) -> None:
        self.flags(api_servers=[self.real_glance.url], region_name=REGION, group="glance")

    def _find_own_properties(self) -> set[str]:
        return set()

"""Unified limits in a real Keystone, set as an operator does with openstacksdk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import openstack

from tests.gateway.keystone import ADMIN, Keystone


class UnifiedLimits:
    """The limits of a Keystone. All that are made here are gone when the block ends."""

    def __init__(self, keystone: Keystone) -> None:
        self._keystone = keystone
        self._identity: Any = openstack.connection.Connection(session=keystone.session(ADMIN)).identity

    def __enter__(self) -> UnifiedLimits:
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()

    def register(self, name: str, default: int, service: str = "image", region: str | None = None) -> None:
        """Register a limit, with its default for all projects."""
        self._identity.create_registered_limit(
            resource_name=name, default_limit=default, service_id=self._find_service(service), region_id=region
        )

    def set(self, project: str, name: str, number: int, service: str = "image", region: str | None = None) -> Any:
        """Give a project a limit of its own; return it."""
        return self._identity.create_limit(
            resource_name=name,
            resource_limit=number,
            project_id=self._keystone.ids[project],
            service_id=self._find_service(service),
            region_id=region,
        )

    @contextlib.contextmanager
    def having(self, project: str, name: str, number: int, **where: Any) -> Iterator[None]:
        """Give a project a limit of its own until the block ends."""
        limit = self.set(project, name, number, **where)
        try:
            yield
        finally:
            self._identity.delete_limit(limit)

    def clear(self) -> None:
        """Delete all limits there are."""
        for limit in self._identity.limits():
            self._identity.delete_limit(limit)
        for limit in self._identity.registered_limits():
            self._identity.delete_registered_limit(limit)

    def add_region(self, name: str) -> None:
        if name not in {region.id for region in self._identity.regions()}:
            self._identity.create_region(id=name)

    def _find_service(self, kind: str) -> str:
        found = next(self._identity.services(type=kind), None)
        service: str = (found or self._identity.create_service(name=f"a {kind}", type=kind)).id
        return service

"""Limits on a real Nova with a real Glance."""

from __future__ import annotations

from typing import Any

from tests.gateway.nova import ServedNova
from tests.limits.glance import Glance
from tests.wsgi import send


def test_the_components_work(nova: ServedNova, glance: Glance) -> None:
    cloud: Any = nova.cloud
    headers = {"X-Auth-Token": glance.keystone.cached_token("alice")}
    response = send(cloud.bare, "POST", f"/v2.1/servers/{cloud.server}/action", {"createImage": {"name": "x"}}, headers)
    assert response.status_int == 202, response.text
    [image] = glance.snapshots()
    assert (image["name"], image["status"], image["instance_uuid"]) == ("x", "queued", cloud.server)

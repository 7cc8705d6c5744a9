"""What a real Nova tells the reaper of the servers that need an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

pytest.importorskip("keystoneauth1", reason="no extra 'housekeeping' in this virtualenv")

import requests

from imagefilter.housekeeping.apis import API
from imagefilter.housekeeping.cloud import AskFailed
from imagefilter.housekeeping.openstack import OpenStack
from tests.nova.cloud import IMAGE, Cloud
from tests.nova.own_servers import ADMIN
from tests.wsgi import send


class NovaAdapter:
    """Sends what the reaper asks to a Nova in this process."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def request(self, path: str, method: str, *, microversion: str, **arguments: Any) -> requests.Response:
        headers = {**ADMIN, "OpenStack-API-Version": f"compute {microversion}"}
        query = urlencode(arguments.get("params") or {})
        answer = send(self._app, method, f"/v2.1{path}?{query}", b"", headers)
        response = requests.Response()
        response.status_code, response._content = answer.status_int, answer.body
        return response


@pytest.fixture
def openstack(cloud: Cloud) -> OpenStack:
    compute = API(NovaAdapter(cloud.bare), "compute", "2.69")
    return OpenStack(compute, [compute], [])


@pytest.fixture
def soft_delete(cloud: Cloud, openstack: OpenStack) -> Iterator[Callable[[], None]]:
    """Return what deletes all servers as reclaim_instance_interval does; they are restored afterwards."""
    from nova import objects
    from nova.compute import vm_states

    server_ids = [server["id"] for server in list_servers(openstack)]

    def set_state(state: str) -> None:
        for server_id in server_ids:
            with cloud._cell(server_id) as cell:
                instance = objects.Instance.get_by_uuid(cell, server_id)
                instance.vm_state = state
                instance.save()

    yield lambda: set_state(vm_states.SOFT_DELETED)
    set_state(vm_states.ACTIVE)


def list_servers(openstack: OpenStack) -> list[dict[str, Any]]:
    return [server for page in openstack.servers() for server in page]


def test_a_server_needs_the_image_that_it_was_booted_from(openstack: OpenStack) -> None:
    assert IMAGE in [server["image"]["id"] for server in list_servers(openstack) if server["image"]]
    assert openstack.is_booted_from(IMAGE)
    assert not openstack.is_booted_from("00000000-0000-4000-8000-000000000000")


def test_a_server_that_can_be_restored_needs_its_image(openstack: OpenStack, soft_delete: Callable[[], None]) -> None:
    before = len(list_servers(openstack))
    soft_delete()
    servers = list_servers(openstack)
    assert {server["status"] for server in servers} == {"SOFT_DELETED"}
    assert len(servers) == before
    assert openstack.is_booted_from(IMAGE)


def test_nothing_is_known_while_a_cell_is_down(openstack: OpenStack) -> None:
    from nova import context, objects
    from nova.tests import fixtures

    cells = objects.CellMappingList.get_all(context.get_admin_context())
    cells.objects = [cell for cell in cells if not cell.is_cell0()]
    with fixtures.DownCellFixture(cells):
        with pytest.raises(AskFailed, match="compute: a cell is down"):
            list_servers(openstack)
        with pytest.raises(AskFailed, match="compute: a cell is down"):
            openstack.is_booted_from(IMAGE)
    assert openstack.is_booted_from(IMAGE)

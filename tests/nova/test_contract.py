"""The case table through a real Nova, in its own /v2.1 and /v2 pipelines, with and without the project in the path."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import webob

from tests.cases import CASES, PROJECT, SERVER, Case
from tests.nova.cloud import NOVA, Cloud
from tests.nova.images import expected_images
from tests.wsgi import send

# Where every key of the metadata breaks the pattern, Nova up to 32 responds 400 on /v2 as on /v2.1.
STRICT_UP_TO_32 = ["key of 255 characters, multi-byte"]
PREFIXES = ["/v2.1", "/v2", f"/v2.1/{PROJECT}", f"/v2/{PROJECT}"]


def combine(cases: Iterable[Case]) -> Iterable[Any]:
    """Combine cases with prefixes; a case whose path has a project needs none in the prefix."""
    for case in cases:
        for prefix in PREFIXES:
            if case.path.startswith("/servers") or not prefix.endswith(PROJECT):
                yield pytest.param(case, prefix, id=f"{case.id}, {prefix}")


def send_case(cloud: Cloud, case: Case, prefix: str) -> webob.Response:
    """Send a case about the cloud's server."""
    path = prefix + case.path.replace(SERVER, "{server}").format(server=cloud.server)
    headers = dict(case.headers)
    if case.token:
        headers["X-Auth-Token"] = case.token
    return send(cloud.app(case.options), "POST", path, case.body, headers)


def nova_status(case: Case, prefix: str) -> int:
    """Return the status of Nova's own response to an allowed case."""
    is_strict = prefix.startswith("/v2.1") or (NOVA <= 32 and case.id in STRICT_UP_TO_32)
    return case.nova[not is_strict]


@pytest.mark.parametrize(("case", "prefix"), combine(case for case in CASES if case.status != 202))
def test_refuses(case: Case, prefix: str, cloud: Cloud) -> None:
    response = send_case(cloud, case, prefix)
    assert (response.status_int, cloud.images()) == (case.status, [])
    [fault] = response.json.values()
    assert fault["message"].replace(cloud.server, SERVER) == case.message


@pytest.mark.parametrize(("case", "prefix"), combine(case for case in CASES if case.status == 202))
def test_forwards(case: Case, prefix: str, cloud: Cloud) -> None:
    status = nova_status(case, prefix)
    response = send_case(cloud, case, prefix)
    assert response.status_int == status, response.text
    assert cloud.images() == expected_images(case, status)


NAMED = [case for case in CASES if case.status == 202 and "createImage" in (case.expected or {})]


@pytest.fixture
def cloud_on_volume(cloud: Cloud) -> Iterator[Cloud]:
    """The cloud with a server that boots from a volume."""
    with cloud.on_volume():
        yield cloud


@pytest.mark.parametrize("case", [case for case in CASES if case.status != 202], ids=lambda case: case.id)
def test_refuses_images_of_volumes(case: Case, cloud_on_volume: Cloud) -> None:
    before = cloud_on_volume.snapshots()
    response = send_case(cloud_on_volume, case, "/v2.1")
    assert (response.status_int, cloud_on_volume.images()) == (case.status, [])
    assert cloud_on_volume.snapshots() == before, "no snapshot of the volume is left behind"


@pytest.mark.parametrize("case", NAMED, ids=lambda case: case.id)
@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
def test_forwards_images_of_volumes(case: Case, prefix: str, cloud_on_volume: Cloud) -> None:
    status = nova_status(case, prefix)
    response = send_case(cloud_on_volume, case, prefix)
    assert response.status_int == status, response.text
    assert cloud_on_volume.images() == expected_images(case, status)


@pytest.mark.parametrize("key", ["disk_format", "container_format", "Disk_Format"])
def test_no_format_leaves_a_snapshot_of_a_volume_behind(key: str, cloud_on_volume: Cloud) -> None:
    """Nova makes the snapshot first, and then Glance refuses to activate an image with disk_format=iso."""
    before = cloud_on_volume.snapshots()
    app = cloud_on_volume.app({})
    document = {"createImage": {"name": "x", "metadata": {key: "iso"}}}
    response = cloud_on_volume.post_action(app, document)
    assert (response.status_int, cloud_on_volume.snapshots()) == (403, before)
    assert cloud_on_volume.post_action(cloud_on_volume.bare, document).status_int in (202, 400)
    assert cloud_on_volume.snapshots() == before + 1, "a bare Nova makes one"
    cloud_on_volume.images()


AS_SENT = [case for case in CASES if case.status == 202 and case.forwarded is None]


@pytest.mark.parametrize("case", AS_SENT, ids=[case.id for case in AS_SENT])
def test_the_table_names_what_is_forwarded(case: Case) -> None:
    """Guard the table itself: without ``forwarded``, a case's document is its body."""
    assert json.loads(case.body) == case.document

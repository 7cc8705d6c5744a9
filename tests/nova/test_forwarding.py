"""What goes to Nova and what comes back is unchanged, apart from what the contract rewrites."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

import pytest
import webob

from tests.cases import PROJECT, image
from tests.nova.cloud import NOVA, Cloud, microversion
from tests.nova.comparison import Comparable, comparable
from tests.nova.images import Image
from tests.wsgi import send

METADATA = {"purpose": "nightly", "owner-team": "blue", "note": "été 名前\nline two"}
MICROVERSIONS = [None, "2.38", "2.39", "2.44", "2.45", "latest"]

# From microversion 2.45 on Nova returns the image's id in the body.
V21 = ["/v2.1", f"/v2.1/{PROJECT}"]
WITH_LOCATION = [*product(V21, [None, "2.38", "2.39", "2.44"]), *product(["/v2"], MICROVERSIONS)]
WITH_BODY = list(product(V21, ["2.45", "latest"]))


def comparable_response(response: webob.Response) -> Comparable:
    """Return a response without the parts that are new each time."""
    return comparable(response.status_int, response.headerlist, response.body)


@pytest.mark.parametrize(("prefix", "version"), WITH_LOCATION)
def test_an_accepted_request_returns_a_location(cloud: Cloud, prefix: str, version: str | None) -> None:
    response = cloud.post_action(cloud.app({}), image(metadata=METADATA), prefix, microversion(version))
    assert (response.status_int, response.body) == (202, b"")
    assert cloud.images() == [Image("nightly", METADATA)]
    base, _, image_id = response.headers["Location"].rpartition("/")
    assert base.endswith("/images")
    assert uuid.UUID(image_id)
    assert ("OpenStack-API-Version" in response.headers) == (prefix != "/v2")


@pytest.mark.parametrize(("prefix", "version"), WITH_BODY)
def test_an_accepted_request_returns_a_body(cloud: Cloud, prefix: str, version: str) -> None:
    response = cloud.post_action(cloud.app({}), image(metadata=METADATA), prefix, microversion(version))
    assert response.status_int == 202
    assert cloud.images() == [Image("nightly", METADATA)]
    assert uuid.UUID(response.json["image_id"])
    assert "Location" not in response.headers
    assert "OpenStack-API-Version" in response.headers


@pytest.mark.parametrize("version", MICROVERSIONS)
def test_a_number_becomes_the_name_of_its_digits(cloud: Cloud, version: str | None) -> None:
    # A bare Nova refuses it: "20261123 is not of type 'string'".
    headers = microversion(version)
    assert cloud.post_action(cloud.bare, image(20261123), headers=headers).status_int == 400
    assert cloud.post_action(cloud.app({}), image(20261123), headers=headers).status_int == 202
    assert cloud.images() == [Image("20261123", {})]


class NovaRefusal(NamedTuple):
    """A request that Nova itself refuses on /v2.1."""

    id: str
    document: Any
    server: str = ""  # the cloud's own if empty
    state: Mapping[str, str] = {}  # of the server
    headers: Mapping[str, str] = {}


BACKUP = {"createBackup": {"name": "x", "backup_type": "x", "rotation": 1}}
BAD_BACKUP = {"createBackup": {"name": "x", "backup_type": "x", "rotation": -1}}
NOVA_REFUSALS = [
    NovaRefusal("an unknown server", image(), server=str(uuid.uuid4())),
    NovaRefusal("a backup of an unknown server", BACKUP, server=str(uuid.uuid4())),
    NovaRefusal("a wrong vm_state", image(), state={"vm_state": "error"}),
    NovaRefusal("a busy task_state", image(), state={"task_state": "image_uploading"}),
    NovaRefusal("a name of spaces", image("  ")),
    NovaRefusal("a key with a slash", image(metadata={"a/b": "v", "c": "d"})),
    NovaRefusal("an unknown member", image(bar=1)),
    NovaRefusal("a bad rotation", BAD_BACKUP),
    NovaRefusal("a bad microversion", image(), headers=microversion("2.nonsense")),
    NovaRefusal("an unknown microversion", image(), headers=microversion("9.9")),
]


def send_to_both(cloud: Cloud, refusal: NovaRefusal, prefix: str) -> tuple[webob.Response, webob.Response]:
    """Send a request to the bare Nova and to the one with the filter; return both responses."""
    path = f"{prefix}/servers/{refusal.server or cloud.server}/action"
    headers = {"X-Auth-Token": "member", **refusal.headers}
    with cloud.state(**refusal.state):
        bare = send(cloud.bare, "POST", path, refusal.document, headers)
        filtered = send(cloud.app({}), "POST", path, refusal.document, headers)
    return bare, filtered


@pytest.mark.parametrize("refusal", NOVA_REFUSALS, ids=[refusal.id for refusal in NOVA_REFUSALS])
def test_novas_own_refusals_arrive_unchanged(cloud: Cloud, refusal: NovaRefusal) -> None:
    bare, filtered = send_to_both(cloud, refusal, "/v2.1")
    assert bare.status_int >= 400
    assert comparable_response(filtered) == comparable_response(bare)
    assert filtered.headers["X-Compute-Request-Id"]


@pytest.mark.parametrize("refusal", NOVA_REFUSALS, ids=[refusal.id for refusal in NOVA_REFUSALS])
def test_novas_own_refusals_arrive_unchanged_on_v2(cloud: Cloud, refusal: NovaRefusal) -> None:
    """/v2 drops unknown members and knows no microversion: there some of these make an image, twice."""
    bare, filtered = send_to_both(cloud, refusal, "/v2")
    assert bare.status_int < 400 or comparable_response(filtered) == comparable_response(bare)
    assert filtered.headers["X-Compute-Request-Id"]


def test_novas_policy_arrives_unchanged(cloud: Cloud) -> None:
    with cloud.policy_rule("os_compute_api:servers:create_image", "role:admin"):
        bare = cloud.post_action(cloud.bare, image())
        filtered = cloud.post_action(cloud.app({}), image())
    assert bare.status_int == 403
    assert comparable_response(filtered) == comparable_response(bare)


@pytest.mark.parametrize("version", ["2.39", "2.45", "latest"])
def test_has_the_metadata_quota_that_nova_lost(cloud: Cloud, version: str) -> None:
    document = image(metadata={f"k{number}": "v" for number in range(129)})
    assert cloud.post_action(cloud.bare, document, headers=microversion(version)).status_int == 202
    assert len(cloud.images()) == 1
    response = cloud.post_action(cloud.app({}), document, headers=microversion(version))
    assert (response.status_int, cloud.images()) == (403, [])
    assert response.json == {"forbidden": {"message": "Image metadata limit exceeded", "code": 403}}


# Nova checks no metadata on /v2 since 33, where every key breaks the pattern: status, and number of images.
UNCHECKED_ON_V2 = (202, 1)
if NOVA < 33:
    UNCHECKED_ON_V2 = (400, 0)


@pytest.mark.parametrize("metadata", [{"": "v"}, {"k!" * 128: "v"}, {"k!": 5}, {"k!": None}, {"k!": {"a": [1]}}])
def test_checks_the_metadata_that_v2_does_not_check(cloud: Cloud, metadata: dict[str, Any]) -> None:
    bare = cloud.post_action(cloud.bare, image(metadata=metadata), "/v2")
    assert (bare.status_int, len(cloud.images())) == UNCHECKED_ON_V2
    response = cloud.post_action(cloud.app({}), image(metadata=metadata), "/v2")
    assert (response.status_int, cloud.images()) == (400, [])


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
def test_has_the_switch_that_nova_lost(cloud: Cloud, prefix: str) -> None:
    response = cloud.post_action(cloud.app({"snapshots_enabled": "false"}), image(), prefix)
    assert (response.status_int, cloud.images()) == (400, [])
    assert response.json["badRequest"]["message"] == "Instance snapshots are not permitted at this time."


FAULT_VERSIONS = [
    {},
    {"OpenStack-API-Version": "compute 2.1"},
    {"OpenStack-API-Version": "compute 2.45"},
    {"OpenStack-API-Version": "compute 2.45, compute 2.1"},
    {"OpenStack-API-Version": "volume 3.1"},
]


def refuse_by_both(cloud: Cloud, prefix: str, headers: Mapping[str, str]) -> tuple[webob.Response, webob.Response]:
    """Return a 400 of Nova's and one of the filter's."""
    document = image(metadata={"k": 5})
    novas = cloud.post_action(cloud.bare, document, prefix, headers)
    own = cloud.post_action(cloud.app({}), document, prefix, headers)
    assert (novas.status_int, own.status_int) == (400, 400)
    return novas, own


def header_names(response: webob.Response) -> list[str]:
    """Return the names of a response's headers, without the date."""
    return sorted(name.lower() for name in response.headers if name.lower() != "date")


@pytest.mark.parametrize("headers", FAULT_VERSIONS, ids=lambda headers: ", ".join(headers.values()))
@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
def test_a_fault_has_the_headers_of_novas_own(cloud: Cloud, prefix: str, headers: dict[str, str]) -> None:
    novas, own = refuse_by_both(cloud, prefix, headers)
    assert header_names(own) == header_names(novas)
    for name in ("Content-Type", "OpenStack-API-Version", "X-OpenStack-Nova-API-Version"):
        assert own.headers.get(name) == novas.headers.get(name)
    assert own.headers.getall("Vary") == novas.headers.getall("Vary")


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
def test_a_fault_does_not_name_the_latest_version(cloud: Cloud, prefix: str) -> None:
    """Only Nova knows the number of the latest microversion."""
    novas, own = refuse_by_both(cloud, prefix, microversion("latest"))
    assert header_names(own) == [name for name in header_names(novas) if not name.endswith("-api-version")]
    assert own.headers["Content-Type"] == novas.headers["Content-Type"]
    assert own.headers.getall("Vary") == novas.headers.getall("Vary")

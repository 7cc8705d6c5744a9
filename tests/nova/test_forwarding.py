"""What goes on to Nova, and what comes back: unchanged, but for what the contract rewrites."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
import webob

from tests.cases import PROJECT
from tests.nova.cloud import NOVA, Cloud, Image
from tests.requests import send

MICROVERSIONS = [None, "2.38", "2.39", "2.44", "2.45", "latest"]
METADATA = {"purpose": "nightly", "owner-team": "blue", "note": "été 名前\nline two"}
UNSTABLE = ("Date", "X-Compute-Request-Id", "X-OpenStack-Request-Id")


def act(cloud: Cloud, app: Any, document: Any, version: str | None = None, prefix: str = "/v2.1", **rest: Any) -> Any:
    headers = {"X-Auth-Token": "member", **rest}
    if version:
        headers["OpenStack-API-Version"] = f"compute {version}"
    return send(app, "POST", f"{prefix}/servers/{cloud.server}/action", document, headers)


def comparable(response: webob.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    headers = [(k.lower(), v) for k, v in response.headerlist if k.lower() not in {u.lower() for u in UNSTABLE}]
    return response.status_int, sorted(headers), re.sub(rb'"updated": "[^"]*"', b"", response.body)


@pytest.mark.parametrize("version", MICROVERSIONS)
@pytest.mark.parametrize("prefix", ["/v2.1", "/v2", f"/v2.1/{PROJECT}"])
def test_an_accepted_request(cloud: Cloud, prefix: str, version: str | None) -> None:
    document = {"createImage": {"name": "nightly", "metadata": METADATA}}
    response = act(cloud, cloud.app({}), document, version, prefix)
    assert response.status_int == 202
    assert cloud.images() == [Image("nightly", METADATA)]
    if prefix != "/v2" and version in ("2.45", "latest"):
        assert uuid.UUID(response.json["image_id"])
        assert "Location" not in response.headers
    else:
        assert response.body == b""
        base, _, image_id = response.headers["Location"].rpartition("/")
        assert base.endswith("/images")
        assert uuid.UUID(image_id)
    assert ("OpenStack-API-Version" in response.headers) == (prefix != "/v2")


@pytest.mark.parametrize("version", MICROVERSIONS)
def test_a_number_is_the_name_of_its_digits(cloud: Cloud, version: str | None) -> None:
    # A bare Nova refuses it: "1 is not of type 'string'".
    assert act(cloud, cloud.bare, {"createImage": {"name": 20261123}}, version).status_int == 400
    assert act(cloud, cloud.app({}), {"createImage": {"name": 20261123}}, version).status_int == 202
    assert cloud.images() == [Image("20261123", {})]


NOVAS_OWN: dict[str, tuple[Any, dict[str, Any]]] = {
    "an unknown server": ({"createImage": {"name": "x"}}, {"server": str(uuid.uuid4())}),
    "an unknown server's backup": (
        {"createBackup": {"name": "x", "backup_type": "x", "rotation": 1}},
        {"server": str(uuid.uuid4())},
    ),
    "a wrong vm_state": ({"createImage": {"name": "x"}}, {"vm_state": "error"}),
    "a busy task_state": ({"createImage": {"name": "x"}}, {"task_state": "image_uploading"}),
    "a name of spaces": ({"createImage": {"name": "  "}}, {}),
    "a key with a slash": ({"createImage": {"name": "x", "metadata": {"a/b": "v", "c": "d"}}}, {}),
    "an unknown member": ({"createImage": {"name": "x", "bar": 1}}, {}),
    "a bad rotation": ({"createBackup": {"name": "x", "backup_type": "x", "rotation": -1}}, {}),
    "a bad microversion": ({"createImage": {"name": "x"}}, {"version": "2.nonsense"}),
    "an unknown microversion": ({"createImage": {"name": "x"}}, {"version": "9.9"}),
}


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
@pytest.mark.parametrize(("document", "given"), NOVAS_OWN.values(), ids=NOVAS_OWN)
def test_novas_own_refusals_arrive_unchanged(cloud: Cloud, document: Any, given: dict[str, Any], prefix: str) -> None:
    state = {key: given[key] for key in ("vm_state", "task_state") if key in given}
    path = f"{prefix}/servers/{given.get('server', cloud.server)}/action"
    headers = {"X-Auth-Token": "member"}
    if "version" in given:
        headers["OpenStack-API-Version"] = f"compute {given['version']}"
    cloud.set_state(**state)
    try:
        bare = send(cloud.bare, "POST", path, document, headers)
        filtered = send(cloud.app({}), "POST", path, document, headers)
    finally:
        cloud.set_state(vm_state="active", task_state=None)
    if prefix == "/v2.1":
        assert bare.status_int >= 400
    # /v2 drops unknown members and knows no microversion: there some of these make an image, twice.
    if bare.status_int >= 400:
        assert comparable(filtered) == comparable(bare)
        assert filtered.headers["X-Compute-Request-Id"]


def test_novas_policy_arrives_unchanged(cloud: Cloud) -> None:
    rule = "os_compute_api:servers:create_image"
    cloud.policy.set_rules({rule: "role:admin"}, overwrite=False)
    try:
        bare, filtered = (act(cloud, app, {"createImage": {"name": "x"}}) for app in (cloud.bare, cloud.app({})))
    finally:
        cloud.policy.set_rules({rule: "role:member"}, overwrite=False)
    assert bare.status_int == 403
    assert comparable(filtered) == comparable(bare)


@pytest.mark.parametrize("version", ["2.39", "2.45", "latest"])
def test_the_metadata_quota_that_nova_lost(cloud: Cloud, version: str) -> None:
    document = {"createImage": {"name": "x", "metadata": {f"k{n}": "v" for n in range(129)}}}
    assert act(cloud, cloud.bare, document, version).status_int == 202
    assert len(cloud.images()) == 1
    cloud.settle()
    response = act(cloud, cloud.app({}), document, version)
    assert (response.status_int, cloud.images()) == (403, [])
    assert response.json == {"forbidden": {"message": "Image metadata limit exceeded", "code": 403}}


@pytest.mark.parametrize("metadata", [{"": "v"}, {"k!" * 128: "v"}, {"k!": 5}, {"k!": None}, {"k!": {"a": [1]}}])
def test_the_metadata_hole_of_v2(cloud: Cloud, metadata: dict[str, Any]) -> None:
    """Nova has it since 33."""
    document = {"createImage": {"name": "x", "metadata": metadata}}
    bare = act(cloud, cloud.bare, document, prefix="/v2")
    assert (bare.status_int, len(cloud.images())) == ((202, 1) if NOVA >= 33 else (400, 0))
    cloud.settle()
    response = act(cloud, cloud.app({}), document, prefix="/v2")
    assert (response.status_int, cloud.images()) == (400, [])


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
def test_the_switch_that_nova_lost(cloud: Cloud, prefix: str) -> None:
    off = cloud.app({"snapshots_enabled": "false"})
    response = act(cloud, off, {"createImage": {"name": "x"}}, prefix=prefix)
    assert (response.status_int, cloud.images()) == (400, [])
    assert response.json["badRequest"]["message"] == "Instance snapshots are not permitted at this time."


FAULT_HEADERS = ["content-length", "content-type", "x-compute-request-id", "x-openstack-request-id"]


@pytest.mark.parametrize(
    "version", ["", "compute 2.1", "compute 2.45", "compute 2.45, compute 2.1", "volume 3.1", "compute latest"]
)
@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
def test_a_fault_has_the_headers_of_novas_own(cloud: Cloud, prefix: str, version: str) -> None:
    headers = {"X-Auth-Token": "member", **({"OpenStack-API-Version": version} if version else {})}
    path = f"{prefix}/servers/{cloud.server}/action"
    novas = send(cloud.bare, "POST", path, {"createImage": {"name": "x", "metadata": {"k": 5}}}, headers)
    ours = send(cloud.app({}), "POST", path, {"createImage": {"name": "x", "metadata": {"k": 5}}}, headers)
    assert (novas.status_int, ours.status_int) == (400, 400)
    names = sorted(name.lower() for name in novas.headers if name.lower() != "date")
    expected = names if version != "compute latest" else [n for n in names if not n.endswith("-api-version")]
    assert sorted(name.lower() for name in ours.headers) == expected
    for name in ("Content-Type", "OpenStack-API-Version", "X-OpenStack-Nova-API-Version"):
        if name.lower() in expected:
            assert ours.headers[name] == novas.headers[name]
    assert ours.headers.getall("Vary") == novas.headers.getall("Vary") if "Vary" in novas.headers else True

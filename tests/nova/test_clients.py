"""What known clients send makes its image under every policy that a page of ours recommends.

Bodies are in our own words, after the sources that are named; tests/gateway/test_clients.py runs some of these clients.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from imagefilter.policy.options import IMAGE_FIELDS
from tests.cases import PROJECT
from tests.nova.cloud import Cloud
from tests.paths import ROOT
from tests.wsgi import send

JSON = "application/json"


class Sent(NamedTuple):
    """What a client sends."""

    client: str
    body: str
    version: str = ""  # the microversion, if it sends one
    content_type: str = JSON
    prefix: str = "/v2.1"


ACCEPTED = [
    Sent("gophercloud", '{"createImage":{"metadata":{"os":"linux"},"name":"snap-1"}}', "2.79"),
    Sent("gophercloud without metadata", '{"createImage":{"name":"snap-1"}}'),
    Sent("Terraform (gophercloud)", '{"createImage":{"metadata":{"created_by":"terraform"},"name":"web"}}', "2.60"),
    Sent("python-novaclient", '{"createImage": {"name": "nightly", "metadata": {}}}', "2.1"),
    Sent(
        "python-novaclient backup", '{"createBackup": {"name": "bk", "backup_type": "daily", "rotation": "7"}}', "2.1"
    ),
    Sent("openstacksdk", '{"createImage": {"name": "nightly", "metadata": {"a": "b"}}}', "2.45"),
    Sent("openstackclient", '{"createImage": {"name": "web1", "metadata": {"team": "a b"}}}', "2.90"),
    Sent("openstackclient backup", '{"createBackup": {"name": "web1", "backup_type": "", "rotation": 1}}', "2.1"),
    Sent("Ansible (openstacksdk)", '{"createImage": {"name": "web1 2026-11-26", "metadata": {}}}', "2.45"),
    Sent("Horizon", '{"createImage": {"name": "Schnappschuß", "metadata": {}}}', "2.1"),
    Sent(
        "Skyline",
        '{"createImage":{"name":"s","metadata":{"usage_type":"common","image_type":"snapshot","instance_id":"1"}}}',
    ),
    Sent("Packer", '{"createImage":{"metadata":{"image_type":"image"},"name":"packer 1764000000"}}'),
    Sent("Packer with a kernel", '{"createImage":{"metadata":{"image_type":"image","kernel_id":""},"name":"p"}}'),
    Sent("fog", '{"createImage":{"name":"web","metadata":{"role":"web"}}}', prefix="/v2"),
    Sent("jclouds", '{"createImage":{"name":"web", "metadata": {"k":"v"}}}', prefix=f"/v2/{PROJECT}"),
    Sent(
        "jclouds backup",
        '{"createBackup":{"backup_type":"weekly","rotation":2,"name":"bk","metadata":{"some":"data"}}}',
        prefix=f"/v2/{PROJECT}",
    ),
    Sent(
        "openstack4j",
        '{\n  "createImage" : {\n    "name" : "web",\n    "metadata" : { }\n  }\n}',
        content_type="application/json;charset=UTF-8",
    ),
    Sent(
        "libcloud",
        '{"createImage": {"name": "web"}}',
        content_type="application/json; charset=UTF-8",
        prefix=f"/v2/{PROJECT}",
    ),
    Sent("pkgcloud", '{"createImage":{"name":"web"}}', prefix="/v2"),
    Sent("openstack.net", '{"createImage":{"name":"web","metadata":{}}}'),
    Sent("rust-openstack", '{"createBackup":{"name":"bk","backup_type":"daily","rotation":3}}'),
    Sent("ec2-api", '{"createImage": {"name": "image of 1 at 2026-11-26T01:02:03Z", "metadata": {"ec2_id": "i-1"}}}'),
    Sent("vagrant", '{"createImage":{"name":"v","metadata":{"vagrant_snapshot":"true"}}}'),
    Sent("tempest", '{"createImage": {"name": "\\u20a1 snapshot", "metadata": {"image_type": "test"}}}', "2.1"),
    Sent("Rally", '{"createImage": {"name": "s_rally_5d2a_Xq", "metadata": {}}}', "2.1"),
    Sent("Heat", '{"createImage": {"name": "stack-server-5wq3-snapshot", "metadata": {}}}', "2.1"),
    Sent(
        "image properties",
        '{"createImage":{"name":"n","metadata":{"hw_disk_bus":"scsi","hw_scsi_model":"virtio-scsi","os_distro":"debian",'
        '"hw_qemu_guest_agent":"yes","os_require_quiesce":"yes","architecture":"x86_64"}}}',
    ),
    Sent("a look-alike's test on /v2", '{"createImage":{"name":"n","snapshot_id":"s-1","metadata":{}}}', prefix="/v2"),
]

REFUSED = [
    Sent("fog with nil", '{"createImage":{"name":"web","metadata":null}}'),
    Sent("openstack4j backup", '{"createBackup":{"name":"bk","rotation":1}}'),
    Sent("php-opencloud", '{"createImage":{"name":"web","metadata":[]}}'),
    Sent("php-opencloud of Rackspace", '{"createImage":{"name":"web","metadata":{"retention":7}}}'),
    Sent("vagrant, first version", '{"createImage":{"name":"v","metadata":{"vagrant_snapshot":true}}}'),
    Sent("a script that writes no JSON", '{"createImage": {"name": name}}'),
    Sent("a body made of strings", '{"createImage":{"name":"say "hi"","metadata":{}}}'),
    Sent("an emoji", '{"createImage":{"name":"\\ud83d\\ude00"}}'),
    Sent("tempest's long name", '{"createImage":{"name":"%s"}}' % ("a" * 256)),
    Sent("an unknown key", '{"createImage":{"name":"n","snapshot_id":"s-1","metadata":{}}}'),
]


def recommended_keys() -> list[str]:
    """Return the keys that the page recommends to reserve beside the default."""
    page = (ROOT / "docs/configuration.md").read_text()
    found = re.search(r"Recommended in addition[^`]*`([^`]+)`", page)
    assert found
    return [key.strip() for key in found[1].replace("\n", " ").split(",")]


POLICIES: dict[str, dict[str, str]] = {
    "default": {},
    "keys reserved as recommended": {"metadata_reserved": ", ".join([*IMAGE_FIELDS, *recommended_keys()])},
    "all actions": {"actions": "createImage, createBackup, shelve"},
    "metadata recorded": {"audit_metadata": "full"},
}


def send_as(cloud: Cloud, app: Any, sent: Sent) -> tuple[int, list[Any]]:
    """Send what a client sends; return the status and the images that were made."""
    headers: dict[str, str] = {"X-Auth-Token": "member", "Content-Type": sent.content_type}
    if sent.version:
        headers["X-OpenStack-Nova-API-Version"] = sent.version
        headers["OpenStack-API-Version"] = f"compute {sent.version}"
    path = f"{sent.prefix}/servers/{cloud.server}/action"
    response = send(app, "POST", path, sent.body.encode(), headers)
    cloud.settle()
    return response.status_int, cloud.images()


def name_of(value: Any) -> str | None:
    if isinstance(value, Sent):
        return value.client
    return None


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("sent", ACCEPTED, ids=name_of)
def test_a_clients_request_makes_the_same_image(cloud: Cloud, sent: Sent, policy: Mapping[str, str]) -> None:
    bare = send_as(cloud, cloud.bare, sent)
    assert bare[0] == 202
    assert len(bare[1]) == 1
    assert send_as(cloud, cloud.app(policy), sent) == bare


@pytest.mark.parametrize("sent", REFUSED, ids=name_of)
def test_what_nova_refuses_is_refused_alike(cloud: Cloud, sent: Sent) -> None:
    assert send_as(cloud, cloud.bare, sent) == (400, [])
    assert send_as(cloud, cloud.app({}), sent) == (400, [])


def test_no_key_that_clients_send_is_recommended_to_be_reserved() -> None:
    reserved = set(recommended_keys())
    assert "image_type" not in reserved
    assert reserved == {"instance_uuid", "base_image_ref", "user_id", "backup_type"}

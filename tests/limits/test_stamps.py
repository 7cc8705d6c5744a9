"""The operator's stamps on a real Nova with a real Glance: what an image says of itself."""

from __future__ import annotations

import datetime
from typing import Any, Callable

import pytest

from imagefilter.housekeeping.image import read_image, read_time
from imagefilter.policy.templates import FIELDS, parse_template
from tests.gateway.nova import ServedNova
from tests.limits.glance import Glance
from tests.limits.test_limits import Tenant, fault, tenant
from tests.wsgi import send

__all__ = ["tenant"]  # a fixture

NEEDED = {"imagefilter_server", "imagefilter_stamped", "imagefilter_record", "imagefilter_expires"}
OPTIONS = {"image_expires": "30d", "metadata_set": "made_by:{user_id},made of:{server_id} on {date},Source:nova"}


@pytest.mark.parametrize("prefix", ["/v2", "/v2.1"])
@pytest.mark.parametrize("action", ["image", "backup"])
def test_the_stamps(tenant: Callable[..., Tenant], glance: Glance, action: str, prefix: str) -> None:
    alice = tenant(**OPTIONS)
    if action == "image":
        response = alice.image(prefix=prefix, metadata={"team": "blue"})
    else:
        response = alice.backup(3, metadata={"team": "blue"})
    assert response.status_int == 202
    verdict, _ = alice.cloud.records()
    [image] = glance.snapshots()
    assert (image["team"], image["Source"]) == ("blue", "nova")
    assert image["made_by"] == glance.keystone.ids["alice"]
    assert image["made of"] == f"{alice.server} on {verdict['eventTime'][:10]}"
    assert verdict["attachments"][0]["content"]["metadata_keys"] == ["team"], "they are not the client's"
    document = read_image(image)
    assert document.is_stamped
    assert document.expires and document.stamped  # noqa: PT018
    assert document.expires - document.stamped == datetime.timedelta(days=30)
    assert abs((document.created_at or document.expires) - document.stamped) < datetime.timedelta(minutes=1)
    assert document.record == verdict["id"]


def test_a_server_on_a_volume(tenant: Callable[..., Tenant], nova: ServedNova, glance: Glance) -> None:
    alice = tenant(**OPTIONS)
    with nova.cloud.on_volume():
        assert alice.image(nova.cloud.server).status_int == 202
        [image] = glance.snapshots()
        assert NEEDED | {"made_by", "made of", "Source"} <= image.keys()
        assert image["imagefilter_server"] == nova.cloud.server


@pytest.mark.parametrize("mode", ["warn", "off"])
def test_a_trial_stamps_nothing(tenant: Callable[..., Tenant], glance: Glance, mode: str) -> None:
    tenant(mode=mode, **OPTIONS).image()
    [image] = glance.snapshots()
    assert not (NEEDED | {"made_by", "made of", "Source"}) & image.keys()


def test_the_longest_value_that_loads_is_one_that_nova_takes(tenant: Callable[..., Tenant], glance: Glance) -> None:
    """And one character more is refused by Nova, which the filter reports when it loads."""
    assert tenant(metadata_set=f"note:{'x' * 255}").image().status_int == 202
    [image] = glance.snapshots()
    assert len(image["note"]) == 255
    assert tenant().image(metadata={"note": "x" * 256}).status_int == 400


def test_all_that_may_be_set_at_once(tenant: Callable[..., Tenant], glance: Glance) -> None:
    """16 keys of metadata_set and the four of an expiry leave 98 for the client."""
    fields = "".join(f"{{{name}}}" for name in FIELDS)
    text = f"12345{fields}"
    assert parse_template(text).longest == 255
    alice = tenant(image_expires="1d", metadata_set=",".join(f"key{number}:{text}" for number in range(16)))
    metadata = {f"own{number}": "v" for number in range(98)}
    assert alice.image(metadata=metadata).status_int == 202
    [image] = glance.snapshots()
    assert "own97" in image and "key15" in image  # noqa: PT018
    metadata["one-more"] = "v"
    assert fault(alice.image(metadata=metadata)) == (403, "Image metadata limit exceeded")


@pytest.mark.parametrize("key", ["made_by", "MADE_BY", "source ", "imagefilter_expires", "instance_uuid"])
def test_clients_can_not_set_them(tenant: Callable[..., Tenant], glance: Glance, key: str) -> None:
    alice = tenant(**OPTIONS)
    assert fault(alice.image(metadata={key: "x"}))[0] == 403
    assert not glance.snapshots()


def test_the_image_of_another_server_does_not_hand_its_stamps_on(
    tenant: Callable[..., Tenant], boot: Callable[..., str], glance: Glance
) -> None:
    """Nova copies properties of the image that a server was booted from; the filter's own are fresh."""
    alice = tenant(**OPTIONS)
    alice.image()
    [first] = glance.snapshots()
    glance.upload(first["id"])
    child = boot(imageRef=first["id"])
    assert alice.image(child).status_int == 202
    [second] = [image for image in glance.snapshots() if image["id"] != first["id"]]
    assert second["imagefilter_server"] == child
    assert second["imagefilter_record"] != first["imagefilter_record"]
    assert read_time(second["imagefilter_expires"]) >= read_time(first["imagefilter_expires"])  # type: ignore[operator]


def test_what_the_shelved_image_of_such_a_server_inherits(
    tenant: Callable[..., Tenant], boot: Callable[..., str], nova: ServedNova, glance: Glance
) -> None:
    """Which is why nova.conf names the stamps: the filter sets none on the image of a shelve."""
    alice = tenant(**OPTIONS)
    alice.image()
    [first] = glance.snapshots()
    glance.upload(first["id"])
    inherited = []
    stock = ["cache_in_nova", "bittorrent"]
    keys = ["imagefilter_server", "imagefilter_stamped", "imagefilter_record", "imagefilter_expires", "made_by"]
    for named in (keys, []):  # ends with Nova's default
        nova.cloud.flags(non_inheritable_image_properties=stock + named)
        child = boot(imageRef=first["id"])
        assert act(alice, child, {"shelve": None}).status_int == 202
        [shelved] = [image for image in glance.snapshots() if image.get("instance_uuid") == child]
        inherited.append(set(keys) & shelved.keys())
    assert inherited == [set(), set(keys)]


def act(alice: Tenant, server: str, document: Any) -> Any:
    headers = {"X-Auth-Token": alice.glance.keystone.cached_token("alice")}
    response = send(alice.cloud.bare, "POST", f"/v2.1/servers/{server}/action", document, headers)
    alice.cloud.settle(server)
    return response


@pytest.mark.parametrize("key", ["mappings", "block_device_mapping"])
def test_what_nova_reads_as_json(tenant: Callable[..., Tenant], glance: Glance, key: str) -> None:
    """Nova responds 500 to any other text, and the image stays: metadata_reserved recommends to refuse both keys."""
    metadata = {key: "no JSON"}
    assert tenant(metadata_reserved=key).image(metadata=metadata).status_int == 403
    assert not glance.snapshots()
    assert tenant().image(metadata=metadata).status_int == 500
    assert len(glance.snapshots()) == 1

"""No way round: the assertions are on Nova's side of the filter, on what it asked the image service to make."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from tests.nova.cloud import NOVA, Cloud, Image
from tests.requests import send
from tests.spellings import SPELLINGS, Spelling, request_of

TWO_ITEMS = {"metadata_items": "2"}
ids = [spelling.id for spelling in SPELLINGS]


def create(items: int) -> dict[str, Any]:
    return {"createImage": {"name": "nightly", "metadata": {f"k{n}": "v" for n in range(items)}}}


def backup(items: int) -> dict[str, Any]:
    return {"createBackup": {"backup_type": "x", "rotation": 99, **create(items)["createImage"]}}


def made_by(cloud: Cloud, app: Any, spelling: Spelling, document: dict[str, Any]) -> list[Image]:
    cloud.records()
    args, environ = request_of(spelling, document, cloud.server)
    with contextlib.suppress(UnicodeError):  # webob, of a response to a path that it can't decode
        send(app, *args, **environ)
    images = cloud.images()
    if images:
        cloud.settle()
        assert app is cloud.bare or recorded(cloud) == [image._replace(metadata=[*image.metadata]) for image in images]
    return images


def recorded(cloud: Cloud) -> list[Any]:
    """What the journal says was allowed: names, and keys of metadata."""
    contents = [record["attachments"][0]["content"] for record in cloud.records() if record["eventType"] == "control"]
    assert [each["verdict"] for each in contents] == ["allow"]
    return [Image(each["image_name"], each["metadata_keys"]) for each in contents]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=ids)
def test_what_is_made_was_judged(spelling: Spelling, cloud: Cloud) -> None:
    guarded = cloud.app(TWO_ITEMS)
    for document in (create, backup):
        assert made_by(cloud, guarded, spelling, document(3)) == []
        [entity] = document(2).values()
        judged = [Image(entity["name"], entity["metadata"])]
        assert made_by(cloud, guarded, spelling, document(2)) in ([], judged)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=ids)
def test_what_breaks_no_rule_is_made(spelling: Spelling, cloud: Cloud) -> None:
    made = made_by(cloud, cloud.app(TWO_ITEMS), spelling, create(2))
    bare = made_by(cloud, cloud.bare, spelling, create(2))
    assert made == ([] if spelling.refused else bare)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=ids)
def test_switched_off_is_off(spelling: Spelling, cloud: Cloud) -> None:
    off = cloud.app({"snapshots_enabled": "false", "actions": "createImage, createBackup, shelve"})
    for document in (create(1), backup(1), {"shelve": {"ignored": True}}):
        assert made_by(cloud, off, spelling, document) == []


@pytest.mark.parametrize("spelling", SPELLINGS, ids=ids)
def test_there_is_no_500_that_a_bare_nova_does_not_give(spelling: Spelling, cloud: Cloud) -> None:
    args, environ = request_of(spelling, create(3), cloud.server)
    with contextlib.suppress(UnicodeError):
        if send(cloud.app(TWO_ITEMS), *args, **environ).status_int >= 500:
            assert send(cloud.bare, *args, **environ).status_int >= 500


def test_a_bare_nova_is_walked_round(cloud: Cloud) -> None:
    """The guard of the tests above: if a bare Nova made no images here, they could find nothing."""
    count = sum(bool(made_by(cloud, cloud.bare, spelling, create(3))) for spelling in SPELLINGS)
    assert count > 90


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
def test_os_volumes_boot_is_judged_where_it_makes_images(cloud: Cloud, prefix: str) -> None:
    """Up to Nova 32 it runs the actions of servers; in 33 and 34 its routes still stand, and end in Nova's 500."""
    boot = Spelling("", target=prefix + "/os-volumes_boot/{server}/action")
    runs = NOVA <= 32
    assert made_by(cloud, cloud.bare, boot, create(3)) == ([Image("nightly", METADATA_3)] if runs else [])
    guarded = cloud.app(TWO_ITEMS)
    assert made_by(cloud, guarded, boot, create(3)) == []
    [refused] = cloud.records()
    assert refused["attachments"][0]["content"]["rule"] == "metadata-quota"
    assert made_by(cloud, guarded, boot, create(2)) == ([Image("nightly", METADATA_2)] if runs else [])


METADATA_2, METADATA_3 = create(2)["createImage"]["metadata"], create(3)["createImage"]["metadata"]

"""Each image action at the limit, in each mode, on a real Nova with a real Glance: the tables of docs/limits.md."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.nova import ServedNova
from tests.limits.glance import Glance
from tests.limits.test_limits import Tenant

IMAGE = {"createImage": {"name": "x"}}
ROTATES = {"createBackup": {"name": "x", "backup_type": "daily", "rotation": 1}}
DOES_NOT = {"createBackup": {"name": "x", "backup_type": "daily", "rotation": 2}}
SHELVE = {"shelve": None}

#: Options, the user, the actions that are refused, and whether an image that is made is stamped.
MODES: dict[str, tuple[dict[str, str], str, list[Any], bool]] = {
    "enforced": ({}, "alice", [IMAGE, DOES_NOT], True),
    "enforced, shelve listed": (
        {"actions": "createImage, createBackup, shelve"},
        "alice",
        [IMAGE, DOES_NOT, SHELVE],
        True,
    ),
    "rule in trial": ({"rule_modes": "server-limit:warn"}, "alice", [], True),
    "rule off": ({"rule_modes": "server-limit:off"}, "alice", [], True),
    "trial": ({"mode": "warn", "actions": "createImage, createBackup, shelve"}, "alice", [], False),
    "trial but for the limit": (
        {"mode": "warn", "rule_modes": "server-limit:enforce"},
        "alice",
        [IMAGE, DOES_NOT],
        True,
    ),
    "off": ({"mode": "off", "actions": "createImage, createBackup, shelve"}, "alice", [], False),
    "exempt": ({"exempt_roles": "backup", "actions": "createImage, createBackup, shelve"}, "night", [], True),
    "another's trial": ({"rule_modes": "project-limit:warn"}, "alice", [IMAGE, DOES_NOT], True),
}


@pytest.mark.parametrize("document", [IMAGE, ROTATES, DOES_NOT, SHELVE], ids=["image", "rotates", "does not", "shelve"])
@pytest.mark.parametrize("mode", MODES)
def test_an_action_at_the_limit(nova: ServedNova, glance: Glance, mode: str, document: Any) -> None:
    options, user, refused, is_stamped = MODES[mode]
    server = nova.cloud.new_server(token=user)
    assert Tenant(nova, glance, user).backup(9, server=server).status_int == 202
    before = {image["id"] for image in glance.images(user)}
    response = Tenant(nova, glance, user, snapshots_per_server="1", **options).act(document, server)
    made = [image for image in glance.images(user) if image["id"] not in before]
    if document in refused:
        assert (response.status_int, made) == (403, [])
        return
    assert response.status_int == 202
    [image] = made
    is_shelve = document is SHELVE  # its body has no metadata: Nova's own properties say of which server it is
    assert ("imagefilter_server" in image) is (is_stamped and not is_shelve)
    assert image["instance_uuid"] == server
    if document is ROTATES and mode.startswith("enforced"):
        assert len(glance.snapshots(user)) == 1

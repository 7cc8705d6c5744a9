"""Nova's race of two image actions of one server: with ``one_at_a_time`` it leaves no 500 and no orphan behind."""

from __future__ import annotations

import collections
import threading
import time
from typing import Any

from tests.gateway.nova import ServedNova
from tests.limits.glance import Glance
from tests.limits.test_limits import Tenant

CLIENTS = 8
SECONDS = 6


def race(alice: Tenant, glance: Glance) -> tuple[collections.Counter[int], int]:
    """Ask for images of one server from many threads; return the statuses, and how many images nobody was told of."""
    statuses: collections.Counter[int] = collections.Counter()
    until = time.monotonic() + SECONDS

    def ask(number: int) -> None:
        while time.monotonic() < until:
            statuses[ask_once(alice)] += 1

    glance.delete_all()
    clients = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    alice.cloud.settle(alice.server)
    return statuses, len(glance.snapshots()) - statuses[202]


def ask_once(alice: Tenant) -> int:
    from tests.wsgi import send

    headers = {"X-Auth-Token": alice.glance.keystone.cached_token("alice")}
    path = f"/v2.1/servers/{alice.server}/action"
    document: Any = {"createImage": {"name": "x"}}
    status: int = send(alice.app, "POST", path, document, headers, **{"wsgi.multithread": True}).status_int
    return status


def test_one_at_a_time_ends_the_race(nova: ServedNova, glance: Glance) -> None:
    statuses, orphans = race(Tenant(nova, glance, "alice", one_at_a_time="true"), glance)
    print(f"with one_at_a_time: {dict(statuses)}, images without an answer: {orphans}")
    assert statuses[500] == orphans == 0, statuses
    assert statuses[503] == 0
    assert statuses[202] > 0
    statuses, orphans = race(Tenant(nova, glance, "alice"), glance)
    print(f"without: {dict(statuses)}, images without an answer: {orphans}")
    assert statuses[500] or orphans, "there is no race to end"

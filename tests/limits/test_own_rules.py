"""Rules of the operator's own that count images, on a real Nova with a real Glance."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Callable

import pytest

from tests.gateway.nova import ServedNova
from tests.limits.glance import Glance
from tests.limits.test_limits import Tenant, fault

pytest.importorskip("cel_expr_python")

SERVER = "[imagefilter:rule:two-a-server]\ndeny = usage.server >= 2\nmessage = Two snapshots of a server\n"
PROJECT = "[imagefilter:rule:three]\ndeny = usage.project >= 3 && action == 'createImage'\n"
PROGRESS = "[imagefilter:rule:busy]\ndeny = usage.in_progress >= 1\n"


@pytest.fixture
def tenant(nova: ServedNova, glance: Glance, tmp_path: Path) -> Callable[..., Tenant]:
    """Build a tenant behind a policy with rules."""

    def build(text: str, user: str = "alice", **options: str) -> Tenant:
        path = tmp_path / f"{abs(hash(text))}.conf"
        path.write_text(text)
        return Tenant(nova, glance, user, oslo_config_file=str(path), **options)

    return build


def test_a_rule_counts_as_a_limit_does(tenant: Callable[..., Tenant], glance: Glance) -> None:
    alice = tenant(SERVER)
    assert [alice.image().status_int for _ in range(2)] == [202, 202]
    assert fault(alice.image()) == (403, "Two snapshots of a server (two-a-server)")
    record = alice.record()
    assert (record["rule"], record["own_rule"]) == ("two-a-server", True)
    assert record["snapshot_usage"]["server"] == 2
    assert record["lock_seconds"] >= 0
    assert len(glance.snapshots()) == 2
    assert all("imagefilter_server" in snapshot for snapshot in glance.snapshots())


def test_a_rule_counts_the_project_and_what_is_unfinished(tenant: Callable[..., Tenant], glance: Glance) -> None:
    alice = tenant(PROJECT)
    other = alice.cloud.new_server()
    assert [alice.image(server).status_int for server in (alice.server, other, other, alice.server)] == [
        202,
        202,
        202,
        403,
    ]
    assert fault(tenant(PROGRESS).image())[0] == 403, "the compute hosts are fake: images stay queued"


@pytest.mark.parametrize("text", [SERVER, PROJECT])
def test_no_storm_leaves_more(tenant: Callable[..., Tenant], glance: Glance, text: str) -> None:
    alice = tenant(text)
    responses: list[int] = []

    def ask() -> None:
        for _ in range(4):
            responses.append(alice.image().status_int)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(glance.snapshots()) == {SERVER: 2, PROJECT: 3}[text]
    assert set(responses) <= {202, 403, 409, 429}


def test_a_rule_that_warns_takes_no_lock(tenant: Callable[..., Tenant], glance: Glance) -> None:
    alice = tenant(SERVER + "mode = warn\n")
    assert [alice.image().status_int for _ in range(3)] == [202] * 3
    assert alice.record()["verdict"] == "would_deny"


@pytest.mark.parametrize(("on_error", "status"), [("deny", 503), ("allow", 202)])
def test_an_image_api_that_does_not_answer(tenant: Callable[..., Tenant], on_error: str, status: int) -> None:
    alice = tenant(SERVER, lookup_on_error=on_error, image_api_url="http://127.0.0.1:9")
    assert alice.image().status_int == status

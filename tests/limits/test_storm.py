"""A storm leaves no more images than a limit allows, with each back end of locks; without a common lock it does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.coordination.servers import KINDS, serve
from tests.gateway.nova import ServedNova
from tests.limits.glance import Glance
from tests.limits.storm import PROCESSES, Server, boot_servers, run_rounds, serve_gateways

ROUNDS = int(os.environ.get("ROUNDS", "3"))  # make storm runs more


@pytest.fixture(scope="module")
def servers(nova: ServedNova) -> list[Server]:
    return boot_servers(nova)


@pytest.mark.parametrize("kind", KINDS)
def test_a_storm_never_exceeds_a_limit(
    nova: ServedNova, glance: Glance, servers: list[Server], kind: str, tmp_path: Path
) -> None:
    if kind == "host":
        exercise(nova, glance, servers, [f"file://{tmp_path}/locks"] * PROCESSES)
        return
    with serve(kind, tmp_path) as server:
        exercise(nova, glance, servers, [server.url] * PROCESSES)


def exercise(nova: ServedNova, glance: Glance, servers: list[Server], urls: list[str]) -> None:
    with serve_gateways(nova, glance, urls) as gateways:
        for report in run_rounds(nova, glance, gateways, servers, ROUNDS):
            print(report)
            assert not report.exceeded, report
            assert report.wrong_refusals == []
            assert report.responses["image 202"] > 0


def test_without_a_common_lock_it_exceeds(
    nova: ServedNova, glance: Glance, servers: list[Server], tmp_path: Path
) -> None:
    """Otherwise the storm would show nothing."""
    with serve_gateways(nova, glance, [f"file://{tmp_path}/locks-{n}" for n in range(PROCESSES)]) as gateways:
        reports = []
        for report in run_rounds(nova, glance, gateways, servers, 30):
            reports.append(report)
            if report.exceeded:
                return
    pytest.fail(f"no round exceeded a limit: {reports}")

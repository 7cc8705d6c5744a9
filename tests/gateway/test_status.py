"""``imagefilter status`` of real servers: the processes that judge are known, not those that load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases import SERVER, image
from tests.gateway.client import PATIENCE
from tests.gateway.conftest import Upstream
from tests.gateway.servers import serve_gateway
from tests.waiting import wait_until

PATH = f"/v2.1/servers/{SERVER}/action"
HEADERS = {"X-Auth-Token": "a token"}


@pytest.mark.parametrize("server", ["gunicorn", "granian"])
def test_the_workers_are_listed(server: str, upstream: Upstream) -> None:
    with serve_gateway(server, upstream.url, workers=2) as gateway:
        workers = set(gateway.workers())

        def all_have_judged() -> bool:
            gateway.send_request("POST", PATH, image(), HEADERS)
            return set(list_pids(str(gateway.journal.path))) == workers

        wait_until(all_have_judged, PATIENCE)


def list_pids(journal: str) -> list[int]:
    """Return the processes that the command lists; it must find them all in agreement with their files."""
    command = [Path(sys.executable).with_name("imagefilter"), "status", "-f", "json", "--journal", journal]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [row["PID"] for row in json.loads(done.stdout)]


def test_the_log_of_a_start_says_what_is_in_force_and_no_more(upstream: Upstream) -> None:
    """auth_token says of each option of keystoneauth's that it does not know it; a misspelt one is still named."""
    authtoken = {"auth_url": "http://127.0.0.1:9", "project_name": "service", "memcached_server": "x"}
    with serve_gateway("granian", upstream.url, authtoken=authtoken) as gateway:
        lines = [line for line in gateway.log.read_text().splitlines() if " INFO " in line or " WARNING " in line]
    ours, theirs = lines
    assert " INFO imagefilter.policy.store: imagefilter judges createImage, createBackup by policy " in ours
    assert f"; journal: {gateway.journal.path}; mode: enforce" in ours
    assert 'The option "memcached_server" is not known' in theirs

"""An operator's first round with the commands of docs/housekeeping.md, as they stand there, on the real components."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.keystone import ADMIN, PASSWORD, REGION
from tests.paths import DOCS
from tests.real.site import Site
from tests.records import parse_requests

PAGE = (DOCS / "housekeeping.md").read_text()
SECTION = PAGE[PAGE.index("## A first round") : PAGE.index("## The census")]
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"(?:^    .+\n|^\n(?=    ))+", SECTION, re.MULTILINE)]

# Where the page's paths are in this test.
CONFIG, JOURNAL = "/etc/imagefilter/imagefilter.conf", "/var/lib/imagefilter-reap/reap.jsonl"
SERVER, OWN_SERVER = "web-1", "of-the-first-round"  # other tests of the process leave servers of the page's name


class Operator:
    """Types what the page says."""

    def __init__(self, folder: Path, auth_url: str) -> None:
        self.config, self.journal = folder / "imagefilter.conf", folder / "reap.jsonl"
        self._clouds = folder / "clouds.yaml"
        clouds = {
            "admin": {"auth": _log_in(auth_url, ADMIN, ADMIN)},
            "demo": {"auth": _log_in(auth_url, "alice", "demo")},
        }
        for cloud in clouds.values():
            cloud["region_name"] = REGION  # type: ignore[assignment]
        self._clouds.write_text(json.dumps({"clouds": clouds}))

    def run(self, command: str) -> str:
        """Run one command in a shell; return what it prints."""
        environ = {name: text for name, text in os.environ.items() if not name.startswith("OS_")}
        environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
        environ.update(OS_CLIENT_CONFIG_FILE=str(self._clouds), COLUMNS="500", PYTHONWARNINGS="ignore")
        typed = command.replace(JOURNAL, str(self.journal)).replace(SERVER, OWN_SERVER)
        done = subprocess.run(typed, shell=True, env=environ, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


def _log_in(auth_url: str, user: str, project: str) -> dict[str, str]:
    names = {"auth_url": auth_url, "username": user, "password": PASSWORD, "project_name": project}
    return {**names, "user_domain_id": "default", "project_domain_id": "default"}


def cells(table: str, column: str) -> list[str]:
    """Return the texts in a column of a table as the commands print them."""
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    if not lines:
        return []
    number = [name.strip() for name in lines[0]].index(column)
    return [line[number].strip() for line in lines[1:]]


def test_the_page_has_these_commands() -> None:
    programs = [[line.split()[0] for line in block.strip().splitlines()] for block in BLOCKS]
    assert programs == [
        ["imagefilter"],
        ["[imagefilter]", "image_expires", "metadata_set"],
        ["openstack"] * 2,
        ["imagefilter"] * 2,
        ["imagefilter"] * 2,
    ]
    assert CONFIG in SECTION


@pytest.mark.slow
def test_a_first_round(site: Site, tmp_path: Path) -> None:
    operator = Operator(tmp_path, site.keystone.url)
    operator.config.write_text("[imagefilter]\nreload_interval = 0\n")
    server = site.boot("alice", name=OWN_SERVER)
    with site.serve({"oslo_config_file": str(operator.config)}):
        [look], [*expiry], [create, show], [look_again, rehearse], [reap, read] = (
            [line for line in block.splitlines() if line] for block in BLOCKS
        )
        assert operator.run(look).strip() in ("", "no images of servers")
        time.sleep(1.1)  # a file that was written less than a second ago may be half a file
        operator.config.write_text("\n".join([*expiry, "reload_interval = 0\n"]))
        time.sleep(1.1)

        operator.run(create)
        site.cloud.settle(server)
        shown = operator.run(show)
        made_by = site.keystone.ids["alice"]
        assert re.search(f"imagefilter_server='{server}'", shown), shown
        assert re.search(f"made_by='{made_by}'", shown), shown
        [image] = site.images("alice")
        assert image["imagefilter_expires"] in shown
        verdict = verdict_on(site)
        assert image["imagefilter_record"] == verdict["id"]

        assert cells(operator.run(look), "Expired") == ["0"]
        assert cells(operator.run(rehearse), "Decision") == []
        time.sleep(61)
        assert cells(operator.run(look_again), "Expired") == ["1"]
        rehearsed = operator.run(rehearse)
        assert cells(rehearsed, "Decision") == ["would delete"]
        assert cells(rehearsed, "Image") == [image["id"]]
        assert site.images("alice"), "a rehearsal"
        assert not operator.journal.exists()

        assert cells(operator.run(reap), "Decision") == ["deleted"]
        assert site.images("alice") == []
        assert len(cells(operator.run(read), "Verdict")) == 1
        [_, outcome] = parse_requests(operator.journal.read_text().splitlines())
        assert outcome["attachments"][0]["content"]["image_record"] == verdict["id"]


def verdict_on(site: Site) -> Any:
    """Return the filter's own record of the one image."""
    [verdict] = [record for record in site.cloud.records() if record["action"] == "evaluate"]
    return verdict

"""The commands of docs/first-week.md, on a real Nova that judges by a policy as the page writes it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cases import image
from tests.nova.cloud import Cloud
from tests.paths import DOCS

PAGE = (DOCS / "first-week.md").read_text()
WISHES = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])


def blocks(wish: str) -> list[str]:
    """Return the blocks of a part of the page."""
    found = re.findall(r"(?:^    .*\n)+", WISHES[wish], re.MULTILINE)
    return [re.sub("^    ", "", block, flags=re.MULTILINE) for block in found]


class Operator:
    """Writes policies, asks for images, and runs commands."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.cloud, self.folder = cloud, folder
        self.config = folder / "my.conf"
        self.config.write_text("[imagefilter]\n")
        self.app: Any = cloud.app({"oslo_config_file": str(self.config), "reload_interval": "0"})
        self._age = 0

    def write(self, text: str) -> None:
        self.config.write_text(text)
        self._age += 1
        os.utime(self.config, (1e9 + self._age, 1e9 + self._age))

    def ask(self, token: str, server: str = "") -> int:
        """Ask for an image; return the status."""
        before, self.cloud.server = self.cloud.server, server or self.cloud.server
        try:
            response = self.cloud.post_action(self.app, image("mine", {"k": "v"}), headers={"X-Auth-Token": token})
        finally:
            self.cloud.server = before
        return int(response.status_int)

    def run(self, line: str) -> str:
        command = shlex.split(line.replace("$JOURNAL", str(self.cloud.journal)))
        program = Path(sys.executable).with_name(command[0])
        done = subprocess.run([program, *command[1:]], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def operator(cloud: Cloud, tmp_path: Path) -> Operator:
    return Operator(cloud, tmp_path)


@pytest.fixture(scope="module")
def others_server(cloud: Cloud) -> str:
    """A server of the other project."""
    return cloud.new_server(token="other")


def test_forbid_one_project(operator: Operator, others_server: str) -> None:
    operator.write(blocks("Forbid one project to make snapshots")[0])
    assert (operator.ask("other", others_server), operator.ask("member")) == (400, 202)


def test_rehearse_and_enforce_a_naming_rule(operator: Operator) -> None:
    policy, summary, replay = blocks("Rehearse a naming rule, and enforce it")
    operator.write(policy)
    assert (operator.ask("member"), operator.ask("backup")) == (202, 202)
    assert {"alice", "night"} <= set(re.findall(r"\w+", operator.run(summary)))
    enforced = policy.replace("rule_modes = name-pattern:warn\n", "exempt_roles = backup\n")
    (operator.folder / "new.conf").write_text(enforced)
    assert "newly refused: " in operator.run(replay)
    operator.write(enforced)
    assert (operator.ask("member"), operator.ask("backup")) == (403, 202)


def test_raise_one_projects_quota(operator: Operator, others_server: str) -> None:
    operator.write(blocks("Raise one project's quota without a restart")[0])
    assert (operator.ask("member"), operator.ask("other", others_server)) == (403, 202)
    assert "agrees" in operator.run("imagefilter status --journal $JOURNAL")


def test_a_rule_of_ones_own(operator: Operator) -> None:
    pytest.importorskip("cel_expr_python")
    policy, listed = blocks("A rule of your own, on the server's flavor")
    operator.write(policy)
    assert (operator.ask("member"), operator.ask("backup")) == (202, 202)
    found = operator.run(listed + " -f csv -c User -c Verdict")
    assert "alice" in found
    assert "night" not in found
    operator.write(policy.replace("mode = warn\n", ""))
    assert (operator.ask("member"), operator.ask("backup")) == (403, 202)


def test_who_made_an_image_and_a_page(operator: Operator) -> None:
    operator.ask("member")
    listed, shown, report = blocks("Who made that image, and a page about refusals")[0].splitlines()
    assert "mine" in operator.run(listed)
    request = [record for record in operator.cloud.records() if record["action"] == "create/image"][-1]
    image_id = request["attachments"][0]["content"]["image_id"]
    assert "alice" in operator.run(shown.replace("REQUEST-ID-OR-IMAGE-ID", image_id))
    operator.run(report)
    assert (operator.folder / "refusals.html").stat().st_size > 1000
    assert (operator.folder / "refusals.csv").exists()

"""The blocks of docs/first-week.md, word for word in a shell, beside a demo that the page's own command started."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nova.cloud import NOVA
from tests.nova.machine import make_clone
from tests.pages import read_blocks
from tests.paths import DOCS
from tests.ports import find_free_port, is_listening
from tests.waiting import wait_until

BLOCKS = read_blocks(DOCS / "first-week.md")
START, OTHER_TERMINAL = (block.text for block in BLOCKS[:2])

pytestmark = [
    pytest.mark.skipif(NOVA < 34, reason="make demo runs Nova 34"),
    pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="make runs programs of a virtualenv"),
]


def blocks(wish: str) -> list[str]:
    """Return the blocks of a part of the page."""
    found = [block.text for block in BLOCKS if block.heading == wish]
    assert found, wish
    return found


class Operator:
    """Has two terminals in a clone: one with the demo, and one for commands."""

    def __init__(self, clone: Path) -> None:
        self.clone = clone
        self.out = clone / "terminal"
        self.environment = {**os.environ, "TMPDIR": str(clone / "tmp"), "PORT": str(find_free_port())}
        self.environment.pop("COLUMNS", None)

    def start(self) -> None:
        """Start the demo."""
        with self.out.open("w") as terminal:
            self._demo = subprocess.Popen(
                ["bash", "-ec", START], cwd=self.clone, env=self.environment, stdout=terminal, stderr=terminal,
                start_new_session=True,
            )  # fmt: skip
        wait_until(lambda: "Serving until Ctrl-C" in self.screen or self._demo.poll() is not None, 120)
        assert self._demo.poll() is None, self.screen

    def end(self) -> None:
        """Press Ctrl-C."""
        os.killpg(self._demo.pid, signal.SIGINT)
        self._demo.wait(60)

    @property
    def screen(self) -> str:
        """What the demo's terminal shows."""
        return self.out.read_text()

    def run(self, block: str, statuses: tuple[int, ...] = (0,)) -> str:
        """Run a block in the other terminal; return what it printed."""
        command = ["bash", "-ec", OTHER_TERMINAL + block]
        done = subprocess.run(
            command, cwd=self.clone, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode in statuses, done.stdout + done.stderr
        return done.stdout + done.stderr

    def put_in_force(self, block: str) -> None:
        """Run a block that writes the policy; wait until the demo says that it is in force, without any request."""
        before = self.screen.count("imagefilter judges ")
        self.run(block)
        wait_until(lambda: self.screen.count("imagefilter judges ") > before, 10)

    def ask(self, token: str) -> str:
        """Copy the line of a caller that the demo printed; return what it prints."""
        line = self.find_line(token)
        answers: list[str] = []
        wait_until(lambda: answers.append(self.run(line)) or " 409 " not in answers[-1], 60, 0.2)
        return answers[-1]

    def find_line(self, token: str) -> str:
        """Return the line of a caller that the demo printed."""
        line = re.search(rf"^# {token}: .*\n(curl .*\\\n.*)\n", self.screen, re.MULTILINE)
        assert line
        return line[1]

    def statuses(self, *tokens: str) -> list[int]:
        """Return the statuses of the responses to some callers."""
        return [int(self.ask(token).split()[1]) for token in tokens]


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    clone = tmp_path_factory.mktemp("week") / "clone"
    make_clone(clone)
    (clone / "tmp").mkdir()
    operator = Operator(clone)
    operator.start()
    yield operator
    operator.end()
    assert list((clone / "tmp").iterdir()) == []


def test_forbid_one_project(operator: Operator) -> None:
    [policy] = blocks("Forbid one project to make snapshots")
    operator.put_in_force(policy)
    assert "Instance snapshots are not permitted at this time." in operator.ask("other")
    assert operator.statuses("other", "member") == [400, 202]


def test_rehearse_and_enforce_a_naming_rule(operator: Operator) -> None:
    policy, summary, replay, enforce = blocks("Rehearse a naming rule, and enforce it")
    operator.put_in_force(policy)
    for token in ("member", "backup"):
        assert "\nWarning: 299 " in operator.ask(token)
    assert {"alice", "night"} <= set(re.findall(r"\w+", operator.run(summary)))
    replayed = operator.run(replay, (1,))
    assert re.search(r"newly refused: [1-9]", replayed)
    assert re.search(r"\| night +\| +0 \|", replayed), "newly refused: none"
    operator.put_in_force(enforce)
    assert operator.statuses("member", "backup") == [403, 202]


def test_raise_one_projects_quota(operator: Operator) -> None:
    policy, status = blocks("Raise one project's quota without a restart")
    operator.put_in_force(policy)
    assert "Image metadata limit exceeded" in operator.ask("member")
    assert operator.statuses("member", "other") == [403, 202]
    assert "agrees" in operator.run(status)


def test_a_rule_of_ones_own(operator: Operator) -> None:
    pytest.importorskip("cel_expr_python")
    trial, listed, enforce = blocks("A rule of your own, on the server's flavor")
    operator.put_in_force(trial)
    assert operator.statuses("member", "backup") == [202, 202]
    found = operator.run(listed)
    assert "alice" in found
    assert "night" not in found
    operator.put_in_force(enforce)
    assert operator.statuses("member", "backup") == [403, 202]


def test_who_made_an_image_and_a_page(operator: Operator) -> None:
    operator.put_in_force("printf '[imagefilter]\nmode = enforce\n' > my.conf")
    assert operator.statuses("member") == [202]
    find, report = blocks("Who made that image, and a page about refusals")
    printed = operator.run(find)
    assert "no requests" in printed, "nobody asked last Tuesday"
    assert re.search(r"\| user_name +\| alice", printed)
    assert re.search(r"\| image_name +\| mine", printed)
    operator.run(report)
    assert (operator.clone / "refusals.html").stat().st_size > 1000
    assert (operator.clone / "refusals.csv").exists()


@pytest.mark.skipif(is_listening(9784), reason="port 9784, the relay's, is in use")
def test_an_alert(operator: Operator) -> None:
    operator.put_in_force("printf '[imagefilter]\nmode = enforce\n' > my.conf")
    assert operator.statuses("member") == [202]
    started, counted, rules = blocks("An alert when refusals spike")
    is_counted = f"until {counted.strip()} | grep -q 'allow.* [1-9]'; do sleep 0.3; done\n"
    metrics = "until curl -sf http://127.0.0.1:9784/metrics >metrics; do sleep 0.3; done\n"
    member = operator.find_line("member")
    printed = operator.run(f"{started}\n{metrics}{member}\n{is_counted}{counted}\nkill $!\nwait $! || true\n")
    assert re.search(r'imagefilter_requests_total\{.*verdict="allow".*\} [1-9]', printed)
    if subprocess.run(["which", "promtool"], check=False, stdout=subprocess.DEVNULL).returncode:
        pytest.skip("no promtool")
    assert "SUCCESS: " in operator.run(rules)


def test_a_bad_policy_shows_without_a_request(operator: Operator) -> None:
    """As the page promises."""
    operator.run("printf '[imagefilter]\nname_patern = x\nsnapshots_per_project = many\n' > my.conf")
    wait_until(lambda: "(is it name_pattern?)" in operator.screen, 10)
    [line] = [line for line in operator.screen.splitlines() if "(is it name_pattern?)" in line]
    assert line.startswith("  log      error: reload failed, keeping the previous configuration: ")
    assert "snapshots_per_project = many" in line


def test_each_change_is_told_once(operator: Operator) -> None:
    """Also one that is taken back at once: the line about the policy in force is the last one."""
    operator.put_in_force("printf '[imagefilter]\nmetadata_items = 1\n' > my.conf")
    before = operator.screen
    operator.put_in_force("printf '[imagefilter]\nmetadata_items = 2\n' > my.conf")
    operator.put_in_force("printf '[imagefilter]\nmetadata_items = 1\n' > my.conf")
    told = [line for line in operator.screen[len(before) :].splitlines() if "imagefilter judges " in line]
    assert len(set(told)) == len(told) == 2
    assert told[-1] == [line for line in before.splitlines() if "imagefilter judges " in line][-1]


def test_what_can_not_be_tried_is_noted(operator: Operator) -> None:
    operator.put_in_force("printf '[imagefilter]\nsnapshots_per_project = 9\nexempt_roles = robot\n' > my.conf")
    wait_until(lambda: "nobody here has the role robot" in operator.screen, 10)
    assert "  note     snapshots_per_server, snapshots_per_project and snapshots_in_progress can't" in operator.screen
    assert operator.statuses("member") == [503]

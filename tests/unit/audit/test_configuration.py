"""A process records by which policy it judges: before its first verdict, and at each reload, good or failed."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from pycadf import event

from imagefilter import filter_factory
from imagefilter.journal.process import describe_process, is_running
from tests.cases import image
from tests.paths import ROOT
from tests.records import content, parse_configurations
from tests.unit.fakes import PATH, Guarded
from tests.unit.policy.test_store import replace
from tests.wsgi import send

PASSWORD = "s3cr3t"


class Judging:
    """A filter with a config file that a test changes, and a journal."""

    def __init__(self, folder: Path, text: str = "", **paste: str) -> None:
        self.file, self.journal = folder / "imagefilter.conf", folder / "audit.jsonl"
        self.write(text)
        paste.update(oslo_config_file=str(self.file), reload_interval="0")
        self.guarded = Guarded(audit_journal=str(self.journal), **paste)

    def write(self, text: str) -> None:
        replace(self.file, f"[imagefilter]\n{text}\n")

    def post(self, text: str | None = None) -> None:
        if text is not None:
            self.write(text)
        self.guarded.post(image())

    def lines(self) -> list[str]:
        if not self.journal.exists():
            return []
        return self.journal.read_text().splitlines()

    def configurations(self) -> list[dict[str, Any]]:
        return [content(record) for record in parse_configurations(self.lines())]


@pytest.fixture
def judging(tmp_path: Path) -> Judging:
    return Judging(tmp_path, "metadata_items = 5")


def test_loading_records_nothing(judging: Judging) -> None:
    """Servers load as root, and fork afterwards."""
    assert judging.lines() == []


def test_what_is_no_image_action_records_nothing(judging: Judging) -> None:
    judging.guarded.post({"reboot": {}})
    send(judging.guarded.app, "POST", PATH, image(), None)  # without a token
    assert judging.lines() == []


def test_the_policy_is_recorded_before_the_first_verdict(judging: Judging) -> None:
    judging.post()
    judging.post()
    actions = [json.loads(line)["action"] for line in judging.lines()]
    assert actions == ["configure", "evaluate", "create/image", "evaluate", "create/image"]
    record = json.loads(judging.lines()[0])
    assert event.Event.is_valid(rebuild(record))
    assert (record["eventType"], record["outcome"], record["target"]["id"]) == (
        "control",
        "success",
        content(record)["policy_digest"],
    )
    assert record["observer"]["host"]["address"] == record["initiator"]["host"]["address"] == socket.gethostname()
    configuration = content(record)["configuration"]
    assert content(record)["pid"] == os.getpid()
    assert configuration["files"] == [str(judging.file)]
    assert configuration["journal"] == str(judging.journal)
    assert (configuration["mode"], configuration["failure"], configuration["serial"]) == ("enforce", None, 1)
    assert {"key": "reload_interval", "value": "0"} in configuration["paste"]


def test_the_page_has_each_field(judging: Judging) -> None:
    judging.post()
    page = (ROOT / "docs/records.md").read_text().partition("## Configurations")[2]
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(judging.configurations()[0]["configuration"])


def rebuild(record: dict[str, Any]) -> event.Event:
    """Return the CADF event that a record is."""
    given = {name: record[name] for name in ("eventType", "id", "eventTime", "action", "outcome")}
    return event.Event(initiatorId="x", targetId="x", observerId="x", **given)


def test_each_verdict_names_the_policy_that_judged_it(judging: Judging) -> None:
    judging.post()
    judging.post("metadata_items = 6")
    judging.post("metadata_items = 5")
    first, second, third = [item["policy_digest"] for item in judging.configurations()]
    assert first == third != second
    verdicts = [content(json.loads(line)) for line in judging.lines() if '"action":"evaluate"' in line]
    assert [verdict["policy_digest"] for verdict in verdicts] == [first, second, third]


@pytest.mark.parametrize("bad", ["metadata_items = many", "no_such_option = 1", "name_pattern = ("])
def test_a_reload_that_failed_is_recorded(judging: Judging, bad: str) -> None:
    judging.post()
    judging.post(bad)
    judging.post()
    judging.post("metadata_items = 5")
    loaded, failed, again = judging.configurations()
    assert failed["policy_digest"] == loaded["policy_digest"] == again["policy_digest"]
    assert str(judging.file) in failed["configuration"]["failure"]
    assert failed["configuration"]["loaded"] == loaded["configuration"]["loaded"], "in force since then"
    assert again["configuration"]["failure"] is None
    outcomes = [record["outcome"] for record in parse_configurations(judging.lines())]
    assert outcomes == ["success", "failure", "success"]


def test_a_child_records_for_itself(judging: Judging) -> None:
    judging.post()
    child = os.fork()
    if not child:
        judging.post()
        os._exit(0)
    os.waitpid(child, 0)
    assert [item["pid"] for item in judging.configurations()] == [os.getpid(), child]


def test_a_journal_that_fails_leaves_the_record_for_later(judging: Judging, tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    judging.post()
    (tmp_path / "audit.jsonl").rmdir()
    judging.post()
    assert len(judging.configurations()) == 1
    assert content(parse_configurations(judging.lines())[0])["unrecorded"] == 1


@pytest.mark.parametrize(
    "text",
    [
        f"coordination_url = redis://:{PASSWORD}@host",
        f"coordination_url = redis://:{PASSWORD}$x@host",
        f"coordination_url = redis://:${PASSWORD}@host",
        f"  user:{PASSWORD}@host",
        f"transport_url = rabbit://user:{PASSWORD}@host",
    ],
)
def test_no_record_and_no_log_holds_a_password(
    judging: Judging, text: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.unit.journal_fixtures import Run

    judging.post()
    judging.post(text)
    assert PASSWORD not in judging.journal.read_text() + caplog.text
    for command in (["check", "config"], ["show", "config", "-f", "json", "--config"]):
        run = Run(capsys, *command, judging.file)
        assert str(judging.file) in run.out + run.err
        assert PASSWORD not in run.out + run.err


def test_a_digest_does_not_depend_on_where_options_are_given(tmp_path: Path) -> None:
    digests = []
    for number, (text, paste) in enumerate([("metadata_items = 5", {}), ("", {"metadata_items": "5"}), ("", {})]):
        folder = tmp_path / str(number)
        folder.mkdir()
        judging = Judging(folder, f"{text}\naudit_journal = {tmp_path}/audit.jsonl", **paste)
        judging.guarded = Guarded(oslo_config_file=str(judging.file), reload_interval="0", **paste)
        judging.post()
        digests.append(content(parse_configurations((tmp_path / "audit.jsonl").read_text().splitlines())[-1]))
    one, other, default = [digest["policy_digest"] for digest in digests]
    assert one == other != default


def test_mode_off_names_what_stays_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    judging = Judging(tmp_path, "mode = off\n[imagefilter:project:abc]\nmode = enforce")
    judging.post()
    assert judging.configurations()[0]["configuration"]["stays_on"] == ["project abc (mode enforce)"]
    assert "mode: off" in caplog.text
    assert "stays on: project abc (mode enforce)" in caplog.text


def test_a_mode_of_the_paste_section_stays_on(tmp_path: Path) -> None:
    judging = Judging(tmp_path, "mode = off", mode="enforce")
    judging.post()
    [text] = judging.configurations()[0]["configuration"]["stays_on"]
    assert text.startswith("mode = enforce in the paste section wins over mode = off in section [imagefilter] of ")


def test_the_start_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    filter_factory({}, audit_journal=str(tmp_path / "audit.jsonl"))
    [record] = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage().startswith("imagefilter judges createImage, createBackup by policy ")
    assert record.getMessage().endswith(f" of no config file; journal: {tmp_path}/audit.jsonl; mode: enforce")


# --- which process it is


def test_this_process_runs() -> None:
    process = describe_process()
    assert process.pid == os.getpid()
    assert is_running(process) is True


def test_a_process_that_ended_does_not_run() -> None:
    process = describe_process()
    assert process.started
    assert is_running(process._replace(started=process.started - 100)) is False, "the id is used again"
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert is_running(process._replace(pid=child)) is False


def test_nothing_is_known_of_a_process_in_another_namespace() -> None:
    assert is_running(describe_process()._replace(namespace="pid:[1]")) is None
    assert is_running(describe_process()._replace(started=None)) is None

"""``imagefilter status``: by which policy the running processes judge."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.cases import image
from tests.records import content
from tests.unit.journal_fixtures import Run, Writer
from tests.unit.policy.test_store import replace


class Watched:
    """A filter with a config file and a journal, in this process, and what ``imagefilter status`` says of it."""

    def __init__(self, folder: Path, run: Callable[..., Run]) -> None:
        self.file = folder / "imagefilter.conf"
        self.write("metadata_items = 5")
        self.writer = Writer(folder / "audit.jsonl", oslo_config_file=str(self.file), reload_interval="0")
        self._run = run

    def write(self, text: str) -> None:
        replace(self.file, f"[imagefilter]\n{text}\n")

    def status(self, *options: str) -> Run:
        return self._run("status", "-f", "json", "--journal", self.writer.path, *options)

    def change_records(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change each record in the journal."""
        records = [json.loads(line) for line in self.writer.path.read_text().splitlines()]
        for record in records:
            change(record)
        self.writer.path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def watched(tmp_path: Path, run: Callable[..., Run]) -> Watched:
    watched = Watched(tmp_path, run)
    watched.writer.post(image())
    return watched


def test_a_process_that_agrees_with_its_file(watched: Watched) -> None:
    watched.writer.post(image(""))
    result = watched.status()
    [row] = result.rows
    assert (result.status, result.err) == (0, "")
    assert (row["PID"], row["Mode"], row["File"]) == (os.getpid(), "enforce", "agrees")
    assert (row["Refused 1h"], row["Unrecorded"]) == (1, 0)
    assert row["Since"] <= row["Last Record"]


def test_a_process_that_has_not_seen_the_new_file(watched: Watched) -> None:
    watched.write("metadata_items = 6")
    result = watched.status()
    assert (result.status, result.rows[0]["File"]) == (1, "differs")
    assert f"process {os.getpid()} of " in result.err
    assert "at its next image action" in result.err
    watched.writer.post(image())
    assert watched.status().status == 0


def test_a_reload_that_failed(watched: Watched) -> None:
    watched.write("metadata_items = many")
    watched.writer.post(image())
    result = watched.status()
    assert (result.status, result.rows[0]["File"]) == (1, "error")
    assert "a reload failed at 20" in result.err
    assert "metadata_items = many" in result.err
    watched.write("metadata_items = 5")
    result = watched.status()
    assert (result.status, result.rows[0]["File"]) == (1, "agrees"), "it still has not looked"
    watched.writer.post(image())
    assert watched.status().status == 0


def test_a_file_that_is_bad_now(watched: Watched) -> None:
    watched.write("metadata_items = many")
    result = watched.status()
    assert (result.status, result.rows[0]["File"]) == (1, "error")
    assert "its files can't be loaded any more" in result.err


def test_records_that_are_missing(tmp_path: Path, run: Callable[..., Run]) -> None:
    watched = Watched(tmp_path, run)
    watched.writer.post(image())
    journal, aside = watched.writer.path, tmp_path / "aside"
    journal.rename(aside)
    journal.mkdir()
    watched.writer.post(image())
    journal.rmdir()
    aside.rename(journal)
    watched.writer.post(image())
    result = watched.status()
    assert (result.status, result.rows[0]["Unrecorded"]) == (1, 1)
    assert "could not write 1 records" in result.err


def test_a_process_that_has_ended(watched: Watched) -> None:
    child = os.fork()
    if not child:
        watched.writer.post(image())
        os._exit(0)
    os.waitpid(child, 0)
    watched.write("metadata_items = 6")
    watched.writer.post(image())
    result = watched.status()
    assert (result.status, [row["PID"] for row in result.rows]) == (0, [os.getpid()])
    assert "processes that have ended, or write no more records: 1 (--all lists them)" in result.err
    assert {row["PID"] for row in watched.status("--all").rows} == {os.getpid(), child}


@pytest.mark.parametrize(("hours", "listed"), [(1, True), (23, True), (25, False)])
def test_a_process_of_another_host(watched: Watched, hours: int, listed: bool) -> None:
    """Whether it still runs nobody knows here."""
    then = time.strftime("%Y-%m-%dT%H:%M:%S.000000+00:00", time.gmtime(time.time() - hours * 3600))

    def move(record: dict[str, Any]) -> None:
        record["observer"]["host"]["address"] = "elsewhere"
        record["eventTime"] = then

    watched.change_records(move)
    assert bool(watched.status().rows) is listed


def test_a_container_that_was_started_again(watched: Watched) -> None:
    """Its processes have the ids of those before."""

    def move(record: dict[str, Any]) -> None:
        record["observer"]["host"]["address"] = "elsewhere"
        if record["action"] == "configure":
            configuration = content(record)["configuration"]
            configuration["process_started"] -= 1000
            configuration["process_namespace"] = "pid:[1]"
            content(record)["policy_digest"] = "an older one"

    watched.change_records(move)
    again = Writer(watched.writer.path, oslo_config_file=str(watched.file), reload_interval="0")
    again.post(image())

    def rename(record: dict[str, Any]) -> None:
        record["observer"]["host"]["address"] = "elsewhere"

    watched.change_records(rename)
    result = watched.status()
    assert (result.status, len(result.rows)) == (0, 1)


def test_the_records_stand_in_rotated_files(watched: Watched) -> None:
    watched.writer.rotate("-20261101.gz")
    watched.writer.post(image())
    [row] = watched.status().rows
    assert row["File"] == "agrees"


def test_a_journal_without_such_records(tmp_path: Path, run: Callable[..., Run]) -> None:
    journal = tmp_path / "audit.jsonl"
    journal.write_text("")
    result = run("status", "--journal", journal)
    assert (result.status, result.err) == (0, "no processes that have recorded their policy\n")


def test_no_journal(tmp_path: Path, run: Callable[..., Run]) -> None:
    assert run("status", "--journal", tmp_path / "none").status == 2


def test_what_stays_on_is_named(watched: Watched) -> None:
    watched.write("mode = off\n[imagefilter:project:abc]\nmode = warn")
    watched.writer.post(image())
    result = watched.status()
    assert result.rows[0]["Mode"] == "off"
    assert "stays on: project abc (mode warn)" in result.err


@pytest.mark.parametrize("command", ["list", "summary", "replay", "report"])
def test_no_reader_counts_a_configuration_as_a_request(
    command: str, watched: Watched, tmp_path: Path, run: Callable[..., Run]
) -> None:
    more: list[Any] = {"replay": ["--config", watched.file], "report": ["--html", tmp_path / "page"]}.get(command, [])
    result = run("audit", command, "--journal", watched.writer.path, *more)
    assert (result.status, "left out" in result.err) == (0, False)
    if command == "summary":
        rows = run("audit", "summary", "-f", "json", "--journal", watched.writer.path).rows
        assert [row["Requests"] for row in rows] == [1]

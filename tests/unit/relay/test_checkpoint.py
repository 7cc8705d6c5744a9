"""The checkpoint file: whole, on disk before it counts, and for one relay at a time."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from imagefilter.cli.app import main
from imagefilter.journal.position import Position
from imagefilter.relay import checkpoint
from imagefilter.relay.checkpoint import Checkpoint, State
from imagefilter.relay.counters import REQUESTS, RETRIED
from tests.relay.fakes import Folder


def test_reads_what_it_wrote(tmp_path: Path) -> None:
    path = str(tmp_path / "relay.json")
    allowed = REQUESTS.series(action="createImage", verdict="allow", rule="", mode="enforce")
    state = State({"/a": Position("digest", 5, {"older": 7})}, {allowed: 3.0, RETRIED.series(): 1.0})
    Checkpoint(path).write(state)
    assert checkpoint.read(path) == state
    assert os.stat(path).st_mode & 0o777 == 0o640


def test_people_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "relay.json"
    allowed = REQUESTS.series(action="createImage", verdict="allow", rule="", mode="enforce")
    Checkpoint(str(path)).write(State({"/a": Position("digest", 5, {"older": 7})}, {allowed: 3.0}))
    assert json.loads(path.read_bytes()) == {
        "version": 1,
        "positions": {"/a": ["digest", 5, {"older": 7}]},
        "counts": [["requests", "createImage", "allow", "", "enforce", 3.0]],
    }


def test_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: calls.append(name) or real(*args))
    Checkpoint(str(tmp_path / "relay.json")).write(State({}, {}))
    assert calls == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "null", '{"version": 2}', '{"version": 1, "positions": 3}', "[" * 9000]
)
def test_a_damaged_checkpoint_stops_the_relay(folder: Folder, capsys: pytest.CaptureFixture[str], content: str) -> None:
    """Beginning from nothing would send everything again: the operator's decision."""
    folder.checkpoint.write_text(content)
    assert main(["relay", "--once", "--config-file", str(folder.config)]) == 2
    assert f"{folder.checkpoint} is not a checkpoint" in capsys.readouterr().err
    assert folder.checkpoint.read_text() == content


def test_two_relays_can_not_have_one_checkpoint(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    locked = Checkpoint(str(folder.checkpoint))
    status = main(["relay", "--once", "--config-file", str(folder.config)])
    locked.close()
    assert status == 2
    assert f"another relay uses the checkpoint {folder.checkpoint}" in capsys.readouterr().err

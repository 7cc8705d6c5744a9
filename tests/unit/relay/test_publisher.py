"""The names of events, and the dry run, which prints them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from imagefilter.relay.publisher import name_event
from tests.relay.fakes import Folder, record, write
from tests.unit.relay.fakes import FOREIGN


@pytest.mark.parametrize(
    ("template", "content", "name"),
    [
        (0, {}, "imagefilter.createImage.allow"),
        (1, {}, "imagefilter.createImage.outcome"),
        (2, {}, "imagefilter.createImage.deny"),
        (0, {"verdict": "would_deny", "action": "createBackup"}, "imagefilter.createBackup.would_deny"),
        (0, {"verdict": "exempt", "action": "shelve"}, "imagefilter.shelve.exempt"),
        (2, {"action": None}, "imagefilter.unknown.deny"),
    ],
)
def test_names_an_event_by_action_and_verdict(template: int, content: dict[str, Any], name: str) -> None:
    assert name_event(record(1, template, **content)) == name


@pytest.mark.parametrize("foreign", FOREIGN)
def test_records_of_others_have_no_name(foreign: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not a record of imagefilter|neither a verdict nor an outcome"):
        name_event(foreign)


@pytest.mark.slow
def test_dry_run_prints_everything_and_keeps_nothing(folder: Folder) -> None:
    write(folder.journal, record(1), record(2, 1), record(3, 2))
    with open(folder.journal, "ab") as file:
        file.write(b'{"torn\n{"foreign": 1}\n')
    for _ in range(2):
        done = folder.command("--once", "--dry-run")
        assert done.returncode == 0
        lines = [line.split(" {", 1) for line in done.stdout.splitlines()]
        assert [name for name, _ in lines] == [
            "imagefilter.createImage.allow",
            "imagefilter.createImage.outcome",
            "imagefilter.createImage.deny",
            "torn",
            "dead-letter (not a record of imagefilter)",
        ]
        assert ["{" + rest for _, rest in lines] == folder.journal.read_text().splitlines()
    assert not folder.checkpoint.exists()


@pytest.mark.slow
def test_dry_run_needs_no_library(folder: Folder) -> None:
    write(folder.journal, record(1))
    code = (
        "import sys\nfor name in ('oslo_messaging', 'prometheus_client', 'tenacity'): sys.modules[name] = None\n"
        "from imagefilter.cli import app\nsys.exit(app.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "relay", "--once", "--config-file", str(folder.config)]
    done = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'nova-imagefilter[relay]'" in done.stderr

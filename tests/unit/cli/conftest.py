"""Commands to run, and a journal to read."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest

from tests.cases import backup, image
from tests.unit.journal_fixtures import Run, Writer

OTHER_PROJECT = "0123456789abcdef0123456789abcdef"

CONFIG = """
[imagefilter]
metadata_items = 5
name_pattern = (nightly|weekly)-[0-9]+
[imagefilter:project:abc]
snapshots_enabled = false
"""


@pytest.fixture(autouse=True)
def no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no table be cut to the width of the terminal that the tests run in."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Run a command."""
    return lambda *args: Run(capsys, *args)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config file; tests may overwrite it."""
    path = tmp_path / "imagefilter.conf"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """A journal that is not there yet."""
    return Writer(
        tmp_path / "audit.jsonl",
        name_pattern="[a-z]+",
        rule_modes="metadata-reserved:warn",
        actions="createImage,createBackup,shelve",
    )


@pytest.fixture
def ids(writer: Writer) -> dict[str, str]:
    """The journal with one request of each sort: their request ids."""
    return {
        "good": writer.post(image("good", {"a": "b"})),
        "refused": writer.post(image("N0")),
        "warned": writer.post(image("warned", {"owner": "me"})),
        "backup": writer.post(backup(name="weekly"), project=OTHER_PROJECT, user="bob"),
        "shelve": writer.post({"shelve": None}),
        "unreadable": writer.post(b'{"createImage": '),
    }

"""``imagefilter show config``: every option, its value and where it was set."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cliff")


def test_shows_values_and_origins(config: Path, run: Any) -> None:
    shown = run("show", "config", "--config", config, "-f", "json")
    rows = {(row["Project"], row["Option"]): (row["Value"], row["Origin"]) for row in shown.rows}
    assert shown.status == 0
    assert rows["all", "metadata_items"] == ("5", f"section [imagefilter] of {config}")
    assert rows["all", "snapshots_enabled"] == ("True", "default")
    assert rows["abc", "snapshots_enabled"] == ("false", f"section [imagefilter:project:abc] of {config}")
    assert ("abc", "metadata_items") not in rows


def test_prints_csv(config: Path, run: Any) -> None:
    out = run("show", "config", "--config", config, "-f", "csv").out
    assert next(csv.reader(io.StringIO(out))) == ["Project", "Option", "Value", "Origin"]


@pytest.mark.parametrize("form", ["yaml", "table"])
def test_prints_other_formats(config: Path, form: str, run: Any) -> None:
    assert "metadata_items" in run("show", "config", "--config", config, "-f", form).out


def test_reports_a_missing_file(run: Any) -> None:
    shown = run("show", "config", "--config", "/nowhere.conf")
    assert (shown.status, shown.err) == (2, "error: config file /nowhere.conf: No such file or directory\n")

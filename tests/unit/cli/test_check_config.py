"""``imagefilter check config``: every error, and what is probably not meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cliff")

SWITCHED_OFF = "snapshots_enabled is false, so name_pattern and metadata_required have no effect"


def test_reports_warnings(config: Path, run: Any) -> None:
    check = run("check", "config", config)
    assert (check.status, check.out) == (1, f"warning: abc: {SWITCHED_OFF}\n{config}: OK, warnings: 1\n")


def test_reports_that_a_file_is_ok(config: Path, run: Any) -> None:
    config.write_text("[imagefilter]\nmetadata_items = 5\n")
    check = run("check", "config", config)
    assert (check.status, check.out) == (0, f"{config}: OK\n")


def test_reports_all_errors(config: Path, run: Any) -> None:
    config.write_text("[imagefilter]\nmetadata_items = x\nnonsense = 1\n[imagefilter:project:demo]\nmode = warn\n")
    check = run("check", "config", config)
    assert check.status == 2
    assert check.out.count("error: ") == 3


def test_reports_an_unusable_journal(config: Path, run: Any) -> None:
    config.write_text("[imagefilter]\naudit_journal = /nowhere/audit.jsonl\n")
    check = run("check", "config", config)
    assert check.status == 2
    assert "error: audit_journal = /nowhere/audit.jsonl in section [imagefilter]" in check.out


def test_reports_a_missing_file(run: Any) -> None:
    assert run("check", "config", "/nowhere.conf").status == 2


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("exempt_roles = admin, backup", "exempt_roles names admin"),
        ("metadata_required = id", "both name id: every request would be refused"),
        ("metadata_required = os_glance_x", "both name os_glance_x"),
        ("metadata_required = a, b\nmetadata_items = 1", "names more keys than metadata_items"),
        ("metadata_items = 119", "above 118"),
        ("metadata_reserved = id", "does not name these fields of the image: status, "),
        ("mode = warn", "not enforced: project-id:warn"),
        ("rule_modes = name-format:off", "not enforced: name-format:off"),
        ("", "sets no option"),
    ],
)
def test_warns_of_what_is_probably_not_meant(line: str, warning: str, config: Path, run: Any) -> None:
    config.write_text(f"[imagefilter]\n{line}\n")
    check = run("check", "config", config)
    assert check.status == 1
    assert warning in check.out

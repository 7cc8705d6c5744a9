"""What the pages under docs/ claim."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT.glob("docs/**/*.md"))
PROOFS = sorted(set(re.findall(r"`([a-z_/]+\.py)::(\w+)`", (ROOT / "docs" / "security.md").read_text())))


@pytest.mark.parametrize(("file", "test"), PROOFS)
def test_the_proof_is_there(file: str, test: str) -> None:
    assert f"\ndef {test}(" in (ROOT / "tests" / file).read_text()


def test_every_door_has_its_proof() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    rows = [
        row
        for row in page.splitlines()
        if row.startswith("| ") and not row.startswith(("| door", "| mistake", "| wants", "| planted"))
    ]
    assert len(rows) >= 40
    assert not [row for row in rows if "::" not in row]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), link

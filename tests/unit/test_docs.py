"""The pages under docs/ name tests and files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.paths import DOCS, ROOT

PAGES = sorted(DOCS.glob("**/*.md"))
SECURITY = (DOCS / "security.md").read_text()
PROOFS = sorted(set(re.findall(r"`([a-z_/]+\.py)::(\w+)`", SECURITY)))

# First cells of tables whose rows need no proof, and of the heads of the others.
WITHOUT_PROOF = ("| door", "| mistake", "| wants", "| seeded", "| what it tries")


@pytest.mark.parametrize(("file", "test"), PROOFS)
def test_the_proof_exists(file: str, test: str) -> None:
    assert f"\ndef {test}(" in (ROOT / "tests" / file).read_text()


def test_every_door_has_its_proof() -> None:
    rows = [row for row in SECURITY.splitlines() if row.startswith("| ") and not row.startswith(WITHOUT_PROOF)]
    assert len(rows) >= 40
    assert [row for row in rows if "::" not in row] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), link

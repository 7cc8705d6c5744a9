"""The pages name tests and files that exist, their generated parts are current, and they become a site."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs import generate
from tests.paths import DOCS, ROOT

PAGES = sorted([*DOCS.glob("**/*.md"), *ROOT.glob("*.md")])
SECURITY = (DOCS / "security.md").read_text()
PROOFS = sorted(set(re.findall(r"`([a-z_/]+\.py)::(\w+)`", SECURITY)))

# First cells of tables whose rows need no proof, and of the heads of the others.
WITHOUT_PROOF = ("| attack", "| mistake", "| wants", "| seeded", "| what it tries")


@pytest.mark.parametrize(("file", "test"), PROOFS)
def test_the_proof_exists(file: str, test: str) -> None:
    assert f"\ndef {test}(" in (ROOT / "tests" / file).read_text()


def test_every_attack_has_its_proof() -> None:
    rows = [row for row in SECURITY.splitlines() if row.startswith("| ") and not row.startswith(WITHOUT_PROOF)]
    assert len(rows) >= 40
    assert [row for row in rows if "::" not in row] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", generate.PAGES)
def test_generated_parts_are_current(page: str) -> None:
    text = (ROOT / page).read_text()
    assert generate.regenerate(text) == text, "make generate"


def test_every_page_is_on_the_index() -> None:
    index = (DOCS / "index.md").read_text()
    names = {page.relative_to(DOCS).as_posix() for page in PAGES if DOCS in page.parents}
    assert names - {"index.md"} == set(re.findall(r"\]\(([a-z/-]+\.md)\)", index))


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("myst_parser", reason="only where all tests run")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n", "-b", "html", "-d", tmp_path / "trees"]
    done = subprocess.run([*command, DOCS, tmp_path / "html"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "metadata-reserved" in (tmp_path / "html" / "refusals.html").read_text()

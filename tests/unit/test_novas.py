"""The tested releases of Nova are those in docs/maintainers/novas.md."""

from __future__ import annotations

import re
from importlib import metadata

import pytest
from packaging.specifiers import SpecifierSet

from tests.paths import DOCS, ROOT


def read_releases(makefile: str) -> list[str]:
    """Return the releases that a Makefile lists."""
    [line] = re.findall(r"^NOVAS = (.+)$", makefile, re.MULTILINE)
    releases: list[str] = line.split()
    return releases


RELEASES = read_releases((ROOT / "Makefile").read_text())


def test_the_page_has_a_row_for_each_release() -> None:
    rows = re.findall(r"^\| ([0-9]+\.[0-9.]+) ", (DOCS / "maintainers" / "novas.md").read_text(), re.MULTILINE)
    assert rows == RELEASES


def test_each_release_has_its_constraints_and_its_pythons() -> None:
    script = (ROOT / "tests" / "one_nova.sh").read_text()
    for release in RELEASES[1:]:
        major = release.partition(".")[0]
        assert (ROOT / "tests" / f"constraints-nova-{major}.txt").exists()
        assert re.search(rf"^    (?:.* )?{major}\.\*.*\) pythons=", script, re.MULTILINE), major
    assert f"nova=={RELEASES[0]}" in (ROOT / "tests" / "constraints.txt").read_text().splitlines()


def test_ci_runs_only_releases_of_the_list() -> None:
    releases = re.findall(r"test-nova NOVA=(\S+)", (ROOT / ".ci" / "run").read_text())
    assert releases
    assert set(releases) <= set(RELEASES)


def test_each_pinned_package_installs_on_the_oldest_python_of_the_readme() -> None:
    """Debian 12 has Python 3.11.2: a package that needs 3.11.5 kept ``make demo`` from starting there."""
    pytest.importorskip("nova", reason="only where all pinned packages are installed")
    assert "Python 3.11 or newer" in (ROOT / "README.md").read_text()
    too_new = []
    for distribution in metadata.distributions():
        if "Requires-Python" in distribution.metadata:
            needed = SpecifierSet(distribution.metadata["Requires-Python"])
            if not needed.contains("3.11.0"):
                too_new.append(f"{distribution.name}: {needed}")
    assert too_new == []

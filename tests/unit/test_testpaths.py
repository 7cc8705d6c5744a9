"""No folder of tests is forgotten."""

from __future__ import annotations

import re

from tests.paths import ROOT

#: Folders with a run of their own: see the Makefile.
OWN_RUNS = {"tests/debian", "tests/limits"}


def test_each_folder_with_tests_is_run() -> None:
    configuration = (ROOT / "pyproject.toml").read_text()
    [listed] = re.findall(r"^testpaths = \[(.*?)\]", configuration, re.MULTILINE | re.DOTALL)
    folders = {f"tests/{path.relative_to(ROOT / 'tests').parts[0]}" for path in ROOT.glob("tests/*/**/test_*.py")}
    assert set(re.findall(r'"(.*?)"', listed)) == folders - OWN_RUNS
    makefile = (ROOT / "Makefile").read_text()
    assert [
        folder for folder in OWN_RUNS if f"pytest {folder}" not in makefile.replace(" -n 2 --dist loadfile", "")
    ] == []

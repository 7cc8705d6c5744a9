"""The picture of the report that the pages show can be taken again."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

pytest.importorskip("cliff")
pytest.importorskip("duckdb")
pytest.importorskip("jinja2")

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_the_picture_of_the_report_can_be_taken(tmp_path: Path) -> None:
    picture = tmp_path / "report.png"
    command = [sys.executable, "-W", "ignore", "-m", "tests.pictures", "--picture", str(picture)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=120)
    assert read_size(picture) == read_size(ROOT / "docs/report.png")
    assert picture.stat().st_size > 50_000, "a blank page would be smaller"


def read_size(picture: Path) -> tuple[int, int]:
    """Return the width and the height of a PNG file, in pixels."""
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height

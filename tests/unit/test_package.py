"""What an operator installs: sdist and wheel build, install into an empty virtualenv, and every entry point loads."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECK = """
import imagefilter, sys
from importlib.metadata import distribution
names = []
for point in distribution("imagefilter").entry_points:
    assert callable(point.load()), point
    names.append(f"{point.group} {point.name}")
assert sys.prefix in imagefilter.__file__, imagefilter.__file__
print(sorted(names))
"""
ENTRY_POINTS = [
    "console_scripts imagefilter",
    "oslo.config.opts imagefilter",
    "oslo.middleware.healthcheck imagefilter_compute",
    "paste.app_factory gateway",
    "paste.filter_factory imagefilter",
    "paste.filter_factory main",
]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_it_installs_into_an_empty_virtualenv(dist: Path, pattern: str, tmp_path: Path) -> None:
    [archive] = dist.glob(pattern)
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(archive)], check=True)
    done = subprocess.run([python, "-c", CHECK], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == str(ENTRY_POINTS)
    command = [str(tmp_path / "venv" / "bin" / "imagefilter"), "--help"]
    without = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (without.returncode, "pip install '.[tools]'" in without.stderr) == (2, True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{archive}[tools]"], check=True)
    assert "check pipeline" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert list(tmp_path.glob("venv/lib/*/site-packages/imagefilter/py.typed"))
    assert not list(tmp_path.glob("venv/lib/*/site-packages/tests"))


def test_every_entry_point_loads() -> None:
    points = metadata.distribution("imagefilter").entry_points
    assert sorted(f"{point.group} {point.name}" for point in points) == ENTRY_POINTS
    for point in points:
        assert callable(point.load())


def test_import_does_no_work() -> None:
    """Neither oslo.config's global CONF nor logging nor a thread is touched by the import."""
    code = (
        "import threading, logging; handlers = list(logging.root.handlers); import imagefilter; "
        "from oslo_config import cfg; "
        "assert threading.active_count() == 1 and logging.root.handlers == handlers and 'imagefilter' not in cfg.CONF"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)

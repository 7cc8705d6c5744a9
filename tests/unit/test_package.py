"""Source distribution and wheel install into an empty virtualenv, and every entry point loads."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest

from tests.paths import ROOT

# Prints the names of all entry points, and loads those of the groups whose names begin with the argument.
LOAD_ENTRY_POINTS = """
import imagefilter, sys
from importlib.metadata import distribution
points = distribution("imagefilter").entry_points
for point in points:
    if point.group.startswith(sys.argv[1]):
        assert callable(point.load()), point
assert sys.prefix in imagefilter.__file__, imagefilter.__file__
print(sorted(f"{point.group} {point.name}" for point in points))
"""
ENTRY_POINTS = [
    "console_scripts imagefilter",
    "imagefilter.cli audit_export",
    "imagefilter.cli audit_follow",
    "imagefilter.cli audit_list",
    "imagefilter.cli audit_replay",
    "imagefilter.cli audit_report",
    "imagefilter.cli audit_show",
    "imagefilter.cli audit_summary",
    "imagefilter.cli check",
    "imagefilter.cli check_config",
    "imagefilter.cli check_pipeline",
    "imagefilter.cli explain",
    "imagefilter.cli relay",
    "imagefilter.cli show_config",
    "imagefilter.cli status",
    "oslo.config.opts imagefilter",
    "oslo.middleware.healthcheck imagefilter_compute",
    "paste.app_factory gateway",
    "paste.filter_factory imagefilter",
    "paste.filter_factory main",
    "paste.filter_factory read_body",
]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and a source distribution."""
    pytest.importorskip("build", reason="only where all tests run")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True, capture_output=True)
    return folder


class Virtualenv:
    """An empty virtualenv."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self.bin = folder / "bin"

    def install(self, requirement: str) -> None:
        subprocess.run([self.bin / "python", "-m", "pip", "install", "--quiet", requirement], check=True)

    def run(self, command: str, *args: str, status: int = 0) -> str:
        """Run a command of the virtualenv, outside of the repository; return what it printed."""
        done = subprocess.run([self.bin / command, *args], check=False, capture_output=True, text=True, cwd=self.bin)
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_it_installs_into_an_empty_virtualenv(dist: Path, pattern: str, tmp_path: Path) -> None:
    [archive] = dist.glob(pattern)
    virtualenv = Virtualenv(tmp_path / "venv")
    virtualenv.install(str(archive))
    for group in ("console_scripts", "oslo", "paste"):
        assert virtualenv.run("python", "-c", LOAD_ENTRY_POINTS, group).strip() == str(ENTRY_POINTS)
    assert "pip install '.[tools]'" in virtualenv.run("imagefilter", "--help", status=2)
    virtualenv.install(f"{archive}[tools]")
    virtualenv.run("python", "-c", LOAD_ENTRY_POINTS, "imagefilter.cli")
    assert "check pipeline" in virtualenv.run("imagefilter", "--help")
    assert list(tmp_path.glob("venv/lib/*/site-packages/imagefilter/py.typed"))
    assert not list(tmp_path.glob("venv/lib/*/site-packages/tests"))


def test_every_entry_point_loads() -> None:
    points = metadata.distribution("imagefilter").entry_points
    assert sorted(f"{point.group} {point.name}" for point in points) == ENTRY_POINTS
    for point in points:
        assert callable(point.load())


IMPORT = """
import logging, threading
handlers = list(logging.root.handlers)
import imagefilter
from oslo_config import cfg
assert threading.active_count() == 1
assert logging.root.handlers == handlers
assert "imagefilter" not in cfg.CONF
"""


def test_import_does_no_work() -> None:
    """It touches neither oslo.config's global CONF nor logging, and starts no thread."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", IMPORT], check=True)

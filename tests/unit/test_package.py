"""Source distribution and wheel install, change nothing else, and have the tag's version; every entry point loads."""

from __future__ import annotations

import os
import shutil
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
points = distribution("nova-imagefilter").entry_points
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
    "imagefilter.cli reap",
    "imagefilter.cli relay",
    "imagefilter.cli show_config",
    "imagefilter.cli status",
    "imagefilter.cli usage",
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
    pytest.importorskip("build.__main__", reason="only where all tests run")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True, capture_output=True)
    return folder


class Virtualenv:
    """A virtualenv: an empty one, or a copy of another one's packages."""

    def __init__(self, folder: Path, copy_of: Path | None = None) -> None:
        venv.create(folder, with_pip=copy_of is None)
        self.bin = folder / "bin"
        if copy_of is not None:
            [packages] = folder.glob("lib/python*/site-packages")
            source = copy_of / packages.relative_to(folder)
            shutil.copytree(source, packages, copy_function=link_or_copy, dirs_exist_ok=True, symlinks=True)

    def install(self, *args: str) -> None:
        self.pip("install", "--quiet", *args)

    def pip(self, *args: str) -> str:
        """Run pip; return what it printed."""
        return self.run("python", "-m", "pip", "--disable-pip-version-check", *args)

    def packages(self) -> list[str]:
        """Return all packages with their versions, but for this one."""
        lines = self.pip("freeze", "--all").splitlines()
        return [line for line in lines if "imagefilter" not in line and not line.startswith("WARNING")]

    def run(self, command: str, *args: str, status: int = 0) -> str:
        """Run a command of the virtualenv, outside of the repository; return what it printed."""
        done = subprocess.run([self.bin / command, *args], check=False, capture_output=True, text=True, cwd=self.bin)
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr


def link_or_copy(source: str, target: str) -> None:
    """Make a hard link: pip replaces files and never writes into them."""
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_it_installs_into_an_empty_virtualenv(dist: Path, pattern: str, tmp_path: Path) -> None:
    [archive] = dist.glob(pattern)
    virtualenv = Virtualenv(tmp_path / "venv")
    virtualenv.install(str(archive))
    for group in ("console_scripts", "oslo", "paste"):
        assert virtualenv.run("python", "-c", LOAD_ENTRY_POINTS, group).strip() == str(ENTRY_POINTS)
    assert "pip install 'nova-imagefilter[tools]'" in virtualenv.run("imagefilter", "--help", status=2)
    virtualenv.install(f"{archive}[tools]")
    virtualenv.run("python", "-c", LOAD_ENTRY_POINTS, "imagefilter.cli")
    assert "check pipeline" in virtualenv.run("imagefilter", "--help")
    assert list(tmp_path.glob("venv/lib/*/site-packages/imagefilter/py.typed"))
    assert not list(tmp_path.glob("venv/lib/*/site-packages/tests"))


@pytest.mark.slow
def test_it_installs_without_a_network(dist: Path, tmp_path: Path) -> None:
    [wheel] = dist.glob("*.whl")
    wheels = tmp_path / "wheels"
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--dest", wheels, wheel], check=True)
    virtualenv = Virtualenv(tmp_path / "venv")
    virtualenv.install("--no-index", "--find-links", str(wheels), "nova-imagefilter")
    assert virtualenv.run("python", "-c", LOAD_ENTRY_POINTS, "oslo").strip() == str(ENTRY_POINTS)


@pytest.mark.slow
def test_it_changes_no_package_of_novas_virtualenv(dist: Path, tmp_path: Path) -> None:
    """Without a network too, for all that it needs is there."""
    pytest.importorskip("nova", reason="only where Nova is installed")
    virtualenv = Virtualenv(tmp_path / "venv", copy_of=Path(sys.prefix))
    virtualenv.pip("uninstall", "--yes", "nova-imagefilter")
    before = virtualenv.packages()
    assert len([line for line in before if line.startswith(("nova==", "oslo."))]) > 10
    virtualenv.install("--no-index", "--find-links", str(dist), "nova-imagefilter")
    assert virtualenv.packages() == before
    assert virtualenv.run("python", "-W", "ignore", "-c", LOAD_ENTRY_POINTS, "paste").strip() == str(ENTRY_POINTS)


@pytest.mark.slow
def test_twine_accepts_what_is_to_be_uploaded(dist: Path) -> None:
    pytest.importorskip("twine", reason="only where all tests run")
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, dist.iterdir())]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def git(folder: Path, *args: str) -> None:
    identity = ("-c", "user.name=tests", "-c", "user.email=tests@example.org", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *identity, *args], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def tagged(tmp_path: Path) -> Path:
    """A clone of this repository with a tag at its newest commit."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("needs git, and the repository's history")
    folder = tmp_path / "tagged"
    git(tmp_path, "clone", "--quiet", str(ROOT), str(folder))
    git(folder, "tag", "-f", "-a", "-m", "A release.", "v99.1.2")
    return folder


def build_version(folder: Path) -> str:
    """Build a wheel of a source tree; return the version in its name."""
    pytest.importorskip("setuptools_scm", reason="only where all tests run")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "out", folder]
    subprocess.run(command, check=True, capture_output=True)
    [wheel] = (folder / "out").iterdir()
    return wheel.name.split("-")[1]


@pytest.mark.slow
def test_the_version_is_the_tags(tagged: Path) -> None:
    assert build_version(tagged) == "99.1.2"


@pytest.mark.slow
def test_a_commit_after_a_tag_names_itself(tagged: Path) -> None:
    git(tagged, "commit", "--allow-empty", "--message", "Go on")
    assert build_version(tagged).startswith("99.1.3.dev1+g")


@pytest.mark.slow
def test_a_shallow_clone_of_a_tag_has_its_version(tagged: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--depth", "1", "--branch", "v99.1.2", f"file://{tagged}", str(shallow))
    assert build_version(shallow) == "99.1.2"


@pytest.mark.slow
def test_a_shallow_clone_without_tags_names_its_commit(tagged: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--depth", "1", "--no-tags", f"file://{tagged}", str(shallow))
    assert build_version(shallow).startswith("0.1.dev1+g")


@pytest.mark.slow
def test_an_archive_of_a_tag_has_its_version(tagged: Path, tmp_path: Path) -> None:
    """As code hosts make them."""
    archive = tmp_path / "archive.tar"
    git(tagged, "archive", "--output", str(archive), "v99.1.2")
    shutil.unpack_archive(archive, tmp_path / "archive")
    assert build_version(tmp_path / "archive") == "99.1.2"


@pytest.mark.slow
def test_a_source_distribution_has_its_version(tagged: Path, tmp_path: Path) -> None:
    pytest.importorskip("setuptools_scm", reason="only where all tests run")
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, tagged]
    subprocess.run(command, check=True, capture_output=True)
    shutil.unpack_archive(tmp_path / "nova_imagefilter-99.1.2.tar.gz", tmp_path)
    assert build_version(tmp_path / "nova_imagefilter-99.1.2") == "99.1.2"


@pytest.mark.slow
def test_a_bare_copy_of_the_files_can_be_built(tagged: Path) -> None:
    shutil.rmtree(tagged / ".git")
    assert build_version(tagged) == "0.0"


def test_every_entry_point_loads() -> None:
    points = metadata.distribution("nova-imagefilter").entry_points
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

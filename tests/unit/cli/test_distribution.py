"""The name imagefilter on PyPI is another project's: what check says where somebody takes one for the other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from imagefilter.cli.distribution import find_collision

PASTE = """
[filter:imagefilter]
{key} = {value}
[app:osapi_compute_app_v21]
paste.app_factory = nova.api.openstack.compute:APIRouterV21.factory
[pipeline:osapi_compute]
pipeline = {name} osapi_compute_app_v21
"""
FACTORY = "paste.filter_factory = imagefilter:filter_factory"


@pytest.mark.parametrize(
    ("egg", "instead"),
    [
        ("egg:imagefilter", FACTORY),
        ("egg:imagefilter#main", FACTORY),
        ("egg:imagefilter#imagefilter", FACTORY),
        ("egg:imagefilter#gateway", "egg:nova-imagefilter#gateway"),
        ("egg:imagefilter#read_body", "egg:nova-imagefilter#read_body"),
    ],
)
def test_explains_the_other_projects_egg(tmp_path: Path, run: Any, egg: str, instead: str) -> None:
    path = tmp_path / "paste.ini"
    path.write_text(PASTE.format(key="use", value=egg, name="imagefilter"))
    check = run("check", "--paste", path)
    assert check.status == 2
    start = f"error: use in section [filter:imagefilter] of {path}: {egg} is another project's distribution: write "
    assert f"{start}{instead}\n" in check.err


def test_explains_it_in_a_pipeline(tmp_path: Path, run: Any) -> None:
    path = tmp_path / "paste.ini"
    path.write_text(
        PASTE.format(key="paste.filter_factory", value="imagefilter:filter_factory", name="egg:imagefilter")
    )
    check = run("check", "--paste", path)
    assert "error: pipeline in section [pipeline:osapi_compute]" in check.err
    assert ": write egg:nova-imagefilter\n" in check.err


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("paste.filter_factory", "imagefilter:filter_factory"),
        ("use", "egg:nova-imagefilter"),
        ("use", "egg:nova_imagefilter#main"),
        ("use", "egg:imagefilter-colours"),
    ],
)
def test_other_names_are_no_such_error(tmp_path: Path, run: Any, key: str, value: str) -> None:
    path = tmp_path / "paste.ini"
    path.write_text(PASTE.format(key=key, value=value, name="imagefilter"))
    assert "another project's distribution" not in run("check", "--paste", path).err


def install(folder: Path, entry_points: str = "") -> None:
    """Write what pip leaves of a distribution that is called imagefilter."""
    info = folder / "imagefilter-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: imagefilter\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, before all others."""
    folder = tmp_path / "site-packages"
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return folder


def test_warns_of_the_other_distribution(packages: Path, config: Path, run: Any) -> None:
    install(packages)
    check = run("check", config)
    assert check.status == 0
    assert f"warning: imagefilter 0.1 in {packages} is another project's distribution with files in" in check.err


def test_an_old_folder_of_this_project_is_not_the_other_one(packages: Path) -> None:
    install(packages, "[imagefilter.cli]\ncheck = imagefilter.cli.check:Check\n")
    assert list(find_collision()) == []

"""The shipped paste file is Nova's own, with the filter in both pipelines."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from imagefilter.cli import pipelines
from imagefilter.cli.pipelines import Pipeline
from tests.nova.cloud import NOVA, SHIPPED_PASTE
from tests.paths import ETC

SECTION = "[filter:imagefilter]\npaste.filter_factory = imagefilter:filter_factory\n"
NOAUTH2_SECTION = "[filter:noauth2]\npaste.filter_factory = nova.api.openstack.auth:NoAuthMiddleware.factory\n"

# Each release's paste file can be rebuilt from that of Nova 32 or newer; an older Nova has only its own.
RELEASES = list(range(25, 35))
if NOVA < 32:
    RELEASES = [NOVA]


def read_paste(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read(path)
    return parser


def test_both_pipelines_are_novas_own() -> None:
    shipped, novas = read_paste(ETC / "api-paste.ini"), read_paste(SHIPPED_PASTE)
    composites = [name for name in shipped.sections() if name.startswith("composite:")]
    assert composites == [name for name in novas.sections() if novas.has_option(name, "keystone")]
    for name in composites:
        assert shipped.get(name, "keystone").replace(" imagefilter", "") == novas.get(name, "keystone")
        assert shipped.get(name, "use") == novas.get(name, "use")


def paste_file_of(release: int) -> str:
    """Return Nova's api-paste.ini: as installed, for 25 to 31 with the noauth2 lines that those had besides."""
    text = SHIPPED_PASTE.read_text()
    if release >= 32 or release == NOVA:
        return text
    lines = []
    for line in text.split("\n"):
        lines.append(line)
        if line.startswith("keystone = "):
            lines.append(line.replace("keystone = ", "noauth2 = ").replace("authtoken keystonecontext", "noauth2"))
    return "\n".join(lines) + "\n" + NOAUTH2_SECTION


def pipeline_keys(release: int) -> list[str]:
    """Return the keys of the pipelines in a release's paste file."""
    if release >= 32:
        return ["keystone"] * 2
    return ["keystone", "noauth2"] * 2


def apply_fixes(text: str, found: list[Pipeline]) -> str:
    """Return a paste file with the filter's section, and each pipeline as the check proposes it."""
    for pipeline in found:
        text = text.replace(f"{pipeline.key} = {' '.join(pipeline.names)}\n", f"{pipeline.fix}\n")
    return text + SECTION


def read_pipelines(path: Path, text: str) -> list[Pipeline]:
    path.write_text(text)
    return pipelines.read(str(path))


@pytest.mark.parametrize("release", RELEASES)
def test_check_pipeline_reads_novas_paste_files(release: int, tmp_path: Path) -> None:
    found = read_pipelines(tmp_path / "api-paste.ini", paste_file_of(release))
    assert [pipeline.key for pipeline in found] == pipeline_keys(release)
    assert all("not protected" in (pipeline.error or pipeline.warning) for pipeline in found)


@pytest.mark.parametrize("release", RELEASES)
def test_check_pipeline_accepts_what_it_proposes(release: int, tmp_path: Path) -> None:
    path, text = tmp_path / "api-paste.ini", paste_file_of(release)
    fixed = apply_fixes(text, read_pipelines(path, text))
    assert [pipeline.error for pipeline in read_pipelines(path, fixed)] == [""] * len(pipeline_keys(release))


@pytest.mark.parametrize("release", RELEASES)
def test_check_pipeline_finds_a_forgotten_v2_pipeline(release: int, tmp_path: Path) -> None:
    path, text = tmp_path / "api-paste.ini", paste_file_of(release)
    fixed = apply_fixes(text, read_pipelines(path, text))
    forgotten = fixed.replace(" imagefilter legacy_v2_compatible", " legacy_v2_compatible")
    [unprotected] = [pipeline for pipeline in read_pipelines(path, forgotten) if pipeline.error]
    assert unprotected.section.endswith("legacy_v2_compatible")

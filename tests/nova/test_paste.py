"""The paste file that is shipped is Nova's own, with the filter in both pipelines."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from imagefilter.cli import pipelines
from tests.nova.cloud import NOVA, SHIPPED_PASTE

OURS = Path(__file__).parents[2] / "etc/imagefilter/api-paste.ini"


def test_both_pipelines_are_novas_own() -> None:
    ours, novas = configparser.RawConfigParser(), configparser.RawConfigParser()
    ours.read(OURS)
    novas.read(SHIPPED_PASTE)
    composites = [name for name in ours.sections() if name.startswith("composite:")]
    guarded = [name for name in novas.sections() if novas.has_option(name, "keystone")]
    assert composites == guarded
    for name in composites:
        assert ours.get(name, "keystone").replace(" imagefilter", "") == novas.get(name, "keystone")
        assert ours.get(name, "use") == novas.get(name, "use")


def paste_of(release: int) -> str:
    """Nova's api-paste.ini: as shipped, and of 25 to 31 with the noauth2 lines that those had besides."""
    text = SHIPPED_PASTE.read_text()
    if release >= 32 or release == NOVA:
        return text
    lines = []
    for line in text.split("\n"):
        lines.append(line)
        if line.startswith("keystone = "):
            lines.append(line.replace("keystone = ", "noauth2 = ").replace("authtoken keystonecontext", "noauth2"))
    lines += ["[filter:noauth2]", "paste.filter_factory = nova.api.openstack.auth:NoAuthMiddleware.factory", ""]
    return "\n".join(lines)


@pytest.mark.parametrize("release", range(25, 35) if NOVA >= 32 else [NOVA])
def test_check_pipeline_reads_novas_paste_files(release: int, tmp_path: Path) -> None:
    path = tmp_path / "api-paste.ini"
    path.write_text(paste_of(release))
    found = pipelines.read(str(path))
    assert [each.key for each in found] == (["keystone"] if release >= 32 else ["keystone", "noauth2"]) * 2
    assert all("unguarded" in (each.error or each.warning) for each in found)

    guarded = path.read_text() + "[filter:imagefilter]\nuse = egg:imagefilter\n"
    for each in found:
        guarded = guarded.replace(f"{each.key} = {' '.join(each.names)}\n", f"{each.fix}\n")
    path.write_text(guarded)
    assert [each.error for each in pipelines.read(str(path))] == [""] * len(found), "what it says to write is good"

    path.write_text(guarded.replace(" imagefilter legacy_v2_compatible", " legacy_v2_compatible"))
    [forgotten] = [each for each in pipelines.read(str(path)) if each.error]
    assert forgotten.section.endswith("legacy_v2_compatible"), "the classic: /v2 forgotten"

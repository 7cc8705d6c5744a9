"""The paste file that is shipped is Nova's own, with the filter in both pipelines."""

from __future__ import annotations

import configparser
from pathlib import Path

from tests.nova.cloud import SHIPPED_PASTE

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

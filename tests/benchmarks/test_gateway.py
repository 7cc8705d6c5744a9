"""The gateway's benchmark without the servers that it needs; where they are installed, all benchmarks run together."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("nova", reason="no Nova in this virtualenv")

from tests.benchmarks.gateway import gateway
from tests.benchmarks.real_nova import Pair, Run, build_table, real_nova


@pytest.mark.parametrize(("build", "missing"), [(gateway, "nginx, wrk"), (real_nova, "wrk")])
def test_missing_programs_are_named(build: Any, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    table = build(1, 0)
    assert (table.rows, table.checks) == ([], [])
    assert f"Left out: {missing} is not there" in table.text


def test_targets_are_medians_over_pairs() -> None:
    pairs = [Pair(Run(100, 1, 10), Run(rate, 1, p99)) for rate, p99 in ((99, 12), (90, 90), (98.5, 14))]
    ratio, more = build_table("", {"GET": pairs}).checks
    assert (ratio.value, ratio.is_met) == (0.985, True)
    assert (more.value, more.is_met) == (4, True)

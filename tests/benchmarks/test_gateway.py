"""The gateway's benchmark, where its servers are not there; where they are, all benchmarks are run together."""

from __future__ import annotations

import pytest

pytest.importorskip("nova", reason="no Nova in this virtualenv")

from tests.benchmarks.gateway import gateway


def test_what_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    table = gateway(1, 0)
    assert (table.rows, table.checks) == ([], [])
    assert "nginx, wrk" in table.text

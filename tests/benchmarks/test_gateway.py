"""The gateway's benchmark without the servers that it needs; where they are installed, all benchmarks run together."""

from __future__ import annotations

import pytest

pytest.importorskip("nova", reason="no Nova in this virtualenv")

from tests.benchmarks.gateway import gateway


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    table = gateway(1, 0)
    assert (table.rows, table.checks) == ([], [])
    assert "nginx, wrk" in table.text

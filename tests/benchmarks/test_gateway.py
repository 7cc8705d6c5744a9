"""The gateway's benchmark runs; what it measures is for people to read, not for a test."""

from __future__ import annotations

import pytest

pytest.importorskip("nova", reason="no Nova in this virtualenv")

from tests.benchmarks.gateway import gateway, missing


@pytest.mark.skipif(bool(missing()), reason=f"not there: {missing()}")
def test_all_are_measured_and_answer_well() -> None:
    """wrk's own count of what is no 2xx is looked at in each run."""
    table = gateway(1, 0)
    assert [row[0] for row in table.rows] == [
        "compute API",
        "nginx proxy_pass",
        "nginx, split by method",
        "gateway on granian",
        "gateway on gunicorn",
        "http.client on granian, no filter",
        "compute API that takes 50 ms",
        "the gateway in front of it",
        "createImage, ms above the compute API",
        "MB a worker grows in 2,000 requests",
    ]
    assert len(table.checks) == 5
    assert all(float(figure.replace(",", "")) > 0 for row in table.rows[:6] for figure in row[1:4])


def test_what_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    table = gateway(1, 0)
    assert (table.rows, table.checks) == ([], [])
    assert "nginx, wrk" in table.text

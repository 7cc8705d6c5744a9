"""The benchmark runs and reports; what it measures is for people to read, not for a test."""

from __future__ import annotations

import pytest

pytest.importorskip("nova", reason="no Nova in this virtualenv")

from tests.benchmarks import bench


def test_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(rounds=1, span=0)
    printed = capsys.readouterr().out
    for name in ("imagefilter", "ksm audit, log", "oslo sizelimit", "wsgify pass-through", "Nova's own body handling"):
        assert name in printed
    assert printed.count("at most") == 5


def test_what_is_measured_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal would be cheaper."""
    statuses: list[str] = []
    monkeypatch.setattr(bench, "start_response", lambda status, *rest: statuses.append(status))
    for request in bench.REQUESTS.values():
        bench.caller(bench.filter_factory({})(bench.bare), request)()
    assert statuses == ["202 Accepted"] * len(bench.REQUESTS)

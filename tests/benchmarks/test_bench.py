"""The benchmark runs and writes its page; what it measures is for people to read, not for a test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nova", reason="no Nova in this virtualenv")
pytest.importorskip("matplotlib", reason="no matplotlib in this virtualenv")

from tests.benchmarks import bench, gateway, reading, subject
from tests.benchmarks.measure import Table

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    made: Path = tmp_path_factory.mktemp("docs")
    return made


@pytest.fixture(scope="module")
def tables(folder: Path) -> list[Table]:
    return bench.main(rounds=1, span=0, folder=folder)


def test_all_peers_are_measured(tables: list[Table]) -> None:
    assert [row[0] for row in tables[0].rows] == [
        "imagefilter",
        "imagefilter, recording",
        "wsgify pass-through",
        "oslo sizelimit",
        "keystonemiddleware audit, log",
        "SAP audit-middleware, log",
        "json.loads alone",
        "Nova's own body handling",
        "spread of imagefilter",
    ]
    assert [row[0] for row in tables[5].rows] == list(reading.COMMANDS)
    if gateway.missing():
        pytest.skip(f"not there: {gateway.missing()}")
    assert [row[0] for row in tables[-1].rows] == [
        "compute API",
        "nginx proxy_pass",
        "nginx, split by method",
        "gateway on granian",
        "gateway on gunicorn",
        "http.client on granian, no filter",
        "compute API that takes 50 ms",
        "the gateway in front of it",
        "createImage, ms above the compute API",
        "MB a worker grows meanwhile",
    ]
    assert all(float(figure.replace(",", "")) > 0 for row in tables[-1].rows[:6] for figure in row[1:4])


def test_the_published_page_has_what_a_run_writes(tables: list[Table], folder: Path) -> None:
    """Its figures are another run's, but not its tables, its plots and its checks."""
    if not all(table.rows for table in tables):
        pytest.skip("servers that are measured beside are not there")
    assert sum(len(table.checks) for table in tables) == 17
    written, published = ((place / "performance.md").read_text() for place in (folder, DOCS))
    for pattern in (r"^#.*", r"^\| [^|]*\|", r"!\[.*", r"^\* [^:]*:"):
        assert re.findall(pattern, written, re.M) == re.findall(pattern, published, re.M)
    for plot in re.findall(r"\((.*\.svg)\)", published):
        assert (DOCS / plot).read_text().count("<text") > 5, plot


def test_what_is_measured_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal would be cheaper."""
    statuses: list[str] = []
    monkeypatch.setattr(subject, "start_response", lambda status, *rest: statuses.append(status))
    for app in subject.filters().values():
        for request in subject.REQUESTS.values():
            subject.caller(app, request)()
    assert statuses == ["202 Accepted"] * len(subject.REQUESTS) * 6


def test_the_peers_do_record(caplog: pytest.LogCaptureFixture) -> None:
    """An audit filter that is not awake costs nothing either."""
    peers = {name: app for name, app in subject.filters().items() if not name.startswith("imagefilter")}
    for name, app in peers.items():
        caplog.clear()
        # Nova's own start, if it came first in this process, sets that logger to WARN.
        with caplog.at_level("INFO"), caplog.at_level("INFO", "keystonemiddleware"):
            subject.caller(app, subject.REQUESTS["createImage, 3 items"])()
        records = [each for each in caplog.records if "http://schemas.dmtf.org/cloud/audit" in each.getMessage()]
        assert bool(records) == ("audit" in name), name

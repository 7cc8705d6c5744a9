"""The benchmarks run and write their page; their figures are for people to read, not for a test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.paths import DOCS, ROOT

pytest.importorskip("nova", reason="no Nova in this virtualenv")
pytest.importorskip("matplotlib", reason="no matplotlib in this virtualenv")

from tests.benchmarks import bench, gateway, reading, subject, versions
from tests.benchmarks.measure import Table

APPS = {
    "imagefilter": False,
    "imagefilter, recording": False,
    "wsgify pass-through": False,
    "oslo sizelimit": False,
    "keystonemiddleware audit, log": True,
    "SAP audit-middleware, log": True,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    docs: Path = tmp_path_factory.mktemp("docs")
    return docs


@pytest.fixture(scope="module")
def tables(folder: Path) -> list[Table]:
    """Run all benchmarks once, as short as they can be."""
    return bench.run(rounds=1, span=0, folder=folder)


def first_cells(table: Table) -> list[str]:
    return [row[0] for row in table.rows]


def test_all_peers_are_measured(tables: list[Table]) -> None:
    names = [*APPS, "json.loads alone", "Nova's own body handling", "spread of imagefilter"]
    assert first_cells(tables[0]) == names


def test_all_commands_are_measured(tables: list[Table]) -> None:
    assert first_cells(tables[5]) == list(reading.COMMANDS)


@pytest.mark.skipif(gateway.list_missing() != "", reason=f"missing: {gateway.list_missing()}")
def test_the_gateway_is_measured_beside_other_servers(tables: list[Table]) -> None:
    assert first_cells(tables[-1]) == [
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
    rates = [float(cell.replace(",", "")) for row in tables[-1].rows[:6] for cell in row[1:4]]
    assert min(rates) > 0


def test_the_published_page_has_what_a_run_writes(tables: list[Table], folder: Path) -> None:
    """Its figures are another run's, but its tables, plots and checks are the same."""
    if not all(table.rows for table in tables):
        pytest.skip("servers that are measured beside are missing")
    assert sum(len(table.checks) for table in tables) == 19
    written, published = ((path / "performance.md").read_text() for path in (folder, DOCS / "maintainers"))
    for pattern in (r"^#.*", r"^\| [^|]*\|", r"!\[.*", r"^\* [^:]*:"):
        assert re.findall(pattern, written, re.M) == re.findall(pattern, published, re.M)
    for plot in re.findall(r"\((.*\.svg)\)", published):
        assert (DOCS / "maintainers" / plot).read_text().count("<text") > 5, plot


@pytest.fixture(scope="module")
def filters() -> dict[str, Any]:
    return subject.filters()


def test_there_are_six_filters(filters: dict[str, Any]) -> None:
    assert list(filters) == list(APPS)


@pytest.mark.parametrize("request_name", subject.REQUESTS)
@pytest.mark.parametrize("name", APPS)
def test_measured_requests_are_accepted(
    name: str, request_name: str, filters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal would be cheaper."""
    statuses: list[str] = []
    monkeypatch.setattr(subject, "start_response", lambda status, *rest: statuses.append(status))
    subject.caller(filters[name], subject.REQUESTS[request_name])()
    assert statuses == ["202 Accepted"]


PEERS = [name for name in APPS if not name.startswith("imagefilter")]


@pytest.mark.parametrize("name", PEERS)
def test_the_audit_filters_record(name: str, filters: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """An audit filter that is not active costs nothing."""
    # Nova's own start, if it came first in this process, sets that logger to WARN.
    with caplog.at_level("INFO"), caplog.at_level("INFO", "keystonemiddleware"):
        subject.caller(filters[name], subject.REQUESTS["createImage, 3 items"])()
    records = [record for record in caplog.records if "http://schemas.dmtf.org/cloud/audit" in record.getMessage()]
    assert bool(records) == APPS[name]


def test_two_versions_are_compared() -> None:
    table = versions.compare(ROOT, rounds=1, span=0)
    assert first_cells(table) == list(versions.REQUESTS)
    assert all(check.value > 0 for check in table.checks if check.what.startswith("createImage"))


def test_a_folder_without_the_package_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no package imagefilter"):
        versions.compare(tmp_path, rounds=1, span=0)

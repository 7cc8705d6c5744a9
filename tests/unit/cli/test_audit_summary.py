"""``imagefilter audit summary``: requests, counted."""

from __future__ import annotations

from typing import Any, Callable

import pytest

pytest.importorskip("cliff")
pytest.importorskip("duckdb")

from tests.cases import PROJECT, image
from tests.records import remove_configurations
from tests.unit.cli.conftest import OTHER_PROJECT
from tests.unit.journal_fixtures import Writer, shift

Rows = list[dict[str, Any]]


@pytest.fixture
def summarise(writer: Writer, run: Any) -> Callable[..., Rows]:
    """Count the requests of the journal."""

    def summarise(by: str, *args: object) -> Rows:
        rows: Rows = run("audit", "summary", "-f", "json", "--by", by, "--journal", writer.path, *args).rows
        return rows

    return summarise


@pytest.mark.parametrize("by", ["project", "user", "server", "rule", "verdict", "action", "day", "hour"])
def test_counts_every_request_once(ids: dict[str, str], summarise: Any, by: str) -> None:
    rows = summarise(by)
    total = {"Requests": 6, "Allow": 3, "Exempt": 0, "Would Deny": 1, "Deny": 2, "Images": 4, "Unknown": 0}
    assert {name: sum(row[name] for row in rows) for name in total} == total


def test_counts_by_project(ids: dict[str, str], summarise: Any) -> None:
    assert [(row["Project"], row["Name"], row["Requests"]) for row in summarise("project")] == [
        (PROJECT, "6f70-name", 5),
        (OTHER_PROJECT, "0123-name", 1),
    ]


def test_counts_by_rule(ids: dict[str, str], summarise: Any) -> None:
    rules = {row["Rule"] for row in summarise("rule")}
    assert rules == {"none broken", "name-pattern", "metadata-reserved", "body"}


def test_counts_unknown_outcomes(writer: Writer, ids: dict[str, str], summarise: Any) -> None:
    remove_configurations(writer.path)
    verdict, _, *rest = writer.path.read_text().splitlines(keepends=True)
    writer.path.write_text("".join([verdict, *rest]))
    [row] = [row for row in summarise("action") if row["Action"] == "createImage"]
    assert (row["Requests"], row["Images"], row["Unknown"]) == (3, 1, 1)


def test_days_are_in_order(writer: Writer, summarise: Any) -> None:
    for days in (1, 3, 2):
        writer.post(image("good"))
        shift(writer.path, days=days)
        writer.rotate(f".{days}")
    days_counted = [row["Day"] for row in summarise("day")]
    assert days_counted == sorted(days_counted)
    assert len(days_counted) == 3
    assert summarise("day", "--since", "36h")[0]["Requests"] == 1

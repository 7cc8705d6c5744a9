"""``imagefilter audit show``: one request, by any of its ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cliff")
pytest.importorskip("duckdb")

from tests.cases import image
from tests.records import remove_configurations
from tests.unit.journal_fixtures import Accepting, Writer

IMAGE_ID = "22222222-2222-4333-8444-555555555555"


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """A journal of requests that all make the same image."""
    return Writer(tmp_path / "audit.jsonl", compute=Accepting(Location=f"http://glance/images/{IMAGE_ID}"))


@pytest.fixture
def ids(writer: Writer) -> dict[str, str]:
    """Post a request after another one: its ids."""
    writer.post(image("another"))
    request_id = writer.post(image("good"), **{"openstack.global_request_id": "req-global"})
    verdict_id = writer.records()[2]["id"]
    return {"request_id": request_id, "global_request_id": "req-global", "verdict": verdict_id}


@pytest.mark.parametrize("by", ["request_id", "global_request_id", "verdict"])
def test_shows_a_verdict_and_its_outcome(writer: Writer, ids: dict[str, str], by: str, run: Any) -> None:
    shown = json.loads(run("audit", "show", "-f", "json", "--journal", writer.path, ids[by]).out)
    assert (shown["request_id"], shown["verdict"], shown["status"]) == (ids["request_id"], "allow", 202)
    assert (shown["image_id"], shown["image_name"], shown["outcome"]) == (IMAGE_ID, "good", "202")
    assert shown["authenticated"] is True
    assert "rule" not in shown, "fields without a value must be left out"


def test_finds_an_image(writer: Writer, run: Any) -> None:
    request_id = writer.post(image("good"))
    shown = run("audit", "show", "-f", "json", "--journal", writer.path, IMAGE_ID)
    assert json.loads(shown.out)["request_id"] == request_id


def test_lists_the_verdicts_if_there_are_several(writer: Writer, ids: dict[str, str], run: Any) -> None:
    shown = run("audit", "show", "-f", "json", "--journal", writer.path, IMAGE_ID)
    assert (shown.status, shown.err.count(" at 20")) == (1, 2)
    assert f"  {ids['verdict']} at 20" in shown.err


def test_reports_an_unknown_id(writer: Writer, ids: dict[str, str], run: Any) -> None:
    shown = run("audit", "show", "--journal", writer.path, "req-none")
    assert (shown.status, shown.out, shown.err) == (1, "", "no verdict has the id req-none\n")


def test_the_outcome_is_unknown_if_the_process_died(writer: Writer, ids: dict[str, str], run: Any) -> None:
    remove_configurations(writer.path)
    lines = writer.path.read_text().splitlines(keepends=True)
    writer.path.write_text("".join(lines[:3]))
    shown = json.loads(run("audit", "show", "-f", "json", "--journal", writer.path, ids["request_id"]).out)
    assert shown["outcome"] == "outcome unknown"


def test_shows_what_was_truncated(writer: Writer, run: Any) -> None:
    request_id = writer.post(image("n" * 300, {"k" * 260: "v"}))
    shown = json.loads(run("audit", "show", "-f", "json", "--journal", writer.path, request_id).out)
    assert shown["truncated"] == [
        {"field": "image_name", "length": 300},
        {"field": "metadata_key", "length": 260},
    ]
    out = run("audit", "show", "-f", "value", "--journal", writer.path, request_id).out
    assert "\nimage_name: 300, metadata_key: 260\n" in out

"""``imagefilter audit replay``: a recorded request is judged as the filter would judge it under the new policy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cliff")
pytest.importorskip("duckdb")

from imagefilter.cli.replay import FIELDS, replay
from imagefilter.history import History
from imagefilter.policy import load
from tests.cases import CASES, SERVER, backup, image, items
from tests.unit.journalled import Ran, Writer
from tests.unit.test_cli import _keep_logging  # noqa: F401  # a fixture
from tests.unit.test_event import ours

POLICIES: list[Mapping[str, str]] = [
    {},
    {"snapshots_enabled": "no"},
    {"mode": "warn"},
    {"mode": "off"},
    {"name_pattern": "[a-z]*", "metadata_required": "k"},
    {"metadata_items": "2", "metadata_reserved": "k, key*"},
    {"exempt_roles": "member", "metadata_items": "0", "snapshots_enabled": "no"},
    {"actions": "createBackup,shelve", "rule_modes": "name-format:off,metadata-value:warn,server:off"},
]


def write(path: Path, options: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The whole case table through the filter: the verdict on each case that was recorded, by its id."""
    writer = Writer(path, **options)
    for case in CASES:
        headers = {"CONTENT_TYPE": case.headers.get("Content-Type", "")}
        target = "/v2.1" + case.path.format(server=SERVER)
        writer.post(case.body, target=target, **headers, **{"openstack.request_id": case.id})
    records = map(json.loads, path.read_text().splitlines())
    verdicts = [each for each in records if each["eventType"] == "control"]
    return {each["initiator"]["request_id"]: (ours(each)["verdict"], ours(each)["rule"] or "") for each in verdicts}


@pytest.mark.parametrize("audit_metadata", ["full", "keys", "none"])
@pytest.mark.parametrize("new", POLICIES, ids=str)
def test_replaying_says_what_the_filter_says(tmp_path: Path, audit_metadata: str, new: Mapping[str, str]) -> None:
    write(tmp_path / "old.jsonl", {"audit_metadata": audit_metadata})
    expected = write(tmp_path / "new.jsonl", new)
    history = History([str(tmp_path / "old.jsonl")])
    history.load(FIELDS)
    told = 0
    for each in replay(history, load(dict(new)), quota=128):
        now = expected.get(each.then["request_id"], ("not judged", ""))
        if each.is_told:
            told += 1
            assumed = now[1] == "metadata-value" and "metadata-value" in each.unknown
            assert assumed or (each.now.outcome, each.now.rule) == now, each.then
        else:
            assert audit_metadata != "full" or each.then["cut"]
    assert told > len(expected) * {"full": 0.8, "keys": 0.6, "none": 0.3}[audit_metadata]


def run(capsys: Any, tmp_path: Path, journal: Path, options: str, *args: object) -> Ran:
    config = tmp_path / "new.conf"
    config.write_text(f"[imagefilter]\n{options}\n")
    return Ran(capsys, "audit", "replay", "-f", "json", "--config", config, "--journal", journal, *args)


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    made = Writer(tmp_path / "audit.jsonl", metadata_items="5")
    made.post(image("nightly-1", items(2)))
    made.post(image("mine", items(3)))
    made.post(image("many", items(9)))
    made.post(backup(name="weekly-1"))
    return made


def test_what_would_be_otherwise(writer: Writer, tmp_path: Path, capsys: Any) -> None:
    ran = run(capsys, tmp_path, writer.path, "name_pattern = [a-z]+-[0-9]+\nmetadata_items = 10")
    assert ran.status == 1
    assert [(row["Image Name"], row["Then"], row["Now"]) for row in ran.rows] == [
        ("mine", "allow", "deny (name-pattern)"),
        ("many", "deny (metadata-quota)", "deny (name-pattern)"),
    ]
    assert "4 requests replayed, 2 would be judged otherwise\n" in ran.err
    assert "  1: allow -> deny (name-pattern)\n" in ran.err
    assert "metadata-value was not judged again in 3, and taken to hold: what it looks at was not recorded" in ran.err


def test_nothing_would_be_otherwise(writer: Writer, tmp_path: Path, capsys: Any) -> None:
    ran = run(capsys, tmp_path, writer.path, "metadata_items = 6")
    assert (ran.status, ran.rows) == (0, [])
    assert "4 requests replayed, 0 would be judged otherwise\n" in ran.err


def test_filters(writer: Writer, tmp_path: Path, capsys: Any) -> None:
    ran = run(capsys, tmp_path, writer.path, "snapshots_enabled = no", "--action", "createBackup", "--since", "1h")
    assert [row["Image Name"] for row in ran.rows] == ["weekly-1"]


def test_a_quota_of_the_compute_api_is_the_one_that_is_given(writer: Writer, tmp_path: Path, capsys: Any) -> None:
    ran = run(capsys, tmp_path, writer.path, "metadata_items_source = compute", "--quota", 2)
    assert {row["Image Name"]: row["Now"] for row in ran.rows} == {"mine": "deny (metadata-quota)"}
    ran = run(capsys, tmp_path, writer.path, "metadata_items_source = compute")
    assert {row["Image Name"]: row["Now"] for row in ran.rows} == {"many": "allow"}


def test_what_can_not_be_told_is_said(tmp_path: Path, capsys: Any) -> None:
    writer = Writer(tmp_path / "audit.jsonl", audit_metadata="none")
    writer.post(image("a", {"k": 5}))
    writer.post(image("b", {"k": "v"}))
    ran = run(capsys, tmp_path, writer.path, "metadata_required = k")
    assert ran.rows == []
    assert "2 requests replayed, 0 would be judged otherwise\n" in ran.err
    assert "2 can't be told: a rule that may have decided needs what was not recorded\n" in ran.err
    assert "metadata-required was not judged again in 2" in ran.err


def test_a_bad_policy_is_told_before_anything_is_read(tmp_path: Path, capsys: Any) -> None:
    ran = run(capsys, tmp_path, tmp_path / "none", "nonsense = 1")
    assert ran.status == 2
    assert "unknown option 'nonsense'" in ran.err

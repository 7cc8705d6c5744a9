"""The table of rules: a rule is a row of it, and everything else that tells of rules finds it there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagefilter.policy.context import build_context
from imagefilter.request.action import ACTIONS, NAMED_ACTIONS, recognise
from imagefilter.request.identity import identify
from imagefilter.rules import table
from imagefilter.rules.case import Case, Refusal, build_case
from imagefilter.rules.rule import Part, Rule
from tests.cases import CASES, PROJECT, backup, image
from tests.unit.fakes import AUTHENTICATED, PATH, Guarded
from tests.unit.journal_fixtures import Run, Writer
from tests.wsgi import build_environ, encode

MESSAGE = "The image name must be in lower case (name-case)"


def refuse_upper_case(case: Case) -> Refusal | None:
    name = case.action.image_name
    if type(name) is str and name != name.lower():
        return Refusal(MESSAGE)
    return None


@pytest.fixture
def new_rule(monkeypatch: pytest.MonkeyPatch) -> Rule:
    """Add one more rule of the operator's to the table."""
    rule = Rule(
        name="name-case",
        status=403,
        check=refuse_upper_case,
        reads=Part.NAME,
        summary=MESSAGE,
        options=("name_pattern",),
        exemptible=True,
    )
    monkeypatch.setattr(table, "RULES", (*table.RULES, rule))
    return rule


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "imagefilter.conf"
    path.write_text("[imagefilter]\nname_pattern = .+\n")
    return path


def test_names_are_unique_and_in_judging_order() -> None:
    names = table.rule_names()
    assert len(set(names)) == len(names)
    assert names[:3] == ("token", "content-type", "body")
    assert [rule.name for rule in table.RULES if rule.always_enforced] == list(names[:3])


def test_a_rule_knows_whether_it_reads_the_image() -> None:
    about_the_request = {rule.name for rule in table.RULES if not rule.reads_image}
    assert about_the_request == {
        "token",
        "content-type",
        "body",
        "project-id",
        "project",
        "project-unknown",
        "server",
        "snapshots-enabled",
        "backup-rotation",
        "one-at-a-time",
        "limit-busy",
        "server-limit",
        "project-limit",
        "progress-limit",
        "image-quota",
    }


def test_the_filter_enforces_a_new_rule(new_rule: Rule) -> None:
    [fault] = Guarded().post(image("UPPER")).json.values()
    assert (fault["code"], fault["message"]) == (403, MESSAGE)
    assert Guarded(rule_modes="name-case:off").post(image("UPPER")).status_int == 202


def test_explain_shows_a_new_rule(
    new_rule: Rule, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cliff")
    body = tmp_path / "body.json"
    body.write_text(json.dumps(image("UPPER")))
    explained = Run(capsys, "explain", "--config", config, "-f", "json", body)
    [row] = [row for row in explained.rows if row["Rule"] == "name-case"]
    assert row["Result"] == f"403 {MESSAGE}"
    assert row["Settings"] == f"name_pattern = .+, section [imagefilter] of {config}"
    assert explained.status == 1


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Record requests with a new rule switched off: two that it would refuse, and one with a truncated name."""
    writer = Writer(tmp_path / "audit.jsonl", mode="off")
    for name in ("UPPER", "lower", "Mixed", "n" * 256):
        writer.post(image(name))
    return writer.path


def run_replay(capsys: Any, *args: object) -> Run:
    pytest.importorskip("cliff")
    pytest.importorskip("duckdb")
    return Run(capsys, "audit", "replay", "-f", "json", *args)


def test_replay_judges_by_a_new_rule(new_rule: Rule, config: Path, journal: Path, capsys: Any) -> None:
    config.write_text("[imagefilter]\nname_pattern = .+\nrule_modes = name-format:off\n")
    replayed = run_replay(capsys, "--config", config, "--journal", journal)
    assert [(row["Image Name"], row["Now"]) for row in replayed.rows] == [
        ("UPPER", "deny (name-case)"),
        ("Mixed", "deny (name-case)"),
    ]
    assert "uncertain: 1 request; not recorded, or truncated: name-pattern in 1; name-case in 1\n" in replayed.err


def test_replay_assumes_a_new_rule_on_values_only_without_options(
    new_rule: Rule, config: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the operator's options decide can't be assumed."""
    writer = Writer(tmp_path / "audit.jsonl")
    writer.post(image("name", {"k": "v"}))
    monkeypatch.setattr(table, "RULES", (*table.RULES[:-1], new_rule._replace(reads=Part.METADATA_VALUES)))
    replayed = run_replay(capsys, "--config", config, "--journal", writer.path)
    what = "metadata-value in 1, assumed to hold; name-case in 1"
    assert f"uncertain: 1 request; not recorded, or truncated: {what}\n" in replayed.err


def test_filter_options_accept_a_new_rule(new_rule: Rule, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cliff")
    pytest.importorskip("duckdb")
    writer = Writer(tmp_path / "audit.jsonl")
    refused = writer.post(image("UPPER"))
    writer.post(image("lower"))
    listed = Run(capsys, "audit", "list", "-f", "json", "--journal", writer.path, "--rule", "name-case")
    assert [row["Request ID"] for row in listed.rows] == [refused]


def test_metrics_have_a_new_rule_as_a_label(new_rule: Rule, tmp_path: Path) -> None:
    from imagefilter.relay import counters

    labels = {"action": "createImage", "verdict": "deny", "rule": "name-case", "mode": "enforce"}
    series = counters.REQUESTS.series(**labels)
    assert series in counters.initial_records()
    writer = Writer(tmp_path / "audit.jsonl")
    writer.post(image("UPPER"))
    [record] = writer.records()
    assert list(counters.count(record)) == [(series, 1)]


IDLE = [rule for rule in table.RULES if rule.idle_by_default]

#: A value that is not the default, for each option that such a rule has.
OTHER_VALUES = {
    "snapshots_enabled": "false",
    "name_pattern": "x",
    "metadata_required": "owner",
    "backup_rotation_max": "3",
    "backup_rotation_min": "3",
    "one_at_a_time": "true",
    "snapshots_per_server": "0",
    "snapshots_per_project": "0",
    "snapshots_in_progress": "0",
    "limits_source": "keystone",
    "image_quota_check": "true",
}

ALL_ACTIONS = {name: name.encode() for name in ACTIONS}


class NoLookups:
    """Fails a rule that asks anything."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked")


@pytest.mark.parametrize("rule", IDLE, ids=lambda rule: rule.name)
def test_a_rule_that_is_left_out_by_default_refuses_nothing(rule: Rule) -> None:
    """The filter does not ask it then: each request of the case table, and each backup, would be let through by it."""
    policy = table.load_policy({})
    assert rule not in policy.settings.rules
    documents = [case.document for case in CASES] + [backup(rotation=rotation) for rotation in (0, 1, 10**30, None)]
    asked = 0
    for document in documents:
        environ = build_environ("POST", PATH, b"", **AUTHENTICATED)
        action = recognise(environ, encode(document), ALL_ACTIONS)
        if action is None or (rule.reads_image and action.name not in NAMED_ACTIONS):
            continue
        context = build_context(action, identify(environ), policy)
        assert rule.check(build_case(context, NoLookups())) is None
        asked += 1
    assert asked > 50


@pytest.mark.parametrize(
    ("rule", "option"), [(rule, option) for rule in IDLE for option in rule.options], ids=lambda value: str(value)[:40]
)
def test_each_option_of_a_rule_that_is_left_out_by_default_brings_it_in(rule: Rule, option: str) -> None:
    options = {option: OTHER_VALUES[option], "identity_api_url": "http://keystone/v3", "audit_journal": "/tmp/a.jsonl"}
    assert rule in table.load_policy(options).settings.rules


def test_an_option_of_one_project_brings_a_rule_in_for_it(tmp_path: Path) -> None:
    path = tmp_path / "imagefilter.conf"
    path.write_text(f"[imagefilter]\nname_pattern = x\n[imagefilter:project:{PROJECT}]\nsnapshots_enabled = false\n")
    policy = table.load_policy({"oslo_config_file": str(path)})
    names = {rule.name for rule in policy.for_project(PROJECT).rules} - {rule.name for rule in policy.settings.rules}
    assert names == {"snapshots-enabled"}

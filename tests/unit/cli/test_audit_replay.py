"""``imagefilter audit replay``: recorded requests are judged as the filter would judge them under the new policy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

import pytest

pytest.importorskip("cliff")
pytest.importorskip("duckdb")

from imagefilter.cli._recorded import COLUMNS
from imagefilter.cli._replay_summary import Replayed
from imagefilter.cli.audit_replay import iterate, replay
from imagefilter.journal.history import History
from imagefilter.journal.record import read_content
from imagefilter.rules.table import load_policy
from tests.cases import CASES, SERVER, backup, image, items
from tests.unit.journal_fixtures import Run, Writer

Verdict = tuple[str, str]

NOT_JUDGED: Verdict = ("not judged", "")

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


def record_cases(path: Path, options: Mapping[str, str]) -> dict[str, Verdict]:
    """Send the whole case table through the filter; return the recorded verdicts, by the case's id."""
    writer = Writer(path, **options)
    for case in CASES:
        environ = {"CONTENT_TYPE": case.headers.get("Content-Type", ""), "openstack.request_id": case.id}
        writer.post(case.body, target="/v2.1" + case.path.format(server=SERVER), **environ)
    verdicts = {}
    for record in writer.records():
        content = read_content(record)
        if record["eventType"] == "control":
            verdicts[record["initiator"]["request_id"]] = (content["verdict"], content["rule"] or "")
    return verdicts


def replay_journal(path: Path, options: Mapping[str, str]) -> list[Replayed]:
    history = History([str(path)])
    history.load(COLUMNS)
    policy = load_policy(options)
    replayed = [replay(row, policy, 128) for row in iterate(history)]
    return [request for request in replayed if request is not None]


def verdict_of(replayed: Replayed) -> Verdict:
    if replayed.now is None:
        return NOT_JUDGED
    return replayed.now.decision.value, replayed.now.rule


@pytest.fixture(scope="module", params=["full", "keys", "none"])
def audit_metadata(request: pytest.FixtureRequest) -> str:
    """What of the metadata was recorded."""
    option: str = request.param
    return option


@pytest.fixture(scope="module")
def recorded(audit_metadata: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record the whole case table."""
    path = tmp_path_factory.mktemp(audit_metadata) / "audit.jsonl"
    record_cases(path, {"audit_metadata": audit_metadata})
    return path


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Mapping[str, str]], dict[str, Verdict]]:
    """Return the filter's verdicts on the case table under a policy; each policy is tried once."""
    verdicts: dict[str, dict[str, Verdict]] = {}

    def expected(options: Mapping[str, str]) -> dict[str, Verdict]:
        if str(options) not in verdicts:
            verdicts[str(options)] = record_cases(tmp_path_factory.mktemp("new") / "audit.jsonl", options)
        return verdicts[str(options)]

    return expected


SHARES = {"full": 0.8, "keys": 0.6, "none": 0.3}


@pytest.mark.slow
@pytest.mark.parametrize("new", POLICIES, ids=str)
def test_certain_verdicts_are_those_of_the_filter(
    recorded: Path, audit_metadata: str, new: Mapping[str, str], expected: Any
) -> None:
    certain = [item for item in replay_journal(recorded, new) if item.is_certain]
    for item in certain:
        verdict = expected(new).get(item.then["request_id"], NOT_JUDGED)
        is_assumed = verdict[1] == "metadata-value" and "metadata-value" in item.unknown
        assert is_assumed or verdict_of(item) == verdict, item.then
    assert len(certain) > len(expected(new)) * SHARES[audit_metadata]


@pytest.mark.parametrize("audit_metadata", ["full"], indirect=True)
@pytest.mark.parametrize("new", POLICIES, ids=str)
def test_a_verdict_is_uncertain_only_if_something_is_missing(recorded: Path, new: Mapping[str, str]) -> None:
    for item in replay_journal(recorded, new):
        assert item.is_certain or item.then["truncated"]


@pytest.fixture
def run_replay(tmp_path: Path, run: Any) -> Callable[..., Run]:
    """Replay a journal under a new policy."""

    def run_replay(journal: Path, options: str, *args: object) -> Run:
        config = tmp_path / "new.conf"
        config.write_text(f"[imagefilter]\n{options}\n")
        replayed: Run = run("audit", "replay", "-f", "json", "--config", config, "--journal", journal, *args)
        return replayed

    return run_replay


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """A journal of four requests."""
    writer = Writer(tmp_path / "audit.jsonl", metadata_items="5")
    writer.post(image("nightly-1", items(2)))
    writer.post(image("mine", items(3)))
    writer.post(image("many", items(9)))
    writer.post(backup(name="weekly-1"))
    return writer


def test_lists_what_would_be_judged_differently(writer: Writer, run_replay: Any) -> None:
    replayed = run_replay(writer.path, "name_pattern = [a-z]+-[0-9]+\nmetadata_items = 10")
    assert replayed.status == 1
    assert [(row["Image Name"], row["Then"], row["Now"]) for row in replayed.rows] == [
        ("mine", "allow", "deny (name-pattern)"),
        ("many", "deny (metadata-quota)", "deny (name-pattern)"),
    ]
    assert replayed.err.splitlines() == [
        "newly refused: 1 request of 1 user in 1 project",
        "newly allowed: 0 requests",
        "judged otherwise: 1 request of 1 user in 1 project",
        "unchanged: 2 requests of 1 user in 1 project",
        "uncertain: 0 requests; not recorded, or truncated: metadata-value in 3, assumed to hold",
    ]


def test_lists_nothing_if_no_verdict_differs(writer: Writer, run_replay: Any) -> None:
    replayed = run_replay(writer.path, "metadata_items = 6")
    assert (replayed.status, replayed.rows) == (0, [])
    assert replayed.err.startswith("newly refused: 0 requests\nnewly allowed: 0 requests\nunchanged: 4 requests of ")


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("user", [("alice", 2, 0, 0, 1, 0), ("bob@acme", 1, 0, 0, 0, 0), ("carol", 0, 1, 0, 0, 0)]),
        ("project", [("6f70-name", 3, 1, 0, 1, 0)]),
        ("rule", [("name-pattern", 3, 0, 0, 0, 0), ("metadata-quota", 0, 1, 0, 0, 0), ("none broken", 0, 0, 0, 1, 0)]),
    ],
)
def test_counts_who_would_be_refused(by: str, expected: list[Any], tmp_path: Path, run_replay: Any) -> None:
    writer = Writer(tmp_path / "audit.jsonl", metadata_items="5")
    for name in ("mine", "yours", "nightly-1"):
        writer.post(image(name))
    writer.post(image("ours"), user="bob", HTTP_X_USER_DOMAIN_ID="a1", HTTP_X_USER_DOMAIN_NAME="acme")
    writer.post(image("many-1", items(9)), user="carol")
    policy = "name_pattern = [a-z]+-[0-9]+\nmetadata_items = 10"
    replayed = run_replay(writer.path, policy, "--by", by)
    assert [tuple(row.values()) for row in replayed.rows] == expected
    assert replayed.err.startswith("newly refused: 3 requests of 2 users in 1 project\nnewly allowed: 1 request of ")
    cut = run_replay(writer.path, policy, "--by", by, "--limit", 1)
    assert [tuple(row.values()) for row in cut.rows] == expected[:1]


def test_a_limit_lists_the_newest(writer: Writer, run_replay: Any) -> None:
    replayed = run_replay(writer.path, "snapshots_enabled = no", "--limit", 2)
    assert [row["Image Name"] for row in replayed.rows] == ["many", "weekly-1"]
    assert "listed 2 of 4 (--limit 0 lists all)\n" in replayed.err
    assert len(run_replay(writer.path, "snapshots_enabled = no", "--limit", 0).rows) == 4


@pytest.mark.parametrize("limit", ["-1", "x", "1.5", ""])
def test_a_limit_is_a_number(limit: str, writer: Writer, run_replay: Any) -> None:
    replayed = run_replay(writer.path, "snapshots_enabled = no", f"--limit={limit}")
    assert replayed.status == 2
    assert f"'{limit}' is not a whole number from 0 to 999999999" in replayed.err


def test_lists_actions_that_are_no_longer_judged(writer: Writer, run_replay: Any) -> None:
    replayed = run_replay(writer.path, "actions = createImage\nmetadata_items = 5")
    assert [(row["Image Name"], row["Now"]) for row in replayed.rows] == [("weekly-1", "not judged")]


def test_a_record_that_is_not_understood_is_counted(writer: Writer, run_replay: Any) -> None:
    writer.post(image([]))
    text = writer.path.read_text()
    writer.path.write_text(text.replace('"a list"', '"a colour"'))
    replayed = run_replay(writer.path, "metadata_items = 5\nname_pattern = .*")
    assert replayed.status == 1
    assert "its fields are of other types than a record's" in replayed.err
    assert "left out: files: 0, lines: 1\n" in replayed.err


def test_filters(writer: Writer, run_replay: Any) -> None:
    replayed = run_replay(writer.path, "snapshots_enabled = no", "--action", "createBackup", "--since", "1h")
    assert [row["Image Name"] for row in replayed.rows] == ["weekly-1"]


def test_the_given_quota_stands_for_the_compute_api_s(writer: Writer, run_replay: Any) -> None:
    replayed = run_replay(writer.path, "metadata_items_source = compute", "--quota", 2)
    assert {row["Image Name"]: row["Now"] for row in replayed.rows} == {"mine": "deny (metadata-quota)"}
    replayed = run_replay(writer.path, "metadata_items_source = compute")
    assert {row["Image Name"]: row["Now"] for row in replayed.rows} == {"many": "allow"}


def test_reports_uncertain_verdicts(tmp_path: Path, run_replay: Any) -> None:
    writer = Writer(tmp_path / "audit.jsonl", audit_metadata="none")
    writer.post(image("a", {"k": 5}))
    writer.post(image("b", {"k": "v"}))
    replayed = run_replay(writer.path, "metadata_required = k")
    assert replayed.rows == []
    assert "newly refused: 0 requests\n" in replayed.err
    assert "uncertain: 2 requests; not recorded, or truncated: " in replayed.err
    assert "metadata-required in 2" in replayed.err


def test_a_truncated_name_keeps_its_length(tmp_path: Path, run_replay: Any) -> None:
    writer = Writer(tmp_path / "audit.jsonl", mode="off")
    writer.post(image("n" * 256))
    replayed = run_replay(writer.path, "name_pattern = n+")
    assert [row["Now"] for row in replayed.rows] == ["deny (name-format)"]
    assert "not recorded, or truncated: name-pattern in 1" in replayed.err


def test_a_truncated_path_is_not_judged_again(tmp_path: Path, run_replay: Any) -> None:
    writer = Writer(tmp_path / "audit.jsonl", actions="shelve")
    writer.post({"shelve": None}, target=f"/v2.1/servers/{'s' * 300}/action")
    replayed = run_replay(writer.path, "actions = shelve")
    assert replayed.rows == []
    assert "uncertain: 1 request; " in replayed.err
    assert "not recorded, or truncated: project-id in 1; project in 1; server in 1\n" in replayed.err


def test_replays_the_quota_of_the_image_api(tmp_path: Path, run_replay: Any) -> None:
    """The records have what Glance said; where nobody asked, nobody can say."""
    writer = Writer(tmp_path / "audit.jsonl")
    for _ in range(3):
        writer.post(image("x"))
    lines = writer.path.read_text().splitlines(keepends=True)
    quotas = iter(({"image_count_total": {"limit": 3, "usage": 3}}, {"image_size_total": {"limit": 3, "usage": 2}}))
    add_content(writer.path, lines, lambda: {"image_quota": next(quotas, None)})
    replayed = run_replay(writer.path, "image_quota_check = yes")
    assert [row["Now"] for row in replayed.rows] == ["deny (image-quota)"]
    assert "uncertain: 1 request; not recorded, or truncated: image-quota in 1\n" in replayed.err


def test_replays_limits_from_keystone(tmp_path: Path, run_replay: Any) -> None:
    writer = Writer(tmp_path / "audit.jsonl")
    for _ in range(3):
        writer.post(image("x"))
    lines = writer.path.read_text().splitlines(keepends=True)
    limits = iter((2, 3))

    def recorded() -> dict[str, Any]:
        server = next(limits, None)
        if server is None:
            return {"snapshot_usage": {"server": 2}}
        return {
            "snapshot_usage": {"server": 2},
            "snapshot_limits": {"server": server, "project": -1, "in_progress": -1},
        }

    add_content(writer.path, lines, recorded)
    keystone = ("limits_source = keystone", "identity_api_url = http://keystone.example")
    replayed = run_replay(writer.path, "\n".join((*keystone, f"audit_journal = {writer.path}")))
    assert [row["Now"] for row in replayed.rows] == ["deny (server-limit)"]
    unknown = "server-limit in 1; project-limit in 1; progress-limit in 1"
    assert f"uncertain: 1 request; not recorded, or truncated: {unknown}\n" in replayed.err


@pytest.mark.parametrize(
    ("rule", "document", "is_uncertain"),
    [
        ("deny = server.locked", image("x"), True),
        ("deny = server.locked\nmode = off", image("x"), False),
        ("deny = server.locked\nactions = createBackup", image("x"), False),
        ("deny = server.locked\n[imagefilter]\nexempt_roles = member", image("x"), False),
        ("deny = backup.type.endsWith('y')", backup(backup_type="daily"), False),
        ("deny = backup.type.endsWith('y')", backup(backup_type="n" * 300 + "y"), True),
    ],
)
def test_what_an_own_rule_reads_was_recorded(
    rule: str, document: Any, is_uncertain: bool, tmp_path: Path, run_replay: Any
) -> None:
    pytest.importorskip("cel_expr_python")
    writer = Writer(tmp_path / "audit.jsonl")
    writer.post(document)
    replayed = run_replay(writer.path, f"\n[imagefilter:rule:mine]\n{rule}")
    assert ("mine in 1" in replayed.err) is is_uncertain, replayed.err


def add_content(path: Path, lines: list[str], content: Callable[[], dict[str, Any]]) -> None:
    """Add to the recorded verdicts what a filter with other options would have recorded."""
    changed = []
    for line in lines:
        record = json.loads(line)
        if record["action"] == "evaluate":
            read_content(record).update(content())
        changed.append(json.dumps(record) + "\n")
    path.write_text("".join(changed))


def test_reports_a_bad_policy_before_it_reads_anything(tmp_path: Path, run_replay: Any) -> None:
    replayed = run_replay(tmp_path / "none", "nonsense = 1")
    assert replayed.status == 2
    assert "unknown option 'nonsense'" in replayed.err

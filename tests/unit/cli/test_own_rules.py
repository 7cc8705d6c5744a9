"""Rules of the operator's own in the commands that read a policy or a journal."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from imagefilter.policy.store import PolicyStore
from imagefilter.rules.table import load_policy
from tests.cases import image
from tests.unit.fakes import AUTHENTICATED, PATH, get_content
from tests.unit.journal_fixtures import Run, Writer, shift
from tests.wsgi import send

pytest.importorskip("cel_expr_python")

GPU = '[imagefilter:rule:no-gpu]\ndeny = server.flavor.name.startsWith("gpu.")\nmessage = No\n'
NAMES = "[imagefilter:rule:names]\ndeny = image.name.startsWith('tmp')\n"


class Compute:
    """Answers a question about a server, and accepts each action."""

    def __init__(self, flavor: str = "gpu.1") -> None:
        self.flavor = flavor

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] != "GET":
            start_response("202 Accepted", [("Content-Length", "0")])
            return [b""]
        flavor = {"original_name": self.flavor, "vcpus": 1, "ram": 1, "disk": 1}
        server = {"name": "n", "metadata": {"secret": "s3cret"}, "flavor": flavor}
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"server": server}).encode()]


def write(folder: Path, text: str, name: str = "rules.conf") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def record(folder: Path, text: str, *names: str, flavor: str = "gpu.1", **options: str) -> Writer:
    config = write(folder, text, "old.conf")
    writer = Writer(folder / "audit.jsonl", Compute(flavor), oslo_config_file=str(config), **options)
    for name in names:
        writer.post(image(name))
    return writer


def replay(capsys: Any, config: Path, writer: Writer) -> tuple[list[tuple[str, str, str]], str]:
    pytest.importorskip("cliff")
    pytest.importorskip("duckdb")
    replayed = Run(capsys, "audit", "replay", "-f", "json", "--config", config, "--journal", writer.path)
    return [(row["Image Name"], row["Then"], row["Now"]) for row in replayed.rows], replayed.err


def test_replay_judges_by_recorded_facts(tmp_path: Path, capsys: Any) -> None:
    writer = record(tmp_path, GPU + "mode = warn\n", "a")
    rows, _ = replay(capsys, write(tmp_path, GPU), writer)
    assert rows == [("a", "would_deny (no-gpu)", "deny (no-gpu)")]
    rows, _ = replay(capsys, write(tmp_path, GPU.replace("gpu.", "tpu.")), writer)
    assert rows == [("a", "would_deny (no-gpu)", "allow")]


def test_replay_judges_what_the_record_holds_of_the_request(tmp_path: Path, capsys: Any) -> None:
    writer = record(tmp_path, "", "tmp-1", "b")
    rows, _ = replay(capsys, write(tmp_path, NAMES), writer)
    assert rows == [("tmp-1", "allow", "deny (names)")]


@pytest.mark.parametrize(
    ("deny", "is_certain"),
    [
        ("server.flavor.vcpus > 5", False),
        ("usage.server > 5", False),
        ("'k' in image.metadata", False),
        ("'batch' in caller.roles", True),
        ("now < timestamp('2026-01-01T00:00:00Z')", True),
        ("image.name == 'x'", True),
    ],
)
def test_replay_says_what_the_record_does_not_hold(tmp_path: Path, capsys: Any, deny: str, is_certain: bool) -> None:
    writer = Writer(tmp_path / "audit.jsonl")
    writer.post(image("a", {"k": "v"}))
    rows, err = replay(capsys, write(tmp_path, f"[imagefilter:rule:r]\ndeny = {deny}\n"), writer)
    assert rows == []
    assert ("uncertain: 1 request; not recorded, or truncated" in err and "r in 1" in err) is not is_certain


def test_replay_judges_by_the_time_of_the_request(tmp_path: Path, capsys: Any) -> None:
    writer = Writer(tmp_path / "audit.jsonl")
    writer.post(image("a"))
    shift(writer.path, days=400)
    deny = "now < timestamp('2026-06-01T00:00:00Z')"
    rows, _ = replay(capsys, write(tmp_path, f"[imagefilter:rule:r]\ndeny = {deny}\n"), writer)
    assert rows == [("a", "allow", "deny (r)")]


def test_replay_takes_what_was_absent_for_absent(tmp_path: Path, capsys: Any) -> None:
    text = "[imagefilter:rule:r]\ndeny = server.locked\n"
    writer = record(tmp_path, text, "a")
    assert get_content(writer.records()[0])["facts"] == [{"field": "server.locked", "value": None}]
    rows, err = replay(capsys, write(tmp_path, text), writer)
    assert rows == []
    assert "unchanged: 1 request" in err


@pytest.mark.parametrize("audit_metadata", ["keys", "full", "none"])
def test_metadata_of_a_server_are_recorded_as_those_of_the_image(tmp_path: Path, audit_metadata: str) -> None:
    text = "[imagefilter:rule:r]\ndeny = server.metadata.size() == 0\n"
    record(tmp_path, text, "a", audit_metadata=audit_metadata)
    assert ("s3cret" in (tmp_path / "audit.jsonl").read_text()) is (audit_metadata == "full")


def test_lists_and_shows_own_rules(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("cliff")
    pytest.importorskip("duckdb")
    writer = record(tmp_path, GPU + NAMES, "a")
    listed = Run(capsys, "audit", "list", "-f", "json", "--journal", writer.path, "--rule", "no-gpu")
    [row] = listed.rows
    shown = Run(capsys, "audit", "show", "-f", "json", "--journal", writer.path, row["Request ID"])
    assert json.loads(shown.out)["rule"] == "no-gpu"
    assert "gpu.1" in shown.out
    none = Run(capsys, "audit", "list", "-f", "json", "--journal", writer.path, "--rule", "names")
    assert none.rows == []


def test_show_config_and_check_have_them(tmp_path: Path, run: Any) -> None:
    pytest.importorskip("cliff")
    config = write(tmp_path, GPU)
    rows = [
        row for row in run("show", "config", "--config", config, "-f", "json").rows if row["Project"] == "rule no-gpu"
    ]
    assert [row["Option"] for row in rows] == ["deny", "message", "mode", "actions", "projects"]
    assert rows[0]["Origin"] == f"section [imagefilter:rule:no-gpu] of {config}"
    checked = run("check", "config", write(tmp_path, GPU.replace("startsWith", "beginsWith"), "bad.conf"))
    assert checked.status != 0
    assert "deny in section [imagefilter:rule:no-gpu]" in checked.out + checked.err
    assert "line 1, column 30: unknown name or function 'beginsWith'" in checked.out + checked.err


def touch(path: Path, text: str) -> None:
    path.write_text(text)
    old = time.time() - 10
    os.utime(path, (old, old))


def test_a_reload_takes_a_changed_rule_and_keeps_the_last_good_one(tmp_path: Path, caplog: Any) -> None:
    path = tmp_path / "rules.conf"
    touch(path, NAMES)
    store = PolicyStore({"oslo_config_file": str(path), "reload_interval": "0"}, "the paste section", load_policy)
    touch(path, NAMES.replace("tmp", "temporary") + GPU)
    assert [rule.name for rule in store.current().own_rules] == ["names", "no-gpu"]
    touch(path, NAMES + "[imagefilter:rule:no-gpu]\ndeny = nonsense(\n")
    assert [rule.name for rule in store.current().own_rules] == ["names", "no-gpu"]
    assert "keeping the previous configuration" in caplog.text
    touch(path, "# emptied by an accident, for example\n")
    assert [rule.name for rule in store.current().own_rules] == ["names", "no-gpu"]
    touch(path, NAMES)
    assert [rule.name for rule in store.current().own_rules] == ["names"]
    assert "section [imagefilter:rule:no-gpu] of" in caplog.text


def test_a_log_line_says_why_a_rule_had_no_result(tmp_path: Path, caplog: Any) -> None:
    record(tmp_path, "[imagefilter:rule:r]\ndeny = image.metadata.cost == 'x'\n", "a")
    assert "rule r had no result, so it counts as broken: Key not found in map: cost" in caplog.text


def test_the_status_of_a_process_is_of_its_rules(tmp_path: Path) -> None:
    """``status`` compares digests."""
    digests = {load_policy({"oslo_config_file": str(write(tmp_path, text))}).loaded.digest for text in ("", GPU, NAMES)}
    assert len(digests) == 3


def test_a_warning_tells_the_client(tmp_path: Path) -> None:
    from imagefilter import filter_factory

    config = write(tmp_path, GPU + "mode = warn\n")
    app = filter_factory({}, oslo_config_file=str(config))(Compute())
    response = send(app, "POST", PATH, image(), None, **AUTHENTICATED)
    assert response.status_int == 202
    assert "No (no-gpu)" in response.headers["Warning"]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ('deny = !("Backup" in caller.roles)', "rule r looks for a role with capitals in caller.roles"),
        (
            "deny = true\nactions = shelve",
            "rule r is about shelve, which is not judged: it is not in [imagefilter] actions",
        ),
        ("deny = true\nmessage = No  # because", "message = No  # because in section [imagefilter:rule:r]"),
    ],
)
def test_check_warns_of_what_was_probably_not_meant(tmp_path: Path, run: Any, text: str, warning: str) -> None:
    pytest.importorskip("cliff")
    checked = run("check", "config", write(tmp_path, f"[imagefilter:rule:r]\n{text}\n"))
    assert warning in checked.out + checked.err


def test_check_warns_of_a_count_that_knows_no_rotation(tmp_path: Path, run: Any) -> None:
    pytest.importorskip("cliff")
    text = f"[imagefilter]\naudit_journal = {tmp_path}/audit.jsonl\n[imagefilter:rule:r]\ndeny = usage.server > 1\n"
    checked = run("check", "config", write(tmp_path, text))
    assert "rule r reads usage and is about createBackup" in checked.out + checked.err
    checked = run("check", "config", write(tmp_path, text + "actions = createImage\n"))
    assert "rotation" not in checked.out + checked.err


def test_a_file_with_a_rule_alone_sets_something(tmp_path: Path, run: Any) -> None:
    pytest.importorskip("cliff")
    checked = run("check", "config", write(tmp_path, NAMES))
    assert "sets no option" not in checked.out + checked.err

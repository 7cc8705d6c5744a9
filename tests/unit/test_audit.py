"""``imagefilter audit list``, ``show``, ``summary`` and ``follow``: the journal read back."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cliff")
pytest.importorskip("duckdb")

from imagefilter import newest
from imagefilter.cli import follow, journals
from tests.cases import PROJECT, SERVER, backup, image
from tests.unit.journalled import Ran, Writer, shift
from tests.unit.test_cli import _keep_logging  # noqa: F401  # a fixture

OTHER = "0123456789abcdef0123456789abcdef"
POLICY = {
    "name_pattern": "[a-z]+",
    "rule_modes": "metadata-reserved:warn",
    "actions": "createImage,createBackup,shelve",
}


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path / "audit.jsonl", **POLICY)


@pytest.fixture
def ids(writer: Writer) -> dict[str, str]:
    """A journal with a request of each kind: their ids."""
    return {
        "good": writer.post(image("good", {"a": "b"})),
        "refused": writer.post(image("N0")),
        "warned": writer.post(image("warned", {"owner": "me"})),
        "backup": writer.post(backup(name="weekly"), project=OTHER, user="bob"),
        "shelve": writer.post({"shelve": None}),
        "unreadable": writer.post(b'{"createImage": '),
    }


def listed(capsys: Any, *args: object) -> list[dict[str, Any]]:
    ran = Ran(capsys, "audit", "list", "-f", "json", *args)
    assert ran.status == 0, ran.err
    return ran.rows


def test_list(writer: Writer, ids: dict[str, str], capsys: Any) -> None:
    rows = listed(capsys, "--journal", writer.path, "--long")
    assert [row["Request ID"] for row in rows] == list(ids.values())
    told = [(row["Verdict"], row["Rule"], row["Action"], row["Image Name"], row["Outcome"]) for row in rows]
    assert told == [
        ("allow", None, "createImage", "good", "202"),
        ("deny", "name-pattern", "createImage", "N0", "refused"),
        ("would deny", "metadata-reserved", "createImage", "warned", "202"),
        ("allow", None, "createBackup", "weekly", "202"),
        ("allow", None, "shelve", None, "202"),
        ("deny", "body", None, None, "refused"),
    ]
    assert {(row["Project ID"], row["Project"], row["User"]) for row in rows} == {
        (PROJECT, "6f70-name", "alice"),
        (OTHER, "0123-name", "bob"),
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--project", OTHER], ["backup"]),
        (["--project", "0123-name"], ["backup"]),
        (["--user", "bob"], ["backup"]),
        (["--user", "bob-id"], ["backup"]),
        (["--server", SERVER, "--user", "bob"], ["backup"]),
        (["--server", "x"], []),
        (["--verdict", "deny"], ["refused", "unreadable"]),
        (["--verdict", "would deny"], ["warned"]),
        (["--rule", "name-pattern"], ["refused"]),
        (["--action", "shelve"], ["shelve"]),
        (["--since", "1h", "--action", "shelve"], ["shelve"]),
        (["--until", "1h"], []),
        (["--since", "2100-01-01"], []),
        (["--until", "2100-01-01T00:00:00+02:00", "--action", "shelve"], ["shelve"]),
        (["--limit", "1"], ["unreadable"]),
        (["--limit", "0", "--verdict", "allow"], ["good", "backup", "shelve"]),
        (["--project", "' OR 1=1 --"], []),
    ],
)
def test_filters(writer: Writer, ids: dict[str, str], capsys: Any, given: list[str], expected: list[str]) -> None:
    rows = listed(capsys, "--journal", writer.path, *given)
    assert [row["Request ID"] for row in rows] == [ids[name] for name in expected]


@pytest.mark.parametrize("text", ["yesterday", "5", "24", "2026-13-01", "99999999999h", "999999w", ""])
def test_what_is_no_time(writer: Writer, capsys: Any, text: str) -> None:
    ran = Ran(capsys, "audit", "list", "--journal", writer.path, "--since", text)
    assert ran.status == 2
    assert "is no time: try 24h" in ran.err


def test_a_moment_is_written_as_records_write_it() -> None:
    assert journals.moment("2026-11-24") == "2026-11-24T00:00:00.000000+00:00"
    assert journals.moment("2026-11-24T13:30:00+02:00") == "2026-11-24T11:30:00.000000+00:00"
    assert journals.moment("2026-11-24T13:30:00Z") == "2026-11-24T13:30:00.000000+00:00"


def test_more_than_is_shown_is_said(writer: Writer, ids: dict[str, str], capsys: Any) -> None:
    ran = Ran(capsys, "audit", "list", "--journal", writer.path, "--limit", 2)
    assert "the newest 2; there are more (--limit 0 lists all)" in ran.err
    assert "there are more" not in Ran(capsys, "audit", "list", "--journal", writer.path, "--limit", len(ids)).err


def test_formats(writer: Writer, ids: dict[str, str], capsys: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(Ran(capsys, "audit", "list", "-f", "csv", "--journal", writer.path).out)))
    assert [row["Request ID"] for row in rows] == list(ids.values())
    assert "Verdict: would deny" in Ran(capsys, "audit", "list", "-f", "yaml", "--journal", writer.path).out
    assert "| Request ID " in Ran(capsys, "audit", "list", "--journal", writer.path).out


def test_rotated_and_compressed_files_are_read_too(writer: Writer, capsys: Any) -> None:
    ids = []
    for number, suffix in enumerate(("-20261120.gz", ".2.gz", "-20261122-1795", ".1", "")):
        ids += [writer.post(image("a" * (number + 1))), writer.post(image("N0"))]
        if suffix:
            writer.rotate(suffix)
    writer.path.with_name("audit.jsonl.bak").write_bytes(writer.path.read_bytes())
    assert [row["Request ID"] for row in listed(capsys, "--journal", writer.path)] == ids
    alone = listed(capsys, "--journal", writer.path.with_name("audit.jsonl.2.gz"))
    assert [row["Request ID"] for row in alone] == ids[2:4]


def test_a_verdict_and_its_answer_in_two_files(writer: Writer, capsys: Any) -> None:
    writer.post(image("good"))
    verdict, answer = writer.path.read_text().splitlines(keepends=True)
    writer.path.with_name("audit.jsonl.1").write_text(verdict)
    writer.path.write_text(answer)
    assert [row["Outcome"] for row in listed(capsys, "--journal", writer.path)] == ["202"]


def test_a_copy_counts_once(writer: Writer, ids: dict[str, str], capsys: Any) -> None:
    copy = writer.path.with_name("copy.jsonl")
    copy.write_bytes(writer.path.read_bytes())
    assert len(listed(capsys, "--journal", writer.path, "--journal", copy)) == len(ids)


def test_journals_of_several_hosts_are_one(tmp_path: Path, capsys: Any) -> None:
    one, two = (Writer(tmp_path / host / "audit.jsonl") for host in ("one", "two") if not (tmp_path / host).mkdir())
    ids = [writer.post(image(f"n{number}")) for number in range(3) for writer in (one, two)]
    rows = listed(capsys, "--journal", one.path, "--journal", two.path)
    assert [row["Request ID"] for row in rows] == ids


TORN = [b'{"typeURI": "http://sch', b"\x00" * 300, b"\xff\xfe", b"7", b"[]", b'{"id": "x"}']


def test_torn_lines_are_left_out_and_told(writer: Writer, capsys: Any) -> None:
    first = writer.post(image("good"))
    with writer.path.open("ab") as file:
        file.write(b"\n".join([*TORN, b'{"id": "the last']))
    last = writer.post(image("good"))
    ran = Ran(capsys, "audit", "list", "-f", "json", "--journal", writer.path)
    assert [row["Request ID"] for row in ran.rows] == [first, last]
    assert f"warning: {writer.path}: {len(TORN) + 1} lines are torn" in ran.err
    assert f"{len(TORN) + 1} lines are torn" in Ran(capsys, "audit", "summary", "--journal", writer.path).err
    with writer.path.open("ab") as file:
        file.write(b'{"id": "being wri')
    assert f"{len(TORN) + 2} lines are torn" in Ran(capsys, "audit", "show", "--journal", writer.path, first).err


def test_a_journal_that_can_not_be_read(tmp_path: Path, capsys: Any) -> None:
    for command in (["list"], ["summary"], ["show", "x"], ["report", "--html", "x"]):
        ran = Ran(capsys, "audit", *command, "--journal", tmp_path / "none.jsonl")
        assert (ran.status, ran.err) == (2, f"error: there is no journal {tmp_path / 'none.jsonl'}\n")
    folder = tmp_path / "folder.jsonl"
    folder.mkdir()
    assert Ran(capsys, "audit", "list", "--journal", folder).status == 2
    broken = tmp_path / "audit.jsonl.1.gz"
    broken.write_bytes(b"no gzip at all")
    ran = Ran(capsys, "audit", "list", "--journal", broken)
    assert ran.status == 2
    assert str(broken) in ran.err


def test_the_journal_of_the_config(writer: Writer, ids: dict[str, str], tmp_path: Path, capsys: Any) -> None:
    config = tmp_path / "imagefilter.conf"
    config.write_text(f"[imagefilter]\naudit_journal = {writer.path}\n")
    assert len(listed(capsys, "--config", config)) == len(ids)
    config.write_text("[imagefilter]\n")
    ran = Ran(capsys, "audit", "list", "--config", config)
    reason = f"error: audit_journal is not set in {config}; name a journal (--journal FILE)\n"
    assert (ran.status, ran.err) == (2, reason)
    ran = Ran(capsys, "audit", "list", "--config", tmp_path / "none")
    assert (ran.status, "there is no config file" in ran.err) == (2, True)


def test_an_empty_journal(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "audit.jsonl"
    path.touch()
    assert listed(capsys, "--journal", path) == []


def test_what_a_client_sent_steers_no_terminal(writer: Writer, capsys: Any) -> None:
    request = writer.post(image("\x1b[2J\x07\u202egood\n"), HTTP_USER_AGENT="\x1b]0;x\x07")
    for command in (["list", "--long"], ["show", request], ["list", "-f", "csv"], ["list", "-f", "value"]):
        out = Ran(capsys, "audit", *command, "--journal", writer.path).out
        assert all(each.isprintable() for each in out.replace("\n", "").replace("\r", "")), command
        assert "\\x1b[2J\\x07\\u202egood" in out.replace("\\\\", "\\")  # in CSV a backslash is escaped itself
    record = json.loads(writer.path.read_text().splitlines()[0])
    assert follow.sentence(record).isprintable()


@pytest.mark.parametrize("by", ["request_id", "global_request_id", "image_id", "verdict"])
def test_show(writer: Writer, by: str, capsys: Any) -> None:
    made = "22222222-2222-4333-8444-555555555555"
    compute = writer.guarded.compute

    def answer(environ: Any, start_response: Any) -> list[bytes]:
        compute(environ, lambda status, headers: None)
        start_response("202 Accepted", [("Location", f"http://glance/images/{made}"), ("Content-Length", "0")])
        return [b""]

    writer.guarded.app = writer.guarded.app.__self__.__class__(answer, writer.guarded.app.__self__._source).respond
    writer.post(image("another"))
    request = writer.post(image("good"), **{"openstack.global_request_id": "req-global"})
    verdict = json.loads(writer.path.read_text().splitlines()[2])["id"]
    wanted = {"request_id": request, "global_request_id": "req-global", "image_id": made, "verdict": verdict}[by]
    ran = Ran(capsys, "audit", "show", "-f", "json", "--journal", writer.path, wanted)
    if by == "image_id":  # that compute API gives all images one id
        assert (ran.status, ran.err.count(" at 20")) == (1, 2)
        return
    shown = json.loads(ran.out)
    assert (shown["request_id"], shown["verdict"], shown["status"]) == (request, "allow", 202)
    assert (shown["image_id"], shown["image_name"], shown["outcome"]) == (made, "good", "202")
    assert "rule" not in shown, "what there is not is not shown"


def test_show_what_is_not_there(writer: Writer, ids: dict[str, str], capsys: Any) -> None:
    ran = Ran(capsys, "audit", "show", "--journal", writer.path, "req-none")
    assert (ran.status, ran.out, ran.err) == (1, "", "no verdict has the id req-none\n")


def test_a_process_that_died_leaves_an_unknown_outcome(writer: Writer, ids: dict[str, str], capsys: Any) -> None:
    lines = writer.path.read_text().splitlines(keepends=True)
    writer.path.write_text("".join(lines[:1] + lines[2:]))
    shown = json.loads(Ran(capsys, "audit", "show", "-f", "json", "--journal", writer.path, ids["good"]).out)
    assert shown["outcome"] == "outcome unknown"
    [row] = [row for row in summed(capsys, writer, "action") if row["Action"] == "createImage"]
    assert (row["Requests"], row["Images"], row["Unknown"]) == (3, 1, 1)


def summed(capsys: Any, writer: Writer, by: str, *args: object) -> list[dict[str, Any]]:
    return Ran(capsys, "audit", "summary", "-f", "json", "--by", by, "--journal", writer.path, *args).rows


@pytest.mark.parametrize("by", ["project", "user", "server", "rule", "verdict", "action", "day", "hour"])
def test_summary(writer: Writer, ids: dict[str, str], capsys: Any, by: str) -> None:
    rows = summed(capsys, writer, by)
    total = {"Requests": 6, "Allow": 3, "Exempt": 0, "Would Deny": 1, "Deny": 2, "Images": 4, "Unknown": 0}
    assert {name: sum(row[name] for row in rows) for name in total} == total
    if by == "project":
        assert [(row["Project"], row["Name"], row["Requests"]) for row in rows] == [
            (PROJECT, "6f70-name", 5),
            (OTHER, "0123-name", 1),
        ]
    if by == "rule":
        assert {row["Rule"] for row in rows} == {"none broken", "name-pattern", "metadata-reserved", "body"}


def test_the_days_of_a_summary_are_in_order(writer: Writer, capsys: Any) -> None:
    for days in (1, 3, 2):
        writer.post(image("good"))
        shift(writer.path, days=days)
        writer.rotate(f".{days}")
    rows = summed(capsys, writer, "day")
    assert [row["Day"] for row in rows] == sorted(row["Day"] for row in rows)
    assert len(rows) == 3
    assert summed(capsys, writer, "day", "--since", "36h")[0]["Requests"] == 1


@pytest.mark.parametrize("seed", range(4))
def test_the_newest_are_the_same_however_much_is_read(seed: int, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    """Two hosts, files of all sizes, and limits below and above them."""
    chosen = random.Random(seed)
    writers = [Writer(tmp_path / f"{host}.jsonl", **POLICY) for host in "ab"]
    for number in range(60):
        writer = chosen.choice(writers)
        writer.post(image(chosen.choice(["good", "N0"]), {"k" * chosen.randrange(200): "v"}))
        if chosen.random() < 0.1:
            shift(writer.path, seconds=chosen.choice([0, 30]) * (60 - number))
            writer.rotate(f"-{number:02}" + chosen.choice(["", ".gz"]))
    given = [arg for writer in writers if writer.path.exists() for arg in ("--journal", writer.path)]
    for extra in ([], ["--verdict", "deny"]):
        everything = listed(capsys, *given, *extra, "--limit", 0)
        for tail in (2000, 9000, 40000):
            monkeypatch.setattr(newest, "_TAILS", (tail, 4 * tail))
            for limit in (1, 30):
                assert listed(capsys, *given, *extra, "--limit", limit) == everything[-limit:]


def test_a_long_journal_is_not_read_whole(writer: Writer, ids: dict[str, str], capsys: Any, monkeypatch: Any) -> None:
    shift(writer.path, hours=1)
    for _ in range(20):
        writer.post(image("good"))
    monkeypatch.setattr(newest, "_TAILS", (20_000,))
    seen: list[int] = []
    history = newest.History
    monkeypatch.setattr(
        newest, "History", lambda paths: seen.append(sum(map(os.path.getsize, paths))) or history(paths)
    )
    assert len(listed(capsys, "--journal", writer.path, "--limit", 0)) == 26
    seen.clear()
    shift(writer.path, hours=1)
    writer.post(image("new"))
    assert [row["Image Name"] for row in listed(capsys, "--journal", writer.path, "--since", "10m")] == ["new"]
    assert len(seen) == 1
    assert seen[0] <= 20_000, "the end of it began an hour ago, so that is enough"


# A shell that runs these tests in the background has SIGINT ignored, and its children with it.
HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
FOLLOW = [sys.executable, "-c", HEED + "from imagefilter.cli import main; main()", "audit", "follow"]


@pytest.fixture
def following(writer: Writer) -> Iterator[Any]:
    started: list[subprocess.Popen[str]] = []
    timers: list[threading.Timer] = []

    def start(*args: object) -> subprocess.Popen[str]:
        command = [str(arg) for arg in (*FOLLOW, "--journal", writer.path, *args)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        timers.append(threading.Timer(90, process.kill))  # no test waits for ever for a line
        timers[-1].start()
        assert process.stderr
        assert process.stderr.readline() == f"following {writer.path}; Ctrl-C ends it\n"
        return process

    yield start
    for process, timer in zip(started, timers):
        timer.cancel()
        process.kill()
        process.communicate()


def lines_of(process: Any, count: int) -> list[str]:
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


def test_follow(writer: Writer, following: Any) -> None:
    old = writer.post(image("old"))
    process = following("--all")
    assert old in lines_of(process, 2)[0]
    new = writer.post(image("N0"))
    assert lines_of(process, 1)[0].split("  ")[1:3] == ["deny", "name-pattern"]
    writer.rotate(".1")
    after = writer.post(image("after"))
    verdict, answer = lines_of(process, 2)
    assert (after in verdict, "allow" in verdict, "answer  202" in answer) == (True, True, True)
    assert new not in verdict + answer
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def test_follow_begins_at_the_end_and_filters(writer: Writer, ids: dict[str, str], following: Any) -> None:
    process = following("--json", "--verdict", "would deny")
    writer.post(image("good"))
    writer.post(image("N0"))
    request = writer.post(image("warned", {"owner": "me"}))
    verdict, answer = map(json.loads, lines_of(process, 2))
    assert verdict["initiator"]["request_id"] == request
    assert answer["attachments"][0]["content"]["verdict_id"] == verdict["id"]

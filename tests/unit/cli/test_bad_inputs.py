"""Every command with inputs that are none: a line that says which file or option, and why, and exit status 2."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any, Callable

import pytest

pytest.importorskip("cliff")
pytest.importorskip("duckdb")
pytest.importorskip("paste.deploy")

from tests.cases import image
from tests.unit.journal_fixtures import Writer

EXPORTS = tuple(f"audit export --format {name} --output {{page}}" for name in ("cadf", "csv", "ocsf", "parquet"))
AUDIT = (
    "audit list",
    "audit summary",
    "audit show x",
    "audit replay --config {config}",
    "audit report --html {page}",
    *EXPORTS,
)


def missing(path: Path) -> None:
    """Leave nothing."""


def directory(path: Path) -> None:
    path.mkdir()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def below_a_file(path: Path) -> None:
    """Nothing can be below a file."""
    path.parent.joinpath("file").write_text("")
    path.symlink_to("file/x")


def binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def nulls(path: Path) -> None:
    path.write_bytes(b"\0" * 5000)


def latin_1(path: Path) -> None:
    path.write_bytes("[imagefilter]\nname_pattern = é+\n".encode("latin-1"))


def huge_line(path: Path) -> None:
    path.write_bytes(b"x" * (3 << 20))


def compressed(path: Path) -> None:
    path.write_bytes(gzip.compress(b"{}\n" * 50))


def json_of_another_kind(path: Path) -> None:
    path.write_text('[1, 2]\n"text"\n{"a": {"b": 1}}\n')


def deep_json(path: Path) -> None:
    path.write_text("[" * 100_000 + "\n")


def cut_json(path: Path) -> None:
    path.write_text('{"createImage": {"name": "x"\n')


@pytest.fixture
def check(tmp_path: Path, config: Path, run: Any) -> Callable[..., Any]:
    """Run a command on a bad input; no traceback, nothing unprintable."""

    def check(command: str, make: Callable[[Path], None]) -> Any:
        bad = tmp_path / "bad"
        make(bad)
        words = command.format(bad=bad, config=config, page=tmp_path / "page.html").split()
        result = run(*words)
        assert "Traceback" not in result.err
        for line in (result.out + result.err).splitlines():
            assert line.isprintable()
        return result

    return check


# --- what can't be read at all

UNREADABLE = [missing, directory, dangling_link, below_a_file]
READERS = (
    *(f"{command} --journal {{bad}}" for command in AUDIT),
    "audit list --config {bad}",
    "audit replay --config {bad} --journal {config}",
    "check {bad}",
    "check --paste {bad}",
    "check config {bad}",
    "check pipeline {bad}",
    "explain --config {bad} {config}",
    "explain --config {config} {bad}",
    "show config --config {bad}",
)


@pytest.mark.parametrize("make", UNREADABLE)
@pytest.mark.parametrize("command", READERS)
def test_what_can_not_be_read(command: str, make: Callable[[Path], None], check: Any, tmp_path: Path) -> None:
    result = check(command, make)
    assert result.status == 2
    errors = [line for line in (result.out + result.err).splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert str(tmp_path / "bad") in errors[0]


# --- what holds something else

STRANGE = [binary, nulls, latin_1, huge_line, compressed, json_of_another_kind, deep_json, cut_json, fifo]


@pytest.mark.parametrize("make", STRANGE)
@pytest.mark.parametrize("command", AUDIT)
def test_a_journal_that_is_none(command: str, make: Callable[[Path], None], check: Any) -> None:
    """What is not understood is counted; nothing to list is no error beside that."""
    result = check(f"{command} --journal {{bad}}", make)
    assert result.status in (1, 2)
    assert "left out: " in result.err or "error: " in result.err


@pytest.mark.parametrize("make", [make for make in STRANGE if make is not fifo])  # it may be a shell's <(command)
@pytest.mark.parametrize(
    "command", ["check {bad}", "check config {bad}", "show config --config {bad}", "explain --config {bad} {config}"]
)
def test_a_config_file_that_is_none(command: str, make: Callable[[Path], None], check: Any, tmp_path: Path) -> None:
    result = check(command, make)
    assert result.status == 2
    assert f"error: config file {tmp_path / 'bad'}" in result.out + result.err


@pytest.mark.parametrize("make", [make for make in STRANGE if make is not fifo])
@pytest.mark.parametrize("command", ["check --paste {bad}", "check pipeline {bad}"])
def test_a_paste_file_that_is_none(command: str, make: Callable[[Path], None], check: Any) -> None:
    result = check(command, make)
    assert result.status == 2
    assert result.err.startswith("error: ")


@pytest.mark.parametrize("make", [binary, nulls, latin_1, huge_line, compressed, json_of_another_kind, deep_json])
def test_a_body_that_is_none(make: Callable[[Path], None], check: Any) -> None:
    """It is judged, as the filter would."""
    result = check("explain --config {config} {bad}", make)
    assert result.status in (1, 2)
    assert "verdict: " in result.err or "not an image action" in result.err


# --- options


@pytest.mark.parametrize(
    "options",
    [
        "--since yesterday",
        "--until 2026-13-40",
        "--since 5",
        "--limit -1",
        "--limit many",
        "--verdict maybe",
        "--rule No_Such_Rule",
        "--action resize",
        "--nonsense",
        "-f shell",
        "-f nonsense",
        "-c Nonsense",
    ],
)
def test_options_of_audit_list(options: str, tmp_path: Path, run: Any) -> None:
    writer = Writer(tmp_path / "audit.jsonl")
    writer.post(image())
    result = run("audit", "list", "--journal", writer.path, *options.split(" ", 1))
    assert result.status == 2
    assert "Traceback" not in result.err
    assert options.rsplit(maxsplit=1)[-1].strip("-") in result.err


VALUES = [
    ("audit list --limit -1", "'-1' is not a whole number from 0 to 999999999"),
    ("audit list --limit nan", "'nan' is not a whole number from 0 to 999999999"),
    ("audit list --limit 1e3", "'1e3' is not a whole number from 0 to 999999999"),
    ("audit list --limit 9999999999", "'9999999999' is not a whole number"),
    ("audit list --limit ٣", "is not a whole number"),
    ("audit list --max-width wide", "'wide' is not a whole number"),
    ("audit list --since=-1h", "'-1h' is not a time"),
    ("audit list --since nan", "'nan' is not a time"),
    ("audit list --since 999999w", "'999999w' is not a time"),
    ("audit list --since 2026-02-30", "'2026-02-30' is not a time"),
    ("audit list --since 2026-01-02T25:00", "'2026-01-02T25:00' is not a time"),
    ("audit list --since 1h --until 2h", "--since is not before --until"),
    ("audit list --since 2026-01-02 --until 2026-01-02", "--since is not before --until"),
    ("audit replay --config {config} --quota many", "'many' is not a whole number from 0 to 999999999, or -1"),
    ("audit replay --config {config} --quota -2", "'-2' is not a whole number from 0 to 999999999, or -1"),
    ("explain --quota inf {config}", "'inf' is not a whole number from 0 to 999999999, or -1"),
    ("explain --usage server=-1 {config}", "'-1' is not a whole number from 0 to 999999999"),
    ("explain --usage server {config}", "'' is not a whole number from 0 to 999999999"),
    ("explain --usage servers=1 {config}", "'servers=1' is not one of server=N, project=N, in_progress=N"),
    ("usage --limit -1", "'-1' is not a whole number from 0 to 999999999"),
    ("usage --older inf", "'inf' is not a duration: try 90m"),
    ("reap --older 5", "'5' is not a duration: try 90m"),
    ("reap --older 30m", "a host may take an hour to begin: name a longer time"),
    ("reap --lock-lease -5", "'-5' is not a whole number from 0 to 999999999"),
    ("reap --lock-lease nan", "'nan' is not a whole number from 0 to 999999999"),
]


@pytest.mark.parametrize(("command", "reason"), VALUES)
def test_a_value_that_is_none(command: str, reason: str, check: Any) -> None:
    """In words of our own: argparse would name a type of Python."""
    words = command
    if command.startswith("audit"):
        words += " --journal {config}"
    result = check(words, missing)
    assert result.status == 2
    [error] = [line for line in result.err.splitlines() if "error: " in line]
    assert reason in error


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "NaN", "1e999"])
@pytest.mark.parametrize("option", ["lock_wait", "api_timeout"])
def test_a_number_of_seconds_is_finite(option: str, text: str, config: Path, run: Any) -> None:
    config.write_text(f"[imagefilter]\n{option} = {text}\n")
    result = run("check", "config", config)
    assert result.status == 2
    assert f"error: {option} = {text} in section [imagefilter] of {config}: " in result.err + result.out


NOT_FOLLOWED = [
    ("{bad}", directory, "it is not a regular file"),
    ("{bad}", fifo, "it is not a regular file"),
    ("/dev/null", missing, "it is not a regular file"),
    ("{bad}/x", missing, "there is no folder"),
    ("{bad}/x", binary, "there is no folder"),
    ("{bad}/x", dangling_link, "there is no folder"),
]


@pytest.mark.parametrize(("journal", "make", "reason"), NOT_FOLLOWED)
def test_a_journal_that_can_not_be_followed(
    journal: str, make: Callable[[Path], None], reason: str, check: Any
) -> None:
    """No record would ever come, and nobody would learn why."""
    result = check(f"audit follow --journal {journal}", make)
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith("error: the journal ")
    assert f"can't be followed: {reason}" in result.err


FUTURE = {"eventTime": "2999-01-01T00:00:00.000000+00:00"}
PAST = {"eventTime": "0001-01-01T00:00:00.000000+00:00"}
NO_TIME = {"eventTime": "soon"}


@pytest.mark.parametrize("change", [FUTURE, PAST, NO_TIME, {"initiator": None}, {"initiator": 5}, {"target": []}])
@pytest.mark.parametrize("command", AUDIT)
def test_a_record_with_odd_fields(command: str, change: dict[str, Any], tmp_path: Path, config: Path, run: Any) -> None:
    writer = Writer(tmp_path / "audit.jsonl")
    writer.post(image())
    records = [{**record, **change} for record in writer.records()]
    writer.path.write_text("".join(json.dumps(record) + "\n" for record in records))
    words = command.format(config=config, page=tmp_path / "page.html").split()
    result = run(*words, "--journal", writer.path)
    assert result.status in (0, 1)
    assert "Traceback" not in result.err


EXPORT_OPTIONS = [
    ("--format cadf --output {bad}", directory, "exists already"),
    ("--format cadf --output {bad}", binary, "exists already"),
    ("--format csv --output {bad}", fifo, "exists already"),
    ("--format ocsf --output {bad}", dangling_link, "exists already"),
    ("--format cadf --output {bad}/x", missing, "No such file or directory"),
    ("--format cadf --output {bad}/x", binary, "Not a directory"),
    ("--format parquet --output {bad}/x", missing, "No such file or directory"),
    ("--format parquet --output {bad}", binary, "Not a directory"),
    ("--format parquet --output {bad}", fifo, "Not a directory"),
    ("--format parquet --output {bad}", dangling_link, "No such file or directory"),
    ("--format parquet --output -", missing, "needs a folder"),
    ("--format xml --output {page}", missing, "invalid choice: 'xml'"),
    ("--output {page}", missing, "--format"),
    ("--format cadf", missing, "--output"),
    ("--format cadf --output {page} --checkpoint {bad}", directory, "not a regular file"),
    ("--format cadf --output {page} --checkpoint {bad}", binary, "is not a checkpoint"),
    ("--format cadf --output {page} --checkpoint {bad}", huge_line, "is not a checkpoint"),
    ("--format cadf --output {page} --checkpoint {bad}", deep_json, "is not a checkpoint"),
    ("--format cadf --output {page} --checkpoint {bad}", fifo, "not a regular file"),
    ("--format cadf --output {page} --checkpoint {bad}/x", missing, "No such file or directory"),
    ("--format cadf --output {bad} --checkpoint {page}", directory, "Is a directory"),
    ("--format cadf --output {bad} --checkpoint {page}", binary, "does not know it"),
    ("--format cadf --output {bad} --checkpoint {page}", fifo, "not a regular file"),
    ("--format cadf --output {bad}/x --checkpoint {page}", missing, "No such file or directory"),
    ("--format parquet --output {bad} --checkpoint {page}", binary, "Not a directory"),
    ("--format cadf --output /proc/x --checkpoint {page}", missing, "/proc/x can't be written"),
    ("--format parquet --output /proc/x", missing, "/proc/x can't be written"),
    ("--format cadf --output /dev/full --checkpoint {page}", missing, "not a regular file"),
    ("--format cadf --output {page} --checkpoint {bad} --until 1h", missing, "exclude each other"),
    ("--format cadf --output {page} --image-id x", missing, "--image-id"),
    ("--format cadf --output {page} --since yesterday", missing, "'yesterday' is not a time"),
]


@pytest.mark.parametrize(("options", "make", "reason"), EXPORT_OPTIONS)
def test_options_of_audit_export(
    options: str, make: Callable[[Path], None], reason: str, check: Any, tmp_path: Path
) -> None:
    journal = tmp_path / "audit.jsonl"
    Writer(journal).post(image())
    result = check(f"audit export --journal {journal} {options}", make)
    assert result.status == 2
    errors = [line for line in result.err.splitlines() if "error: " in line]
    assert len(errors) == 1
    assert reason in errors[0]


def test_no_command_prints_the_help_and_opens_no_shell(run: Any) -> None:
    result = run()
    assert result.status == 0
    assert "usage: " in result.out
    assert "audit list" in result.out


@pytest.mark.parametrize("command", ["audit list", "audit summary"])
def test_nothing_to_list_is_said(command: str, tmp_path: Path, run: Any) -> None:
    writer = Writer(tmp_path / "audit.jsonl")
    writer.post(image())
    result = run(*command.split(), "--journal", writer.path, "--user", "nobody")
    assert (result.status, result.err) == (0, "no requests\n")


def test_a_table_fits_the_given_width(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tmp_path / "audit.jsonl")
    writer.post(image("n" * 200))
    monkeypatch.setenv("COLUMNS", "150")
    assert max(map(len, run("audit", "list", "--journal", writer.path).out.splitlines())) <= 150
    monkeypatch.delenv("COLUMNS")
    assert max(map(len, run("audit", "list", "--journal", writer.path).out.splitlines())) > 200


def test_explain_knows_an_action_that_is_not_judged(config: Path, tmp_path: Path, run: Any) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"shelve": null}')
    result = run("explain", "--config", config, body)
    assert result.status == 2
    assert "shelve is not judged: it is not in actions (createImage, createBackup)" in result.err


def test_explain_knows_the_limit_of_a_body(config: Path, tmp_path: Path, run: Any) -> None:
    config.write_text("[imagefilter]\nmax_body_bytes = 100\n")
    body = tmp_path / "body.json"
    body.write_text(json.dumps(image("n" * 100)))
    result = run("explain", "--config", config, body)
    assert result.status == 1
    assert "verdict: deny: 413 Request is too large. Larger than max_body_bytes (100)." in result.err

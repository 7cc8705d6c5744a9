"""No format of any command lets a client's words steer a terminal, run in a shell, or count in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, Callable

import pytest

pytest.importorskip("cliff")
pytest.importorskip("duckdb")

from imagefilter.cli._base import SAFE_FORMATS
from tests.cases import image
from tests.unit.journal_fixtures import Writer

LISTS = ["list", "list --long", "summary", "summary --by user", "replay"]
PRINTED = [(command, formatter) for command in LISTS for formatter in SAFE_FORMATS]
PRINTED += [("show", formatter) for formatter in SAFE_FORMATS if formatter != "csv"]
HOSTILE = [
    "$(touch /tmp/x)",
    "`touch /tmp/x`",
    "\x1b]0;title\x07\x1b[2J",
    "\u202egnp.exe",
    "=HYPERLINK(1)",
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "\uff1dSUM(1)",
    "\uff0b1",
    "\uff0d1",
    "\uff20x",
    "\t=1",
    "\r\n=1",
    " =1",
    "'; rm -rf /",
]


def describe_token(word: str) -> dict[str, Any]:
    """Return what Keystone says of a delegate's token, all of whose texts are a word."""
    trust = {"id": word, "trustee_user": {"id": word}, "trustor_user": {"id": word}}
    return {"OS-TRUST:trust": trust, "application_credential": {"id": word, "name": word}, "audit_ids": [word]}


@pytest.fixture
def audit(writer: Writer, tmp_path: Path, run: Any) -> Callable[[str, str], Any]:
    """Run an audit command on a journal with hostile names, in a format."""
    for word in HOSTILE:
        names = {f"HTTP_X_{kind}_NAME": word for kind in ("USER", "PROJECT", "USER_DOMAIN", "PROJECT_DOMAIN")}
        names.update({f"HTTP_X_{kind}_ID": word for kind in ("USER", "PROJECT", "USER_DOMAIN", "PROJECT_DOMAIN")})
        names["keystone.token_info"] = {"token": describe_token(word)}
        names.update({"HTTP_USER_AGENT": word, "openstack.request_id": word, "openstack.global_request_id": word})
        writer.post(image(word, {word: "v"}), **names)
    config = tmp_path / "new.conf"
    config.write_text("[imagefilter]\nsnapshots_enabled = false\n")
    more = {"show": [HOSTILE[0]], "replay": ["--config", config]}

    def run_command(command: str, formatter: str) -> Any:
        words = command.split()
        return run("audit", *words, "--journal", writer.path, *more.get(words[0], []), "-f", formatter)

    return run_command


@pytest.mark.parametrize(("command", "formatter"), PRINTED)
def test_no_control_character_is_printed(command: str, formatter: str, audit: Any) -> None:
    result = audit(command, formatter)
    assert result.status in (0, 1)
    for line in (result.out + result.err).splitlines():
        assert line.isprintable()


@pytest.mark.parametrize("command", LISTS)
def test_no_cell_is_a_formula(command: str, audit: Any) -> None:
    rows = list(csv.reader(io.StringIO(audit(command, "csv").out)))
    assert len(rows) > 1
    for row in rows:
        assert [cell for cell in row if cell.lstrip().startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))] == []


@pytest.mark.parametrize(
    "command", ["audit list", "audit show x", "audit summary", "explain -", "show config", "check x"]
)
def test_no_format_is_made_to_be_evaluated(command: str, run: Any) -> None:
    result = run(*command.split(), "-f", "shell")
    assert result.status == 2
    assert "invalid choice: 'shell'" in result.err


@pytest.mark.parametrize("word", HOSTILE)
def test_explain_prints_no_control_character(word: str, tmp_path: Path, config: Path, run: Any) -> None:
    config.write_text("[imagefilter]\nname_pattern = [a-z]+\nmetadata_reserved = x*\n")
    body = tmp_path / "body.json"
    body.write_text(json.dumps(image(word, {f"x{word}": "v"})))
    result = run("explain", "--config", config, body)
    for line in (result.out + result.err).splitlines():
        assert line.isprintable()

"""The recipes for other shippers: checked by the program itself where it is there, and marked where it was not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from imagefilter.journal.files import is_read
from tests.paths import DOCS, ETC

SHIPPERS = ETC / "shippers"
PAGE = DOCS / "shipping.md"
NOT_RUN = "NOT RUN: "

# How each program checks a file. Of rsyslog's there is a test of its own.
CHECKS = {
    "fluentd-kolla.conf": ["fluentd", "--dry-run", "-c"],
    "fluent-bit.yaml": ["fluent-bit", "--dry-run", "-c"],
    "vector.yaml": ["vector", "validate", "--no-environment"],
    "logstash-hermes.conf": ["logstash", "--config.test_and_exit", "-f"],
}
RUN = ("rsyslog.conf",)
RECIPES = sorted(path.name for path in SHIPPERS.iterdir())


def test_there_is_a_check_for_each() -> None:
    assert sorted([*CHECKS, *RUN]) == RECIPES


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_the_program_accepts_the_recipe(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *options = CHECKS[name]
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    monkeypatch.setenv("OPENSEARCH_PASSWORD", "x")
    checked = subprocess.run(
        [program, *options, str(SHIPPERS / name)], capture_output=True, text=True, check=False, timeout=120
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipe_and_the_page_say_whether_it_was_run(name: str) -> None:
    [row] = [line for line in PAGE.read_text().splitlines() if line.startswith("| [`") and name in line]
    assert (NOT_RUN in (SHIPPERS / name).read_text()) == (name not in RUN)
    assert ("not run" in row) == (name not in RUN)


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipe_reads_the_journal_and_the_file_that_was_just_renamed(name: str) -> None:
    """And nothing that is compressed."""
    text = (SHIPPERS / name).read_text()
    patterns = set(re.findall(r"/var/log/[a-z/]*audit\.jsonl[^\s,\"]*", text))
    rotated = [pattern for pattern in patterns if "*" in pattern]
    assert len(rotated) == 1
    assert {Path(pattern).name for pattern in patterns} == {"audit.jsonl", Path(rotated[0]).name}
    assert Path("audit.jsonl-20261125").match(Path(rotated[0]).name)
    assert is_read("audit.jsonl-20261125", "audit.jsonl")
    assert ".gz" in text or not Path("audit.jsonl-20261125.gz").match(Path(rotated[0]).name)


@pytest.mark.parametrize("name", ["fluent-bit.yaml", "vector.yaml"])
def test_yaml_is_yaml(name: str) -> None:
    yaml: Any = pytest.importorskip("yaml")
    assert yaml.safe_load((SHIPPERS / name).read_text())


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("ruby"), reason="ruby is not installed")
def test_the_ruby_of_the_recipe_for_hermes_makes_texts_of_attachments() -> None:
    text = (SHIPPERS / "logstash-hermes.conf").read_text()
    found = re.search(r'code => "(.*?)"\n', text, re.DOTALL)
    assert found
    event = (
        "require 'json'\n"
        "class Event\n"
        "  def initialize(fields); @fields = fields; end\n"
        "  def get(name); @fields[name]; end\n"
        "  def set(name, value); @fields[name] = value; end\n"
        "end\n"
        "event = Event.new({'attachments' => [{'content' => {'a' => 1}}, {'content' => 'text'}]})\n"
    )
    program = event + found[1] + "\nputs event.get('attachments').to_json\n"
    done = subprocess.run(["ruby", "-e", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [{"content": '{"a":1}'}, {"content": "text"}]

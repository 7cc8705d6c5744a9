"""What reading a long journal back costs, with the commands as an operator runs them."""

from __future__ import annotations

import datetime
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagefilter import filter_factory
from tests.benchmarks.measure import Check, Table, figure
from tests.benchmarks.subject import bare, caller, create_image

MIB = 1 << 20
COMMANDS = {
    "list, the newest 50": ["list"],
    "list, the newest 50 refused": ["list", "--verdict", "deny"],
    "summary by project": ["summary"],
    "summary by hour of one project": ["summary", "--by", "hour", "--project", f"{7:032x}"],
    "show": ["show", "req-none"],
    "report": ["report", "--html", os.devnull],
}


def reading(rounds: int, span: float) -> Table:
    """The commands on a journal of a million records; of fewer in a trial run."""
    count = 1_000_000 if span else 2_000
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder, "audit.jsonl")
        write(journal, count)
        size = journal.stat().st_size
        commands = {**COMMANDS, "report": ["report", "--html", f"{folder}/report.html"]}
        ran = {name: run([*command, "--journal", str(journal)]) for name, command in commands.items()}
    rows = [[name, figure(seconds), f"{memory / MIB:,.0f}"] for name, (seconds, memory) in ran.items()]
    return Table(
        "Reading a journal of 1,000,000 records",
        f"`imagefilter audit …`, whole processes: seconds, and the most memory in MiB. It has {size / MIB:,.0f} "
        "MiB, and is in the page cache.",
        ["", "s", "MiB"],
        rows,
        [
            Check("summary", ran["summary by project"][0], 5, "s"),
            Check("memory of a summary", ran["summary by project"][1] / MIB, 1024, "MiB"),
            Check("list of the newest 50", ran["list, the newest 50"][0], 1, "s"),
        ],
    )


def run(command: list[str]) -> tuple[float, float]:
    """Seconds and bytes of memory of a command."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "imagefilter.cli.app", "audit", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == (1 if command[0] == "show" else 0), command
    return time.perf_counter() - begin, usage.ru_maxrss * 1024


def write(path: Path, count: int) -> None:
    """A journal of so many records: two thirds of them verdicts, each third verdict a refusal."""
    templates = [_records(path.parent, request) for request in (create_image(3, 8), create_image(129, 8))]
    chosen = random.Random(count)
    clock = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    with path.open("w") as file:
        for _ in range(0, count, 5):  # two that are allowed, one that is refused
            for template in (templates[0], templates[0], templates[1]):
                clock += datetime.timedelta(seconds=7)
                file.writelines(_varied(template, clock, chosen))


def _records(folder: Path, request: Any) -> list[dict[str, Any]]:
    journal = folder / "template.jsonl"
    caller(filter_factory({}, audit_journal=str(journal))(bare), request)()
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    journal.unlink()
    return records


def _varied(records: list[dict[str, Any]], clock: datetime.datetime, chosen: random.Random) -> Iterator[str]:
    """The records of a request as those of another one."""
    verdict_id, request_id = (str(uuid.UUID(int=chosen.getrandbits(128))) for _ in range(2))
    project = f"{chosen.randrange(500):032x}"
    for number, record in enumerate(records):
        content = record["attachments"][0]["content"]
        content.update({"verdict_id": verdict_id} if number else {"project_id": project})
        record["initiator"].update(project_id=project, request_id=f"req-{request_id}")
        record["id"] = str(uuid.UUID(int=chosen.getrandbits(128))) if number else verdict_id
        record["eventTime"] = (clock + datetime.timedelta(milliseconds=300 * number)).isoformat(timespec="microseconds")
        yield json.dumps(record, separators=(",", ":")) + "\n"

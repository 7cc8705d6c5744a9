"""The cost of reading a long journal back, with the commands as an operator runs them."""

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
    """Run the commands on a journal of a million records; of fewer in a trial run."""
    count = 2_000
    if span:
        count = 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder, "audit.jsonl")
        write(journal, count)
        size = journal.stat().st_size
        commands = {**COMMANDS, "report": ["report", "--html", f"{folder}/report.html"]}
        costs = {name: run([*command, "--journal", str(journal)]) for name, command in commands.items()}
    rows = [[name, figure(seconds), f"{memory / MIB:,.0f}"] for name, (seconds, memory) in costs.items()]
    return Table(
        "Reading a journal of 1,000,000 records",
        f"`imagefilter audit …`, whole processes: seconds, and the most memory in MiB. It has {size / MIB:,.0f} "
        "MiB, and is in the page cache.",
        ["", "s", "MiB"],
        rows,
        [
            Check("summary", costs["summary by project"][0], 5, "s"),
            Check("memory of a summary", costs["summary by project"][1] / MIB, 1024, "MiB"),
            Check("list of the newest 50", costs["list, the newest 50"][0], 1, "s"),
        ],
    )


def run(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and its bytes of memory."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "imagefilter.cli.app", "audit", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    nothing_found = command[0] == "show"
    assert process.returncode == int(nothing_found), command
    return time.perf_counter() - begin, usage.ru_maxrss * 1024


def write(path: Path, count: int) -> None:
    """Write a journal of ``count`` records: two thirds of the requests are allowed, one third is refused."""
    allowed = _record(path.parent, create_image(3, 8))
    refused = _record(path.parent, create_image(129, 8))
    chosen = random.Random(count)
    clock = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    with path.open("w") as file:
        for _ in range(0, count, len(2 * allowed + refused)):
            for template in (allowed, allowed, refused):
                clock += datetime.timedelta(seconds=7)
                file.writelines(_vary(template, clock, chosen))


def _record(folder: Path, request: Any) -> list[dict[str, Any]]:
    """Return the records of a request."""
    journal = folder / "template.jsonl"
    caller(filter_factory({}, audit_journal=str(journal))(bare), request)()
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    journal.unlink()
    return records


def _vary(records: list[dict[str, Any]], clock: datetime.datetime, chosen: random.Random) -> Iterator[str]:
    """Return the records of a request, as lines, with the ids of another one."""
    verdict_id = _random_id(chosen)
    request_id = _random_id(chosen)
    project_id = f"{chosen.randrange(500):032x}"
    for number, record in enumerate(records):
        content = record["attachments"][0]["content"]
        record["initiator"].update(project_id=project_id, request_id=f"req-{request_id}")
        record["eventTime"] = (clock + datetime.timedelta(milliseconds=300 * number)).isoformat(timespec="microseconds")
        if "verdict_id" in content:
            content["verdict_id"] = verdict_id
            record["id"] = _random_id(chosen)
        else:
            content["project_id"] = project_id
            record["id"] = verdict_id
        yield json.dumps(record, separators=(",", ":")) + "\n"


def _random_id(chosen: random.Random) -> str:
    return str(uuid.UUID(int=chosen.getrandbits(128)))

"""What the two records of an accepted image action cost."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path
from typing import Any

from imagefilter import filter_factory
from imagefilter.action import recognise
from imagefilter.caller import caller_of
from imagefilter.event import Observer, encode
from imagefilter.journal import append
from imagefilter.policy import load
from imagefilter.rules import Verdict
from tests.benchmarks.measure import Calls, Check, Table, measure
from tests.benchmarks.subject import CONTEXT, IDENTITY, bare, caller, create_image
from tests.requests import environ_of

MICRO = 1e6


def records(rounds: int, span: float) -> Table:
    """An accepted image action with a journal, where a sync is free and on the disk; and the parts of its records."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory, tempfile.TemporaryDirectory() as disk:
        times = measure(_calls(Path(memory), Path(disk)), rounds, span)
    own = times["request, journal in memory"].least - times["request, no record"].least
    return Table(
        "The records of an accepted image action",
        "µs. A request with a journal writes two records and waits for two syncs; in memory a sync is free, so the "
        "difference to a request without a record is what they cost beside the disk.",
        ["", "least", "median"],
        [[what, f"{each.least * MICRO:,.1f}", f"{each.median * MICRO:,.1f}"] for what, each in times.items()],
        [Check("the two records, beside their syncs", own * MICRO, 400, "µs")],
    )


def _calls(memory: Path, disk: Path) -> Calls:
    request = create_image(3, 8)
    return {
        "request, no record": caller(filter_factory({})(bare), request),
        "request, journal in memory": caller(_recording(memory), request),
        "request, journal on disk": caller(_recording(disk), request),
        **_parts(memory, disk),
    }


def _recording(folder: Path) -> Any:
    return filter_factory({}, audit_journal=str(folder / "audit.jsonl"))(bare)


def _parts(memory: Path, disk: Path) -> Calls:
    method, target, body = create_image(3, 8)
    environ = environ_of(method, target, body, **IDENTITY, **{"nova.context": CONTEXT})
    policy = load({"audit_journal": str(memory / "audit.jsonl")})
    action = recognise(environ, body, policy.actions)
    assert action
    who, verdict, observer = caller_of(environ), Verdict("allow"), Observer()
    record = observer.verdict(environ, action, who, verdict, policy)
    line = encode(record)
    target_file = os.open(disk / "sync", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def sync() -> None:
        os.write(target_file, line)
        os.fdatasync(target_file)

    return {
        "event of the verdict": lambda: observer.verdict(environ, action, who, verdict, policy),
        "event of the answer": lambda: observer.answer(record, 202, None, 0.1, ""),
        "encode": lambda: encode(record),
        "open, lock, write, close": functools.partial(append, str(memory / "parts.jsonl"), line),
        "write and sync on disk": sync,
    }

"""The cost of the two records of an accepted image action."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path
from typing import Any

from imagefilter import filter_factory
from imagefilter.audit.event import EventFactory, encode
from imagefilter.journal.writer import append
from imagefilter.lookup.request import Measured
from imagefilter.policy.context import RequestContext, build_context
from imagefilter.request.action import recognise
from imagefilter.request.identity import identify
from imagefilter.response import ObservedResponse
from imagefilter.rules.engine import Decision, Verdict
from imagefilter.rules.table import load_policy
from tests.benchmarks.measure import MICRO, Calls, Check, Table, measure
from tests.benchmarks.subject import CONTEXT, IDENTITY, bare, caller, create_image, start_response
from tests.wsgi import build_environ

REQUEST = create_image(3, 8)


def records(rounds: int, span: float) -> Table:
    """Time an accepted image action with a journal in memory, where a sync is free, and on disk; and its parts."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory, tempfile.TemporaryDirectory() as disk:
        calls = _request_calls(Path(memory), Path(disk))
        calls.update(_part_calls(Path(memory), Path(disk)))
        times = measure(calls, rounds, span)
    cost = times["request, journal in memory"].least - times["request, no record"].least
    rows = []
    for name, seconds in times.items():
        rows.append([name, f"{seconds.least * MICRO:,.1f}", f"{seconds.median * MICRO:,.1f}"])
    return Table(
        "The records of an accepted image action",
        "µs. A request with a journal writes two records and waits for two syncs; in memory a sync is free, so the "
        "difference to a request without a record is what they cost beside the disk.",
        ["", "least", "median"],
        rows,
        [Check("the two records, beside their syncs", cost * MICRO, 400, "µs")],
    )


def _request_calls(memory: Path, disk: Path) -> Calls:
    return {
        "request, no record": caller(filter_factory({})(bare), REQUEST),
        "request, journal in memory": caller(_recording_filter(memory), REQUEST),
        "request, journal on disk": caller(_recording_filter(disk), REQUEST),
    }


def _recording_filter(folder: Path) -> Any:
    return filter_factory({}, audit_journal=str(folder / "audit.jsonl"))(bare)


def _part_calls(memory: Path, disk: Path) -> Calls:
    method, target, body = REQUEST
    environ = build_environ(method, target, body, **IDENTITY, **{"nova.context": CONTEXT})
    context = _build_context(environ, body)
    factory, verdict, response = EventFactory(), Verdict(Decision.ALLOW), _accepted()
    record = factory.build_verdict(environ, context, verdict, Measured())
    line = encode(record)
    descriptor = os.open(disk / "sync", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write_and_sync() -> None:
        os.write(descriptor, line)
        os.fdatasync(descriptor)

    return {
        "event of the verdict": lambda: factory.build_verdict(environ, context, verdict, Measured()),
        "event of the outcome": lambda: factory.build_outcome(record, response),
        "encode": lambda: encode(record),
        "open, lock, write, close": functools.partial(append, str(memory / "parts.jsonl"), line),
        "write and sync on disk": write_and_sync,
    }


def _build_context(environ: dict[str, Any], body: bytes) -> RequestContext:
    policy = load_policy({})
    action = recognise(environ, body, policy.actions)
    assert action
    return build_context(action, identify(environ), policy)


def _accepted() -> ObservedResponse:
    response = ObservedResponse(start_response, lambda begun: [], lambda ended: None)
    response.status, response.seconds = 202, 0.1
    return response

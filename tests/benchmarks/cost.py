"""The filter's cost for a request, beside other filters, and its growth."""

from __future__ import annotations

import functools
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from imagefilter import filter_factory
from tests.benchmarks.measure import MICRO, Call, Calls, Check, Table, Times, figure, measure
from tests.benchmarks.subject import REQUESTS, bare, caller, create_image, filters, nova_body_handling
from tests.cases import PROJECT

#: µs over the bare app, at most.
TARGETS = {"GET": 0.1, "POST reboot": 3.0, "createImage, 3 items": 25.0}
LARGEST = "createImage, 128 x 255"
OWN, PARSE, NOVA = "imagefilter", "json.loads alone", "Nova's own body handling"

# Seconds by name and request.
_Costs = dict[tuple[str, str], float]


def requests(rounds: int, span: float) -> Table:
    """Time each filter in front of the same bare app, and what Nova does with the same bodies."""
    apps = filters()
    calls: Calls = {("bare", what): caller(bare, request) for what, request in REQUESTS.items()}
    for name, app in apps.items():
        for what, request in REQUESTS.items():
            calls[name, what] = caller(app, request)
    for what, (_, _, body) in REQUESTS.items():
        calls.update({(name, what): call for name, call in _body_calls(body).items()})
    times = measure(calls, rounds, span)
    costs = _costs(times, apps)
    names = list(dict.fromkeys(name for name, _ in costs))
    rows = [[name, *_cells(costs, name)] for name in names]
    rows.append(["spread of imagefilter", *_spreads(times)])
    checks = [
        Check(f"{what}, over the bare app", costs[OWN, what] * MICRO, most, "µs") for what, most in TARGETS.items()
    ]
    checks.append(Check(LARGEST, costs[OWN, LARGEST] / costs[PARSE, LARGEST], 4.5, "x json.loads alone"))
    text = (
        "µs a request over the bare app, and in brackets the ratio to imagefilter. The lower two rows are whole costs, "
        "not differences. *Recording* is with a journal where a sync is free. The peers build their events and pass "
        "them to a logger that is off. The spread is the median round over the least one."
    )
    return Table("A request, beside other filters", text, ["", *REQUESTS], rows, checks)


def _body_calls(body: bytes) -> Calls:
    """Return what a body alone costs: to parse it, and Nova's own handling of it."""
    if not body:
        return {}
    calls: Calls = {PARSE: functools.partial(json.loads, body.decode())}
    nova = None
    if b"createImage" in body:
        nova = nova_body_handling(body)
    if nova:
        calls[NOVA] = nova
    return calls


def _costs(times: dict[Any, Times], apps: dict[str, Any]) -> _Costs:
    """Return the cost of each app over the bare one, and of the others as a whole."""
    costs = {}
    for (name, what), seconds in times.items():
        if name in apps:
            costs[name, what] = seconds.least - times["bare", what].least
        elif name != "bare":
            costs[name, what] = seconds.least
    return costs


def _cells(costs: _Costs, name: str) -> list[str]:
    cells = []
    for what in REQUESTS:
        cost = costs.get((name, what))
        if cost is None:
            cells.append("–")
        else:
            cells.append(f"{figure(cost * MICRO)} ({figure(cost / costs[OWN, what])} x)")
    return cells


def _spreads(times: dict[Any, Times]) -> list[str]:
    return [f"{times[OWN, what].median / times[OWN, what].least:.2f}" for what in REQUESTS]


def metadata(rounds: int, span: float) -> Table:
    """Time a createImage by the size of its metadata."""
    counts, size = (0, 1, 8, 32, 64, 128), 255
    app = filter_factory({})(bare)
    calls: Calls = {}
    for count in counts:
        request = create_image(count, size)
        calls["bare", count] = caller(bare, request)
        calls[OWN, count] = caller(app, request)
        calls.update({(name, count): call for name, call in _body_calls(request[2]).items()})
    times = measure(calls, rounds, span)
    lines: dict[str, list[tuple[float, float]]] = {}
    for (name, count), cost in _costs(times, {OWN: app}).items():
        lines.setdefault(name, []).append((count, cost * MICRO))
    return Table(
        "Growth with the metadata",
        f"µs of a createImage with this many items of {size} characters; imagefilter over the bare app.",
        ["items", *lines],
        [_row(f"{count}", lines, count, 1) for count in counts],
        [],
        lines,
        ("items", "µs"),
    )


def _row(title: str, lines: dict[str, list[tuple[float, float]]], x: float, digits: int) -> list[str]:
    """Return the figures of all lines at one point."""
    return [title, *(f"{dict(points)[x]:,.{digits}f}" for points in lines.values())]


def sections(rounds: int, span: float) -> Table:
    """Time a createImage by the number of projects that have a section of their own."""
    counts = (1, 100, 10_000)
    request = create_image(3, 8)
    calls: Calls = {"bare": caller(bare, request)}
    loading = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            begin = time.perf_counter()
            calls[count] = caller(_filter_with_sections(Path(folder), count), request)
            loading[count] = time.perf_counter() - begin
        times = measure(calls, rounds, span)
    cost = {count: (times[count].least - times["bare"].least) * MICRO for count in counts}
    return Table(
        "Growth with the number of project sections",
        "µs of a createImage with 3 items over the bare app, by the sections in the policy file; the caller's is one "
        "of them. Loading happens once, and again when the file has changed.",
        ["sections", "a request, µs", "loading, s"],
        [[f"{count:,}", f"{cost[count]:,.1f}", f"{loading[count]:.3f}"] for count in counts],
        [Check("10,000 sections over 1", cost[10_000] / cost[1], 1.2, "x")],
    )


def _filter_with_sections(folder: Path, count: int) -> Any:
    projects = [PROJECT]
    projects += [f"{number:032x}" for number in range(1, count)]
    path = folder / f"{count}.conf"
    path.write_text("".join(f"[imagefilter:project:{project}]\nmetadata_items = 64\n" for project in projects))
    return filter_factory({}, oslo_config_file=str(path))(bare)


def own_rules(rounds: int, span: float) -> Table:
    """Time requests with and without a rule of the operator's own that has two clauses and looks nothing up."""
    what = ("GET", "POST reboot", "createImage, 3 items", LARGEST)
    calls: Calls = {}
    with tempfile.TemporaryDirectory() as folder:
        apps = {"without": filter_factory({})(bare), "with a rule": _filter_with_own_rule(Path(folder))}
        for name, app in apps.items():
            calls.update({(name, request): caller(app, REQUESTS[request]) for request in what})
        times = measure(calls, rounds, span)
    added = {}
    for request in what:
        added[request] = (times["with a rule", request].least - times["without", request].least) * MICRO
    return Table(
        "A rule of one's own",
        "µs that a rule adds to a request: two clauses, on the name of the image and the roles of the caller, and no "
        "question to the compute API.",
        ["request", "added, µs"],
        [[request, f"{cost:,.2f}"] for request, cost in added.items()],
        [
            Check("createImage, 3 items, with a rule", added["createImage, 3 items"], 25.0, "µs more"),
            Check("GET, with a rule", added["GET"], 0.1, "µs more"),
            Check("POST reboot, with a rule", added["POST reboot"], 0.1, "µs more"),
        ],
    )


def _filter_with_own_rule(folder: Path) -> Any:
    path = folder / "rules.conf"
    path.write_text('[imagefilter:rule:r]\ndeny = image.name.startsWith("n") && "backup" in caller.roles\n')
    return filter_factory({}, oslo_config_file=str(path))(bare)


def threads(rounds: int, span: float) -> Table:
    """Count requests a second by the number of threads, with and without a journal."""
    counts = (1, 2, 4, 8, 16, 32)
    request = create_image(3, 8)
    best: dict[str, dict[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        calls = {
            OWN: caller(filter_factory({})(bare), request),
            "with a journal on disk": caller(filter_factory({}, audit_journal=f"{folder}/audit.jsonl")(bare), request),
        }
        for _ in range(max(1, rounds // 10)):
            for count in counts:
                for name, call in calls.items():
                    rates = best.setdefault(name, {})
                    rates[count] = max(rates.get(count, 0), _count_a_second(call, count, span * 25))
    lines = {name: list(rates.items()) for name, rates in best.items()}
    return Table(
        "Growth with threads",
        "createImage with 3 items: requests a second of one process, the best of the rounds. Without a journal "
        "Python's lock is the limit; with one, the disk is: each request waits for two syncs.",
        ["threads", *calls],
        [_row(f"{count}", lines, count, 0) for count in counts],
        [],
        lines,
        ("threads", "requests a second"),
    )


def _count_a_second(call: Call, threads: int, seconds: float) -> float:
    """Return how often some threads make a call in a second."""
    done = [0] * threads
    stop = threading.Event()

    def work(number: int) -> None:
        while not stop.is_set():
            call()
            done[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    begin = time.perf_counter()
    for worker in workers:
        worker.start()
    time.sleep(seconds)
    stop.set()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - begin)

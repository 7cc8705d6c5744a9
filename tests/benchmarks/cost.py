"""What the filter costs a request, beside other filters, and how that grows."""

from __future__ import annotations

import functools
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from imagefilter import filter_factory
from tests.benchmarks.measure import Check, Table, Times, figure, measure
from tests.benchmarks.subject import REQUESTS, bare, caller, create_image, filters, nova_body_handling
from tests.cases import PROJECT

MICRO = 1e6
#: µs over the bare app, at most.
TARGETS = {"GET": 0.1, "POST reboot": 3.0, "createImage, 3 items": 25.0}
LARGEST = "createImage, 128 x 255"


def requests(rounds: int, span: float) -> Table:
    """Each filter in front of the same bare app, and what Nova does with the same bodies."""
    apps = {"bare": bare, **filters()}
    calls = {(name, what): caller(app, request) for name, app in apps.items() for what, request in REQUESTS.items()}
    for what, (_, _, body) in REQUESTS.items():
        if body:
            calls["json.loads alone", what] = functools.partial(json.loads, body.decode())
        nova = nova_body_handling(body) if "createImage" in what else None
        if nova:
            calls["Nova's own body handling", what] = nova
    times = measure(calls, rounds, span)
    costs = {key: _over_bare(times, key, key[0] in apps) for key in times if key[0] != "bare"}
    names = list(dict.fromkeys(name for name, _ in costs))
    rows = [[name, *(_cell(costs, name, what) for what in REQUESTS)] for name in names]
    rows.append(["spread of imagefilter", *(_spread(times["imagefilter", what]) for what in REQUESTS)])
    ours = {what: costs["imagefilter", what] for what in REQUESTS}
    checks = [Check(f"{what}, over the bare app", ours[what] * MICRO, limit, "µs") for what, limit in TARGETS.items()]
    parse = times["json.loads alone", LARGEST].least
    checks.append(Check(LARGEST, ours[LARGEST] / parse, 4.5, "x json.loads alone"))
    text = (
        "µs a request over the bare app, and in brackets the ratio to imagefilter. The lower two rows are whole costs, "
        "not differences. *Recording* is with a journal where a sync is free. The peers build their events and hand "
        "them to a logger that is off. The spread is the median round over the least one."
    )
    return Table("A request, beside other filters", text, ["", *REQUESTS], rows, checks)


def _over_bare(times: dict[Any, Times], key: tuple[str, str], is_app: bool) -> float:
    return times[key].least - (times["bare", key[1]].least if is_app else 0)


def _cell(costs: dict[tuple[str, str], float], name: str, what: str) -> str:
    cost = costs.get((name, what))
    return "–" if cost is None else f"{figure(cost * MICRO)} ({figure(cost / costs['imagefilter', what])} x)"


def _spread(times: Times) -> str:
    return f"{times.median / times.least:.2f}"


def metadata(rounds: int, span: float) -> Table:
    """The cost of a createImage by the size of its metadata."""
    counts, size = (0, 1, 8, 32, 64, 128), 255
    app = filter_factory({})(bare)
    calls: dict[Any, Any] = {}
    for count in counts:
        request = create_image(count, size)
        calls["bare", count] = caller(bare, request)
        calls["imagefilter", count] = caller(app, request)
        calls["json.loads alone", count] = functools.partial(json.loads, request[2].decode())
        nova = nova_body_handling(request[2])
        if nova:
            calls["Nova's own body handling", count] = nova
    times = measure(calls, rounds, span)
    names = [name for name in dict.fromkeys(name for name, _ in calls) if name != "bare"]
    cost = {
        (name, count): _over_bare(times, (name, count), name == "imagefilter") * MICRO
        for name in names
        for count in counts
    }
    return Table(
        "Growth with the metadata",
        f"µs of a createImage with this many items of {size} characters; imagefilter over the bare app.",
        ["items", *names],
        [[str(count), *(f"{cost[name, count]:,.1f}" for name in names)] for count in counts],
        [],
        {name: [(count, cost[name, count]) for count in counts] for name in names},
        ("items", "µs"),
    )


def sections(rounds: int, span: float) -> Table:
    """The cost of a createImage by the number of projects that have a section of their own."""
    counts = (1, 100, 10_000)
    request = create_image(3, 8)
    calls: dict[Any, Any] = {"bare": caller(bare, request)}
    loading = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            begin = time.perf_counter()
            calls[count] = caller(_with_sections(Path(folder), count), request)
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


def _with_sections(folder: Path, count: int) -> Any:
    projects = [PROJECT, *(f"{number:032x}" for number in range(1, count))]
    path = folder / f"{count}.conf"
    path.write_text("".join(f"[imagefilter:project:{project}]\nmetadata_items = 64\n" for project in projects))
    return filter_factory({}, oslo_config_file=str(path))(bare)


def threads(rounds: int, span: float) -> Table:
    """Requests a second by the number of threads, with and without the filter and its journal."""
    counts = (1, 2, 4, 8, 16, 32)
    request = create_image(3, 8)
    rates: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        apps = {
            "imagefilter": caller(filter_factory({})(bare), request),
            "with a journal on disk": caller(filter_factory({}, audit_journal=f"{folder}/audit.jsonl")(bare), request),
        }
        for _ in range(max(1, rounds // 10)):
            for count in counts:
                for name, call in apps.items():
                    seen = _rate(call, count, span * 25)
                    rates[name, count] = max(seen, rates.get((name, count), 0))
    return Table(
        "Growth with threads",
        "createImage with 3 items: requests a second of one process, the best of the rounds. Without a journal "
        "Python's lock is the limit; with one, the disk is: each request waits for two syncs.",
        ["threads", *apps],
        [[str(count), *(f"{rates[name, count]:,.0f}" for name in apps)] for count in counts],
        [],
        {name: [(count, rates[name, count]) for count in counts] for name in apps},
        ("threads", "requests a second"),
    )


def _rate(call: Any, count: int, seconds: float) -> float:
    done = [0] * count
    over = threading.Event()

    def work(number: int) -> None:
        while not over.is_set():
            call()
            done[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    begin = time.perf_counter()
    for worker in workers:
        worker.start()
    time.sleep(seconds)
    over.set()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - begin)

"""Compare this version of the filter with the one in another checkout: ``bench --against FOLDER``.

Each version runs in processes of its own and times a call whenever it is asked to. The versions take turns, so a slow
moment of the machine hits both, and the least times are compared. Several processes of each average out their different
layouts of memory. The requests and the timing are those of this checkout.
"""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import MICRO, Calls, Check, Table, count_repeats, figure, time_call
from tests.paths import ROOT

REQUESTS = ("GET", "POST reboot", "createImage, 3 items")
GOALS = {"GET": 1.05, "POST reboot": 1.1, "createImage, 3 items": 1.05}  # times the other version's cost
OTHER, THIS = "other", "this"
PROCESSES = 3  # of each version

# The version in PYTHONPATH is imported before this checkout, which has the requests and the timing, can be found.
_CODE = """
import sys, imagefilter
print(imagefilter.__file__, flush=True)
sys.path.insert(0, sys.argv[1])
from tests.benchmarks.versions import work
work()
"""

#: Seconds by version, app ("bare", "imagefilter", "wsgify") and request.
_Times = dict[tuple[str, str, str], float]


def compare(folder: Path, rounds: int = 200, span: float = 0.004) -> Table:
    """Time the version in a folder and this one in turn.

    :param rounds: how often each process times each call.
    :param span: how long it repeats the call each time, in seconds.
    """
    times: _Times = {}
    for _ in range(PROCESSES):
        with _start(folder) as other, _start(ROOT) as this:
            _take_turns({OTHER: other, THIS: this}, rounds, span, times)
    costs = {(version, app, what): _cost(times, version, app, what) for version, app, what in times}
    rows, checks = [], []
    for what in REQUESTS:
        other, this = costs[OTHER, "imagefilter", what], costs[THIS, "imagefilter", what]
        wsgify = costs[THIS, "wsgify", what]
        cells = [figure(seconds * MICRO) for seconds in (other, this, wsgify)]
        rows.append([what, *cells, f"{this / other:.3f}", f"{this / wsgify:.3f}"])
        checks.append(Check(f"{what}, to the other version", this / other, GOALS[what], "times"))
    header = ["", "other, µs", "this, µs", "wsgify, µs", "this / other", "this / wsgify"]
    return Table(f"imagefilter against {folder}", "µs a request over the bare app.", header, rows, checks)


def work() -> None:
    """Time calls, as a process of one version: for each line of input, print the seconds of a call.

    A line is the names of an app and a request, and how long to repeat the call, in seconds, with tabs between them.
    """
    calls = _build_calls()
    gc.disable()
    for line in sys.stdin:
        app, what, span = line.rstrip("\n").split("\t")
        call = calls[app, what]
        print(time_call(call, count_repeats(call, float(span))), flush=True)


def _build_calls() -> Calls:
    from imagefilter import filter_factory
    from tests.benchmarks import subject

    subject.quiet()
    apps = {"bare": subject.bare, "imagefilter": filter_factory({})(subject.bare), "wsgify": subject.wsgify()}
    calls: Calls = {}
    for what in REQUESTS:
        for name, app in apps.items():
            calls[name, what] = subject.caller(app, subject.REQUESTS[what])
    return calls


@contextlib.contextmanager
def _start(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process of the version in a folder.

    :raises ValueError: if there is none.
    """
    environ = {**os.environ, "PYTHONPATH": str(folder.resolve())}
    command = [sys.executable, "-W", "ignore", "-c", _CODE, str(ROOT)]
    with subprocess.Popen(
        command, env=environ, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if not Path(process.stdout.readline()).is_relative_to(folder.resolve()):
            process.kill()
            raise ValueError(f"{folder} has no package imagefilter")
        yield process


def _take_turns(processes: dict[str, subprocess.Popen[str]], rounds: int, span: float, times: _Times) -> None:
    """Have each process time each call, round after round, and keep the least times."""
    for _ in range(rounds):
        for what in REQUESTS:
            for app in ("bare", "imagefilter", "wsgify"):
                for version, process in processes.items():
                    seconds = _ask(process, f"{app}\t{what}\t{span}\n")
                    key = (version, app, what)
                    times[key] = min(times.get(key, seconds), seconds)


def _ask(process: subprocess.Popen[str], line: str) -> float:
    process.stdin.write(line)
    process.stdin.flush()
    return float(process.stdout.readline())


def _cost(times: _Times, version: str, app: str, what: str) -> float:
    """Return the cost of an app over the bare one of the same process."""
    return times[version, app, what] - times[version, "bare", what]

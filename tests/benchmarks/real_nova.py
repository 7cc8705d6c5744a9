"""Measure what the gateway costs in front of a real Nova: ``python -m tests.benchmarks.real_nova``.

Nova's API runs under gunicorn, and wrk asks it straight and through the gateway, one after the other in pairs: a figure
is the median over the pairs, so that a machine whose speed drifts counts for both alike.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from typing import NamedTuple

from tests.benchmarks.gateway import THREADS, WORKERS, serve_measured_gateway, serve_process
from tests.benchmarks.measure import Check, Table, text
from tests.benchmarks.subject import ACTION
from tests.gateway.client import find_free_port

SHARE_OF_ACTIONS = {"GET": 0, "95 % GET": 5}  # per cent
_CONNECTIONS = 16  # as many as Nova has threads: none waits for one
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}

# The images are of a server that Nova does not know: the gateway judges, records and forwards such a request like any
# other, and Nova's databases in this harness (SQLite) bear few writers.
_WRK = """
local headers = {{["X-Auth-Token"] = "member", ["Content-Type"] = "application/json"}}
local get = function() return wrk.format("GET", "/v2.1/servers/detail", headers) end
local post = function() return wrk.format("POST", "{action}", headers, '{body}') end
failed = 0
local number, threads = 0, {{}}
setup = function(thread) table.insert(threads, thread) end
request = function()
  number = number + 1
  if number % 100 < {actions} then return post() end
  return get()
end
response = function(status) if status ~= 200 and status ~= 404 then failed = failed + 1 end end
done = function(summary) for _, thread in ipairs(threads) do print("failed: " .. thread:get("failed")) end end
"""


class Run(NamedTuple):
    """What wrk measured."""

    rate: float  # requests a second
    p50: float  # ms
    p99: float  # ms


class Pair(NamedTuple):
    """The same load straight and through the gateway, one after the other."""

    straight: Run
    through: Run


def real_nova(rounds: int, span: float) -> Table:
    """Return the gateway's throughput and latency in front of a real Nova, beside those of Nova itself.

    :param rounds: number of pairs, at most 7.
    :param span: 0 for the shortest of runs.
    """
    missing = [name for name in ("wrk",) if not shutil.which(name)]
    missing += [name for name in ("granian", "gunicorn", "nova") if not find_spec(name)]
    title = "The gateway in front of a real Nova"
    if missing:
        return Table(title, f"Left out: {', '.join(missing)} is not there.", [""], [], [])
    if not span:
        return build_table(title, measure(1, seconds=1))
    return build_table(title, measure(min(rounds, 7), seconds=8))


def measure(pairs: int, seconds: int) -> dict[str, list[Pair]]:
    """Return pairs of runs for each mix of requests.

    :param seconds: how long wrk asks each time.
    """
    with serve_nova() as nova, serve_measured_gateway("granian", nova, {}) as front:
        measured: dict[str, list[Pair]] = {}
        for mix, share in SHARE_OF_ACTIONS.items():
            for port in (nova, front.port):
                run_wrk(port, share, 1, _CONNECTIONS)  # caches
            measured[mix] = [measure_pair(number, nova, front.port, share, seconds) for number in range(pairs)]
    return measured


def measure_pair(number: int, nova: int, front: int, share: int, seconds: int) -> Pair:
    """Measure both; every other time the gateway first."""
    ports = (nova, front)
    if number % 2:
        ports = (front, nova)
    runs = {port: measure_run(port, share, seconds) for port in ports}
    return Pair(runs[nova], runs[front])


# Requests/s, where a short run on a busy machine got no answer at all.
_SLOWEST = 0.001


def measure_run(port: int, share: int, seconds: int) -> Run:
    """Measure the rate of a busy Nova, and the latency of one that is not: a queue would hide the gateway's."""
    busy, idle = run_wrk(port, share, seconds, _CONNECTIONS), run_wrk(port, share, seconds, 1)
    return Run(busy.rate, idle.p50, idle.p99)


def build_table(title: str, measured: dict[str, list[Pair]]) -> Table:
    """Return medians over the pairs, and the targets."""
    rows, checks = [], []
    for mix, pairs in measured.items():
        ratio = statistics.median(pair.through.rate / max(pair.straight.rate, _SLOWEST) for pair in pairs)
        more = statistics.median(pair.through.p99 - pair.straight.p99 for pair in pairs)
        rows.append([f"{mix}: Nova", *format_runs([pair.straight for pair in pairs]), "", ""])
        rows.append([f"{mix}: through", *format_runs([pair.through for pair in pairs]), f"{ratio:.3f}", f"{more:+.1f}"])
        checks.append(Check(f"{mix}, throughput to asking Nova straight", ratio, 0.98, "times", least=True))
        checks.append(Check(f"{mix}, p99 above asking Nova straight", more, 5, "ms"))
    description = (
        f"Nova's own API under gunicorn, a worker of {THREADS} threads; the gateway under granian, {WORKERS} workers of"
        f" {THREADS}, without auth_token, its journal on the disk. wrk asks for the servers' details, and in the second"
        " mix for an image, of a server that is not there, in 5 requests of 100: at"
        f" {_CONNECTIONS} connections for the requests/s, and one after the other for the latency. Medians over pairs."
    )
    return Table(title, description, ["", "requests/s", "p50 ms", "p99 ms", "x Nova", "p99 more"], rows, checks)


def format_runs(runs: list[Run]) -> list[str]:
    medians = [statistics.median(figures) for figures in zip(*runs)]
    return [f"{median:,.1f}" for median in medians]


@contextlib.contextmanager
def serve_nova() -> Iterator[int]:
    """Run a real Nova under gunicorn; yield its port."""
    port = find_free_port()
    options = f"--bind 127.0.0.1:{port} --worker-class gthread --workers 1 --threads {THREADS} --timeout 300"
    command = [sys.executable, "-W", "ignore", "-m", "gunicorn", *options.split(), "--no-control-socket"]
    with serve_process([*command, "tests.benchmarks.nova_api:application()"], port, {}):
        yield port


def run_wrk(port: int, actions: int, seconds: int, connections: int) -> Run:
    """Ask a server for a while.

    :param actions: the share of image actions, in per cent.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        body = json.dumps({"createImage": {"name": "nightly", "metadata": {"k": "v"}}})
        script.write(_WRK.format(action=ACTION, actions=actions, body=body))
        script.flush()
        load = f"--threads 1 --connections {connections} --duration {seconds}s --timeout 30s --latency"
        command = ["wrk", *load.split(), "--script", script.name, f"http://127.0.0.1:{port}"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert set(re.findall(r"failed: (\d+)", output)) == {"0"}, output
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert rate, output
    return Run(float(rate[1]), _read_latency(output, 50), _read_latency(output, 99))


def _read_latency(output: str, percentile: int) -> float:
    """Return a percentile of the latency, in ms."""
    found = re.search(rf"^ +{percentile}%\s+([\d.]+)(us|ms|s) *$", output, re.M)
    assert found, output
    return float(found[1]) * _UNITS[found[2]]


if __name__ == "__main__":
    print(text(real_nova(5, 1)))

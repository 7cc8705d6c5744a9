"""Measure the gateway beside plain nginx and http.client: ``python -m tests.benchmarks.gateway``.

Real processes on this machine: an nginx as the compute API, and in front of it the servers that are compared, all
running at the same time. wrk asks each in turn; ratios are those of the best turns. Without nginx, wrk and granian
there is no table.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.measure import Table, text
from tests.benchmarks.subject import ACTION, image
from tests.gateway.client import find_free_port, send_request
from tests.gateway.front import nginx_without_tls
from tests.gateway.servers import Gateway, serve_gateway, stop
from tests.paths import ROOT
from tests.waiting import wait_until

TITLE = "The gateway in front of a synthetic compute API"
MIXED, READS, ACTIONS = "95 % GET", "GET", "createImage"
SHARE_OF_ACTIONS = {MIXED: 5, READS: 0, ACTIONS: 100}  # per cent
WORKERS, THREADS = 2, 16
MB = 1024 * 1024
UPSTREAM = "BENCHMARK_COMPUTE_PORT"

COMPUTE, PLAIN, SPLIT = "compute API", "nginx proxy_pass", "nginx, split by method"
GRANIAN, GUNICORN, BARE = "gateway on granian", "gateway on gunicorn", "http.client on granian, no filter"

NGINX = """
worker_processes 2; daemon off; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream compute {{ server 127.0.0.1:{compute}; keepalive 128; keepalive_requests 1000000; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
  server {{ listen 127.0.0.1:{compute} backlog=1024;
    default_type application/json;
    location / {{ if ($request_method = POST) {{ return 202; }} return 200 '{body}'; }} }}
  server {{ listen 127.0.0.1:{plain} backlog=1024; location / {{ proxy_pass http://compute; }} }}
  include {folder}/split.conf;
}}
"""

WRK = """
local headers = {{["Host"] = "compute.example", ["X-Auth-Token"] = "t", ["Content-Type"] = "application/json"}}
local get = wrk.format("GET", "/v2.1/servers/detail", headers)
local post = wrk.format("POST", "{action}", headers, '{body}')
local number = 0
request = function()
  number = number + 1
  if number % 100 < {actions} then return post end
  return get
end
"""


class Figures(NamedTuple):
    """What is measured."""

    rates: dict[str, dict[str, float]]  # requests a second by server, by mix
    slow_direct: float  # requests a second to a compute API that takes 50 ms
    slow_through: float  # the same through the gateway
    action_seconds: float  # that an image action takes longer through the gateway
    growth: float  # of a worker's memory, in bytes


def list_missing() -> str:
    """Return the programs and modules that are needed and missing, or an empty text."""
    missing = [name for name in ("nginx", "wrk") if not shutil.which(name)]
    missing += [name for name in ("granian", "urllib3") if not find_spec(name)]
    return ", ".join(missing)


def gateway(rounds: int, span: float) -> Table:
    """Return requests a second through each server, the time of an image action, and a worker's memory.

    :param rounds: how often wrk asks each of them, at most 5 times.
    :param span: 0 for the shortest of runs.
    """
    missing = list_missing()
    if missing:
        return Table(TITLE, f"Left out: {missing} is not there.", [""], [], [])
    turns = min(rounds, 5)
    if not span:
        return build_table(measure(turns, seconds=1, actions=20, requests=2_000))
    return build_table(measure(turns, seconds=3, actions=300, requests=100_000))


def measure(turns: int, seconds: int, actions: int, requests: int) -> Figures:
    """Measure all figures.

    :param seconds: how long wrk asks each server, in each turn.
    :param actions: number of image actions that are timed.
    :param requests: number of requests that a worker's growth is measured over.
    """
    with serve_all() as ports:
        rates = measure_rates(ports, turns, seconds)
        slow_direct, slow_through = measure_slow_api(turns, seconds)
        action_seconds = time_image_action(ports[GRANIAN], ports[COMPUTE], actions)
        growth = measure_growth(requests)
    return Figures(rates, slow_direct, slow_through, action_seconds, growth)


def build_table(figures: Figures) -> Table:
    rates, plain = figures.rates, figures.rates[PLAIN]
    rows = []
    for name, rate in rates.items():
        cells = [f"{rate[mix]:,.0f}" for mix in (MIXED, READS, ACTIONS)]
        rows.append([name, *cells, f"{rate[READS] / plain[READS]:.2f}"])
    rows.append(["compute API that takes 50 ms", "", f"{figures.slow_direct:,.0f}", "", ""])
    rows.append(["the gateway in front of it", "", f"{figures.slow_through:,.0f}", "", ""])
    rows.append(["createImage, ms above the compute API", "", "", f"{figures.action_seconds * 1000:.2f}", ""])
    rows.append(["MB a worker grows meanwhile", "", f"{figures.growth / MB:.2f}", "", ""])
    description = (
        "For information, without a target: the compute API is an nginx, so this is all that a gateway can cost. "
        f"Requests/s at 64 connections, responses of 2 KB; {WORKERS} workers of {THREADS} threads, records in memory. "
        "The last column is GET's share of plain nginx. An image action's time is a median, one after the other. A "
        "worker's growth is that of 100,000 requests."
    )
    return Table(TITLE, description, ["", MIXED, READS, ACTIONS, "x nginx"], rows, [])


# --- the servers


@contextlib.contextmanager
def serve_all() -> Iterator[dict[str, int]]:
    """Run all servers that are compared; yield the port of each by its name."""
    with contextlib.ExitStack() as stack:
        memory = stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm"))
        options = {"audit_journal": f"{memory}/audit.jsonl"}
        ports = {name: find_free_port() for name in (COMPUTE, PLAIN, SPLIT)}
        ports[GRANIAN] = stack.enter_context(serve_measured_gateway("granian", ports[COMPUTE], options)).port
        ports[GUNICORN] = stack.enter_context(serve_measured_gateway("gunicorn", ports[COMPUTE], options)).port
        stack.enter_context(serve_nginx(Path(memory), ports))
        ports[BARE] = find_free_port()
        variables = {UPSTREAM: str(ports[COMPUTE])}
        stack.enter_context(serve_granian("tests.benchmarks.gateway:http_client", ports[BARE], variables))
        yield ports


def serve_measured_gateway(
    server: str, compute: int, options: dict[str, str], workers: int = WORKERS
) -> contextlib.AbstractContextManager[Gateway]:
    return serve_gateway(server, f"http://127.0.0.1:{compute}", options, workers=workers, threads=THREADS)


@contextlib.contextmanager
def serve_nginx(folder: Path, ports: dict[str, int]) -> Iterator[None]:
    """Run nginx as the compute API, as a plain proxy, and as the front that splits."""
    config = folder / "nginx.conf"
    body = json.dumps({"servers": "x" * 2000})
    config.write_text(NGINX.format(folder=folder, body=body, compute=ports[COMPUTE], plain=ports[PLAIN]))
    (folder / "split.conf").write_text(nginx_without_tls(ports[SPLIT], ports[COMPUTE], [ports[GRANIAN]] * 2))
    command = ["nginx", "-p", str(folder), "-e", f"{folder}/error.log", "-c", str(config)]
    with serve_process(command, ports[PLAIN], {}):
        yield


@contextlib.contextmanager
def serve_granian(target: str, port: int, variables: dict[str, str]) -> Iterator[None]:
    """Run granian with an application of this module."""
    options = f"--interface wsgi --http 1 --no-ws --port {port} --workers {WORKERS} --blocking-threads {THREADS}"
    command = [sys.executable, "-W", "ignore", "-m", "granian", *options.split(), "--workers-kill-timeout", "5", target]
    with serve_process(command, port, variables):
        yield


@contextlib.contextmanager
def serve_process(command: list[str], port: int, variables: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        command, env={**os.environ, **variables}, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def responds() -> bool:
        assert process.poll() is None, f"{command[0]} does not run"
        with contextlib.suppress(OSError, http.client.HTTPException):
            send_request(port, "GET", "/")
            return True
        return False

    try:
        wait_until(responds, interval=0.1)
        yield
    finally:
        stop(process)


# --- what is measured


def measure_rates(ports: dict[str, int], turns: int, seconds: int) -> dict[str, dict[str, float]]:
    """Return the best rate of each server for each mix of requests, asked in turns, in an order that rotates."""
    names = list(ports)
    best = {name: dict.fromkeys(SHARE_OF_ACTIONS, 0.0) for name in names}
    for turn in range(turns):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            for mix, share in SHARE_OF_ACTIONS.items():
                best[name][mix] = max(best[name][mix], run_wrk(ports[name], share, seconds))
    return best


def run_wrk(port: int, actions: int, seconds: int, connections: int = 64) -> float:
    """Return the requests a second that got a 2xx.

    :param actions: the share of image actions, in per cent.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(WRK.format(action=ACTION, actions=actions, body=image(3, 8).decode()))
        script.flush()
        command = ["wrk", "-t", "2", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "30s", "-s", script.name]
        done = subprocess.run([*command, f"http://127.0.0.1:{port}"], check=True, capture_output=True, text=True)
    assert "Non-2xx" not in done.stdout, (port, actions, done.stdout)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert rate
    return float(rate[1])


def measure_slow_api(turns: int, seconds: int) -> tuple[float, float]:
    """Return the rates of a compute API that takes 50 ms, and of the gateway in front of it.

    There is a connection for each thread.
    """
    port, connections = find_free_port(), WORKERS * THREADS
    direct, through = [], []
    with (
        serve_granian("tests.benchmarks.gateway:respond_slowly", port, {}),
        serve_measured_gateway("granian", port, {}) as front,
    ):
        for _ in range(turns):
            direct.append(run_wrk(port, 0, seconds, connections))
            through.append(run_wrk(front.port, 0, seconds, connections))
    return max(direct), max(through)


def time_image_action(front: int, compute: int, count: int) -> float:
    """Return how many seconds longer an image action takes through the gateway: medians, asked in turns."""
    document = json.loads(image(3, 8))
    times: dict[int, list[float]] = {front: [], compute: []}
    for _ in range(count):
        for port in (front, compute):
            started_at = time.perf_counter()
            assert send_request(port, "POST", ACTION, document).status == 202
            times[port].append(time.perf_counter() - started_at)
    return statistics.median(times[front]) - statistics.median(times[compute])


def measure_growth(requests: int) -> float:
    """Return the bytes that a worker grows in so many requests, after a tenth of them."""
    with contextlib.ExitStack() as stack:
        memory = stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm"))
        ports = {name: find_free_port() for name in (COMPUTE, PLAIN, SPLIT)}
        ports[GRANIAN] = ports[COMPUTE]
        stack.enter_context(serve_nginx(Path(memory), ports))
        options = {"audit_journal": f"{memory}/audit.jsonl"}
        running = stack.enter_context(serve_measured_gateway("granian", ports[COMPUTE], options, workers=1))
        send_many(running.port, requests // 10)
        before = read_private_memory(running)
        send_many(running.port, requests)
        return read_private_memory(running) - before


def send_many(port: int, requests: int) -> None:
    done = 0
    while done < requests:
        done += int(run_wrk(port, 5, 1))


def read_private_memory(running: Gateway) -> int:
    """Return the memory that belongs to the workers alone, in bytes."""
    kilobytes = 0
    for pid in running.workers():
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        kilobytes += sum(map(int, re.findall(r"^Private_\w+:\s+(\d+)", rollup, re.M)))
    return kilobytes * 1024


# --- applications that granian runs


def respond_slowly(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Respond as a compute API that takes 50 ms."""
    time.sleep(0.05)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"{}"]


_local = threading.local()


def http_client(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Forward with as little as the standard library allows: the difference is the price of urllib3's checks."""
    if not hasattr(_local, "connection"):
        _local.connection = http.client.HTTPConnection("127.0.0.1", int(os.environ[UPSTREAM]), timeout=60)
    try:
        response = _send(_local.connection, environ)
    except (OSError, http.client.HTTPException):  # it was kept for too long
        _local.connection.close()
        response = _send(_local.connection, environ)
    body = response.read()
    start_response(f"{response.status} {response.reason}", [("Content-Length", str(len(body)))])
    return [body]


def _send(connection: http.client.HTTPConnection, environ: dict[str, Any]) -> http.client.HTTPResponse:
    headers = {"Host": environ["HTTP_HOST"], "X-Auth-Token": environ.get("HTTP_X_AUTH_TOKEN", "")}
    body = None
    if environ["REQUEST_METHOD"] == "POST":
        body = environ["wsgi.input"].read()
    connection.request(environ["REQUEST_METHOD"], environ["PATH_INFO"], body, headers)
    return connection.getresponse()


if __name__ == "__main__":
    print(text(gateway(5, 1)))

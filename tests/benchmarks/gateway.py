"""What the gateway costs, beside plain nginx and http.client: ``python -m tests.benchmarks.gateway``.

Real processes on this machine: an nginx as the compute API, and in front of it what is compared, all of them up at the
same time. wrk asks each in turn; ratios are those of the best turns. Without nginx, wrk and granian there is no table.
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
from typing import Any

from tests.benchmarks.measure import Check, Table, text
from tests.benchmarks.subject import ACTION, image
from tests.gateway.front import nginx_without_tls
from tests.gateway.servers import ROOT, Gateway, ask, free_port, serve_gateway, stop

MIXED, READS, ACTIONS = "95 % GET", "GET", "createImage"
WORKERS, THREADS = 2, 16
MB = 1024 * 1024
QUIETLY: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
UPSTREAM = "BENCHMARK_COMPUTE_PORT"

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


def missing() -> str:
    """What is not there to run it, or empty."""
    programs = [name for name in ("nginx", "wrk") if not shutil.which(name)]
    return ", ".join([*programs, *(name for name in ("granian", "urllib3") if not find_spec(name))])


def gateway(rounds: int, span: float) -> Table:
    """Requests a second through each, the time of an image action, and a worker's memory.

    :param rounds: how often wrk asks each of them, at most 5 times; :param span: 0 for the shortest of runs.
    """
    title = "The gateway"
    if missing():
        return Table(title, f"Left out: {missing()} is not there.", [""], [], [])
    turns, seconds, requests = min(rounds, 5), 3 if span else 1, 100_000 if span else 2_000
    with _servers() as ports:
        best = _rates(ports, turns, seconds)
        slow = _slow(turns, seconds)
        extra = _image_action(ports["gateway on granian"], ports["compute API"], 300 if span else 20)
        growth = _growth(requests)
    base = best["nginx proxy_pass"]
    rows = [
        [name, *(f"{rate[mix]:,.0f}" for mix in (MIXED, READS, ACTIONS)), f"{rate[READS] / base[READS]:.2f}"]
        for name, rate in best.items()
    ]
    rows.append(["compute API that takes 50 ms", "", f"{slow[0]:,.0f}", "", ""])
    rows.append(["the gateway in front of it", "", f"{slow[1]:,.0f}", "", ""])
    rows.append(["createImage, ms above the compute API", "", "", f"{extra * 1000:.2f}", ""])
    rows.append(["MB a worker grows meanwhile", "", f"{growth / MB:.2f}", "", ""])
    return Table(
        title,
        f"Requests/s at 64 connections, answers of 2 KB; {WORKERS} workers of {THREADS} threads, records in memory. "
        "The last column is GET's share of plain nginx. An image action's time is a median, one after the other. A "
        "worker's growth is that of 100,000 requests.",
        ["", MIXED, READS, ACTIONS, "x nginx"],
        rows,
        [
            Check("split by method, mixed, to plain nginx", best["nginx, split by method"][MIXED] / base[MIXED], 0.9,
                  "times", least=True),
            Check("everything through granian, to plain nginx", best["gateway on granian"][READS] / base[READS], 0.15,
                  "times", least=True),
            Check("a compute API of 50 ms, to asking it straight", slow[1] / slow[0], 0.9, "times", least=True),
            Check("createImage, above the compute API", extra * 1000, 1, "ms"),
            Check("growth of a worker", growth / MB, 1, "MB"),
        ],
    )  # fmt: skip


@contextlib.contextmanager
def _servers() -> Iterator[dict[str, int]]:
    """All that is compared, by name: its port."""
    with contextlib.ExitStack() as stack:
        memory = stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm"))
        options = {"audit_journal": f"{memory}/audit.jsonl"}
        compute, plain, split, bare = (free_port() for _ in range(4))
        made = {
            f"gateway on {server}": _gateway(stack, server, compute, options).port for server in ("granian", "gunicorn")
        }
        ports = {"compute": compute, "plain": plain, "split": split, "gateway": made["gateway on granian"]}
        stack.enter_context(_nginx(Path(memory), ports))
        stack.enter_context(_granian("tests.benchmarks.gateway:http_client", bare, {UPSTREAM: str(compute)}))
        yield {
            "compute API": compute,
            "nginx proxy_pass": plain,
            "nginx, split by method": split,
            **made,
            "http.client on granian, no filter": bare,
        }


def _gateway(
    stack: contextlib.ExitStack, server: str, compute: int, options: dict[str, str], workers: int = 0
) -> Gateway:
    return stack.enter_context(
        serve_gateway(server, f"http://127.0.0.1:{compute}", options, workers=workers or WORKERS, threads=THREADS)
    )


@contextlib.contextmanager
def _nginx(folder: Path, ports: dict[str, int]) -> Iterator[None]:
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, body=json.dumps({"servers": "x" * 2000}), **ports))
    split = nginx_without_tls(ports["split"], ports["compute"], [ports["gateway"]] * 2)
    (folder / "split.conf").write_text(split)
    with _process(["nginx", "-p", str(folder), "-e", f"{folder}/error.log", "-c", str(config)], ports["plain"], {}):
        yield


@contextlib.contextmanager
def _granian(target: str, port: int, variables: dict[str, str]) -> Iterator[None]:
    command = [
        *(sys.executable, "-W", "ignore", "-m", "granian", "--interface", "wsgi", "--http", "1", "--no-ws"),
        *("--port", str(port), "--workers", str(WORKERS), "--blocking-threads", str(THREADS)),
        *("--workers-kill-timeout", "5", target),
    ]
    with _process(command, port, variables):
        yield


@contextlib.contextmanager
def _process(command: list[str], port: int, variables: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        command, env={**os.environ, **variables}, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            assert process.poll() is None, f"{command[0]} does not run"
            with contextlib.suppress(OSError, http.client.HTTPException):
                ask(port, "GET", "/")
                break
            time.sleep(0.1)
        yield
    finally:
        stop(process)


def _rates(ports: dict[str, int], turns: int, seconds: int) -> dict[str, dict[str, float]]:
    """The best rate of each, for each mix of requests; in turns, in an order that rotates."""
    names = list(ports)
    best: dict[str, dict[str, float]] = {name: dict.fromkeys((MIXED, READS, ACTIONS), 0.0) for name in names}
    for turn in range(turns):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            for mix, share in ((MIXED, 5), (READS, 0), (ACTIONS, 100)):
                best[name][mix] = max(best[name][mix], _wrk(ports[name], share, seconds))
    return best


def _wrk(port: int, actions: int, seconds: int, connections: int = 64) -> float:
    """Requests a second that were answered with 2xx."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(WRK.format(action=ACTION, actions=actions, body=image(3, 8).decode()))
        script.flush()
        command = ["wrk", "-t", "2", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "30s", "-s", script.name]
        said = subprocess.run([*command, f"http://127.0.0.1:{port}"], check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in said, (port, actions, said)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]


def _slow(turns: int, seconds: int) -> tuple[float, float]:
    """Rates of a compute API that takes 50 ms, and of the gateway in front of it, with a connection for each thread."""
    port = free_port()
    connections = WORKERS * THREADS
    with contextlib.ExitStack() as stack:
        stack.enter_context(_granian("tests.benchmarks.gateway:slowly", port, {}))
        front = _gateway(stack, "granian", port, {}).port
        seen = [(_wrk(port, 0, seconds, connections), _wrk(front, 0, seconds, connections)) for _ in range(turns)]
    return max(direct for direct, _ in seen), max(through for _, through in seen)


def _image_action(front: int, compute: int, count: int) -> float:
    """Seconds that an image action takes longer through the gateway: medians, asked in turns."""
    document = json.loads(image(3, 8))
    times: dict[int, list[float]] = {front: [], compute: []}
    for _ in range(count):
        for port, seen in times.items():
            begin = time.perf_counter()
            assert ask(port, "POST", ACTION, document).status == 202
            seen.append(time.perf_counter() - begin)
    return statistics.median(times[front]) - statistics.median(times[compute])


def _growth(requests: int) -> float:
    """Bytes that a worker grows in so many requests, after a tenth of them."""
    with contextlib.ExitStack() as stack:
        memory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        compute = free_port()
        ports = {"compute": compute, "plain": free_port(), "split": free_port(), "gateway": compute}
        stack.enter_context(_nginx(memory, ports))
        running = _gateway(stack, "granian", compute, {"audit_journal": f"{memory}/audit.jsonl"}, workers=1)
        _ask_many(running.port, requests // 10)
        before = _resident(running)
        _ask_many(running.port, requests)
        return _resident(running) - before


def _ask_many(port: int, requests: int) -> None:
    done = 0
    while done < requests:
        done += int(_wrk(port, 5, 1))


def _resident(running: Gateway) -> int:
    """Memory of the workers that is theirs alone, in bytes."""
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in running.workers()]
    sizes = [int(size) for each in texts for size in re.findall(r"^Private_\w+:\s+(\d+)", each, re.M)]
    return sum(sizes) * 1024


def slowly(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """A compute API that takes 50 ms."""
    time.sleep(0.05)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"{}"]


_local = threading.local()


def http_client(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """As little of a proxy as the standard library allows: the difference is what trust in urllib3 costs."""
    if not hasattr(_local, "connection"):
        _local.connection = http.client.HTTPConnection("127.0.0.1", int(os.environ[UPSTREAM]), timeout=60)
    headers = {"Host": environ["HTTP_HOST"], "X-Auth-Token": environ.get("HTTP_X_AUTH_TOKEN", "")}
    body = environ["wsgi.input"].read() if environ["REQUEST_METHOD"] == "POST" else None
    try:
        _local.connection.request(environ["REQUEST_METHOD"], environ["PATH_INFO"], body, headers)
        response = _local.connection.getresponse()
    except (OSError, http.client.HTTPException):  # it was kept for too long
        _local.connection.close()
        _local.connection.request(environ["REQUEST_METHOD"], environ["PATH_INFO"], body, headers)
        response = _local.connection.getresponse()
    answer = response.read()
    start_response(f"{response.status} {response.reason}", [("Content-Length", str(len(answer)))])
    return [answer]


if __name__ == "__main__":
    print(text(gateway(5, 1)))

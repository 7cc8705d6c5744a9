"""The relay's numbers for Prometheus, and its health.

Counters are kept in the checkpoint, together with the positions that they belong to, and shown only once they are
there: so a record is counted once, and no counter is ever seen to go back, which Prometheus would take for a restart
from zero. No label names a project, a user, or a server: their number is without bound.
"""

from __future__ import annotations

import os
import socketserver
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import prometheus_client
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from imagefilter.checkpoint import Count
from imagefilter.follow import Position, unread_bytes
from imagefilter.options import ACTIONS, MODES, RULES
from imagefilter.records import VERDICTS, action_of, content_of
from imagefilter.rotated import Files

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: Upper bounds of the buckets of imagefilter_request_seconds: Nova's answer comes after its own database and messages.
BUCKETS = ("0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0", "60.0", "+Inf")

#: Counters: name, help, labels.
COUNTERS = (
    ("requests", "Image actions that were judged.", ("action", "verdict", "rule", "mode")),
    ("images", "What the compute API answered to image actions that were let through.", ("action", "outcome")),
    ("unrecorded", "Records that the filter could not write, as later records tell.", ()),
    ("relay_published", "Records that the message bus confirmed.", ("journal",)),
    ("relay_retried", "Tries to publish a record that failed and were made again.", ()),
    ("relay_dead_lettered", "Records that the message bus refused for ever.", ("journal",)),
    ("relay_torn", "Lines that writers left unfinished.", ("journal",)),
)
_HISTOGRAM = ("request_seconds", "Seconds until the compute API began to answer.")
_OUTCOMES = ("success", "failure", "unknown")
_TIMEOUT = 10.0


class Progress(NamedTuple):
    """Where the relay is with a journal."""

    position: Position
    pending_since: float | None  # when the record was made that is being published, in seconds since 1970
    trouble: str  # why it can't be read, or empty


class Relay(Protocol):
    """What is measured."""

    max_lag: int

    def progress(self) -> Mapping[str, Progress]:
        """Where it is, by journal."""

    def shown(self) -> Mapping[Count, float]:
        """The counters as the checkpoint has them."""

    def trouble(self) -> str:
        """What keeps it from working at all, or empty."""


def counts_of(record: dict[str, Any]) -> Iterator[tuple[Count, float]]:
    """What a record adds to which counters. Labels are of bounded sets, whatever the record says."""
    try:
        content = content_of(record)
    except ValueError:
        return
    action = action_of(content)
    if "verdict" in content:
        labels = (content["verdict"], content.get("rule") or "", content.get("mode"))
        allowed = (VERDICTS, ("", *RULES), [mode for mode, _ in MODES])
        yield ("requests", action, *map(_one_of, labels, allowed)), 1
    elif "verdict_id" in content:
        yield ("images", action, _one_of(record.get("outcome"), _OUTCOMES)), 1
        yield from _seconds(action, content.get("seconds"))
    if type(content.get("unrecorded")) is int:
        yield ("unrecorded",), content["unrecorded"]


def _seconds(action: str, seconds: Any) -> Iterator[tuple[Count, float]]:
    if type(seconds) in (int, float) and seconds >= 0:
        yield (_HISTOGRAM[0], action, next(bound for bound in BUCKETS if seconds <= float(bound))), 1
        yield (f"{_HISTOGRAM[0]}_sum", action), seconds


def _one_of(value: Any, allowed: Iterable[str]) -> str:
    return value if value in allowed else "unknown"


class RelayCollector(Collector):
    """Shows a relay's numbers, made when they are asked for."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._files = {journal: Files(journal) for journal in relay.progress()}

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        shown = {**_zeros(self._files), **self._relay.shown()}
        for name, help_, labels in COUNTERS:
            family = CounterMetricFamily(f"imagefilter_{name}", help_, labels=labels)
            for key in sorted(key for key in shown if key[0] == name):
                family.add_metric(key[1:], shown[key])
            yield family
        yield _histogram(shown)
        yield from self._gauges()
        info = InfoMetricFamily("imagefilter_build", "The relay's version.")
        info.add_metric([], {"version": metadata.version("imagefilter")})
        yield info

    def _gauges(self) -> Iterator[Metric]:
        lag = GaugeMetricFamily("imagefilter_relay_lag_bytes", "Bytes that are not published yet.", labels=["journal"])
        age = GaugeMetricFamily(
            "imagefilter_relay_lag_seconds", "Age of the oldest record that is not published yet.", labels=["journal"]
        )
        size = GaugeMetricFamily("imagefilter_journal_size_bytes", "Size of the journal.", labels=["journal"])
        for journal, progress in self._relay.progress().items():
            age.add_metric([journal], lag_seconds(progress))
            try:
                lag.add_metric([journal], unread_bytes(self._files[journal].all(), progress.position))
                size.add_metric([journal], os.stat(journal).st_size)
            except OSError:  # that is no reason to show nothing at all; what can't be known is absent
                continue
        working = GaugeMetricFamily("imagefilter_relay_healthy", "Whether /healthcheck says 200.")
        working.add_metric([], not unhealthy(self._relay))
        yield from (lag, age, size, working)


def _zeros(journals: Iterable[str]) -> dict[Count, float]:
    """What is shown before it first happens: to Prometheus a counter that begins at 1 has not increased."""
    return dict.fromkeys(
        (
            ("unrecorded",),
            ("relay_retried",),
            *product(("relay_published", "relay_dead_lettered", "relay_torn"), journals),
            *product(("images",), ACTIONS, _OUTCOMES),
            *product(("requests",), (*ACTIONS, "unknown"), ("deny",), RULES, ("enforce",)),
            *product(("requests",), ACTIONS, ("would deny",), RULES, ("warn",)),
            *product(("requests",), ACTIONS, ("allow",), ("",), ("enforce",)),
        ),
        0.0,
    )


def _histogram(shown: Mapping[Count, float]) -> Metric:
    name, help_ = _HISTOGRAM
    family = HistogramMetricFamily(f"imagefilter_{name}", help_, labels=["action"])
    for action in (*ACTIONS, "unknown"):
        total, buckets = 0.0, []
        for bound in BUCKETS:
            total += shown.get((name, action, bound), 0.0)
            buckets.append((bound, total))
        if total:
            family.add_metric([action], buckets, sum_value=shown.get((f"{name}_sum", action), 0.0))
    return family


def lag_seconds(progress: Progress) -> float:
    """How old the oldest record is that is not published yet; 0 if there is none."""
    return 0.0 if progress.pending_since is None else max(0.0, time.time() - progress.pending_since)


def unhealthy(relay: Relay) -> str:
    """Why the relay is not ready, or empty."""
    found = [relay.trouble()] if relay.trouble() else []
    for journal, progress in relay.progress().items():
        lag = lag_seconds(progress)
        if lag > relay.max_lag:
            found.append(f"{journal}: the oldest unpublished record is {lag:.0f} s old; max_lag is {relay.max_lag}")
        if progress.trouble:
            found.append(f"{journal}: {progress.trouble}")
    return "; ".join(found)


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = _TIMEOUT  # who connects and says nothing

    def log_message(self, format: str, *args: Any) -> None:
        """No line for each scrape."""


def serve(relay: Relay, address: str, port: int) -> WSGIServer:
    """Serve ``/metrics`` and ``/healthcheck`` from a thread of its own.

    :raises OSError: if the address can't be had.
    """
    registry = prometheus_client.CollectorRegistry()
    registry.register(RelayCollector(relay))
    prometheus_client.ProcessCollector(registry=registry)
    metrics = prometheus_client.make_wsgi_app(registry)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            shown: Iterable[bytes] = metrics(environ, start_response)
            return shown
        reason = unhealthy(relay) if path == "/healthcheck" else "there are /metrics and /healthcheck"
        status = "404 Not Found" if path != "/healthcheck" else "503 Service Unavailable" if reason else "200 OK"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{reason or 'OK'}\n".encode()]

    server = make_server(address, port, app, _Server, _Handler)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server

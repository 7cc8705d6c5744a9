"""The relay's numbers for Prometheus, and its health, served over HTTP.

No counter goes back, which Prometheus would take for a restart from zero. Those of publishing are exposed once they are
in the checkpoint, together with the positions that they belong to; those of records while their journal is counted to
its end (see :mod:`imagefilter.relay.counting`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import prometheus_client
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from imagefilter.journal.files import Files
from imagefilter.journal.position import unread_bytes
from imagefilter.relay import counters
from imagefilter.relay.counters import Series
from imagefilter.relay.counting import Counting
from imagefilter.relay.loop import Relay
from imagefilter.request.action import ACTIONS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_TIMEOUT = 10.0  # seconds


class RelayCollector(Collector):
    """Exposes a relay's numbers; they are collected when somebody asks for them."""

    def __init__(self, relay: Relay, counting: Counting) -> None:
        self._relay = relay
        self._counting = counting
        self._files = {journal: Files(journal) for journal in relay.progress()}

    def collect(self) -> Iterator[Metric]:
        """Return all metrics."""
        counted = self._counting.counts()
        for metric in counters.OF_RECORDS:
            yield _counter_by_journal(metric, counted)
        for metric in counters.HISTOGRAMS:
            yield _histogram(metric, counted)
        yield self._behind()
        published = _complete(counters.initial_publishing(self._files), self._relay.saved_counts())
        for metric in counters.OF_PUBLISHING:
            yield _counter(metric, published)
        yield from self._journal_gauges()
        healthy = GaugeMetricFamily("imagefilter_relay_healthy", "Whether /healthcheck responds 200.")
        healthy.add_metric([], not why_unhealthy(self._relay, self._counting))
        yield healthy
        build = InfoMetricFamily("imagefilter_build", "The relay's version.")
        build.add_metric([], {"version": metadata.version("nova-imagefilter")})
        yield build

    def _behind(self) -> Metric:
        behind = GaugeMetricFamily(
            "imagefilter_counting_behind_seconds",
            "Seconds that the counts are behind the journal; above 10 the counters of this journal are absent.",
            labels=["journal"],
        )
        for journal, seconds in self._counting.behind().items():
            behind.add_metric([journal], seconds)
        return behind

    def _journal_gauges(self) -> Iterator[Metric]:
        lag = GaugeMetricFamily("imagefilter_relay_lag_bytes", "Bytes that are not published yet.", labels=["journal"])
        age = GaugeMetricFamily(
            "imagefilter_relay_lag_seconds", "Age of the oldest record that is not published yet.", labels=["journal"]
        )
        size = GaugeMetricFamily("imagefilter_journal_size_bytes", "Size of the journal.", labels=["journal"])
        for journal, progress in self._relay.progress().items():
            age.add_metric([journal], progress.lag_seconds)
            try:
                lag.add_metric([journal], unread_bytes(self._files[journal].all(), progress.position))
                size.add_metric([journal], os.stat(journal).st_size)
            except OSError:  # these two are then absent, and all others are exposed nevertheless
                continue
        yield from (lag, age, size)


def why_unhealthy(relay: Relay, counting: Counting) -> str:
    """Return why the relay is not healthy, or empty."""
    reasons = []
    if relay.last_error:
        reasons.append(relay.last_error)
    for journal, progress in relay.progress().items():
        lag = progress.lag_seconds
        if lag > relay.max_lag:
            reasons.append(f"{journal}: the oldest unpublished record is {lag:.0f} s old; max_lag is {relay.max_lag}")
        if progress.last_error:
            reasons.append(f"{journal}: {progress.last_error}")
    reasons += counting.errors()
    return "; ".join(reasons)


def serve(relay: Relay, counting: Counting, address: str, port: int) -> WSGIServer:
    """Serve ``/metrics`` and ``/healthcheck`` from a thread of its own.

    :raises OSError: if the address can't be listened on.
    """
    registry = prometheus_client.CollectorRegistry()
    registry.register(RelayCollector(relay, counting))
    prometheus_client.ProcessCollector(registry=registry)
    metrics = prometheus_client.make_wsgi_app(registry)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            exposed: Iterable[bytes] = metrics(environ, start_response)
            return exposed
        status, text = "404 Not Found", "there are /metrics and /healthcheck"
        if path == "/healthcheck":
            status, text = _check_health(relay, counting)
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]

    server = make_server(address, port, app, ThreadingWSGIServer, _Handler)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


class _Handler(WSGIRequestHandler):
    timeout = _TIMEOUT  # for clients that connect and send nothing

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: there would be a line for each scrape."""


def _check_health(relay: Relay, counting: Counting) -> tuple[str, str]:
    reason = why_unhealthy(relay, counting)
    if reason:
        return "503 Service Unavailable", reason
    return "200 OK", "OK"


def _complete(initial: Iterable[Series], counts: Mapping[Series, float]) -> dict[Series, float]:
    """Return counts with those that have not counted yet, in an order that stays."""
    completed = dict.fromkeys(initial, 0.0)
    completed.update(counts)
    return dict(sorted(completed.items()))


def _counter(metric: counters.Metric, counts: Mapping[Series, float]) -> Metric:
    family = CounterMetricFamily(f"imagefilter_{metric.name}", metric.help, labels=metric.labels)
    for series, count in counts.items():
        if series.metric == metric.name:
            family.add_metric(series.values, count)
    return family


def _counter_by_journal(metric: counters.Metric, counted: Mapping[str, Mapping[Series, float]]) -> Metric:
    labels = (*metric.labels, "journal")
    family = CounterMetricFamily(f"imagefilter_{metric.name}", metric.help, labels=labels)
    for journal, counts in counted.items():
        for series, count in _complete(counters.initial_records(), counts).items():
            if series.metric == metric.name:
                family.add_metric([*series.values, journal], count)
    return family


def _histogram(metric: counters.Metric, counted: Mapping[str, Mapping[Series, float]]) -> Metric:
    family = HistogramMetricFamily(f"imagefilter_{metric.name}", metric.help, labels=["action", "journal"])
    for journal, counts in counted.items():
        for action in (*ACTIONS, counters.UNKNOWN):
            buckets = _buckets(metric, action, counts)
            if buckets[-1][1]:
                seconds = counts.get(counters.sum_of(metric).series(action=action), 0.0)
                family.add_metric([action, journal], buckets, sum_value=seconds)
    return family


def _buckets(metric: counters.Metric, action: str, counts: Mapping[Series, float]) -> list[tuple[str, float]]:
    total = 0.0
    buckets = []
    for bound in counters.BUCKETS:
        total += counts.get(metric.series(action=action, le=bound), 0.0)
        buckets.append((bound, total))
    return buckets

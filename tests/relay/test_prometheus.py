"""The shipped alerts and dashboard, and the relay's numbers, in a real Prometheus."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.paths import DOCS, ETC
from tests.relay.broker import Broker
from tests.relay.fakes import Folder, free_port, record, relaying, until, write

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
DASHBOARD = json.loads((ETC / "grafana-dashboard.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]

#: Queries that return nothing before there is a day, or ten minutes, to compare with.
OF_THE_PAST = [query for query in QUERIES if re.match("imagefilter:refusals:usual", query)]

RULES_TESTS = sorted(Path(__file__).parent.glob("rules_*test.yml"))
EXEMPT = 'sum(imagefilter_requests_total{verdict="exempt"})'

needs_prometheus = pytest.mark.skipif(not PROMETHEUS or not PROMTOOL, reason="prometheus is not installed")


@needs_prometheus
def test_alerts_fire_when_they_should() -> None:
    done = subprocess.run([str(PROMTOOL), "test", "rules", *RULES_TESTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_its_runbook() -> None:
    rules = (ETC / "prometheus-rules.yml").read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    assert re.findall(r"runbook_url: docs/alerts.md#(\w+)", rules) == [name.lower() for name in alerts]
    assert re.findall(r"^## (\w+)$", (DOCS / "alerts.md").read_text(), re.MULTILINE) == alerts


def test_the_dashboard_shows_what_the_alerts_compare() -> None:
    recorded = set(re.findall(r"- record: (\S+)", (ETC / "prometheus-rules.yml").read_text()))
    shown = set(re.findall(r"imagefilter:[a-z0-9:]+", " ".join(QUERIES)))
    assert shown <= recorded
    assert len(OF_THE_PAST) == 2


class Prometheus:
    """A real Prometheus that scrapes a relay each second."""

    def __init__(self, folder: Path, relay: int) -> None:
        self.port = free_port()
        config = folder / "prometheus.yml"
        config.write_text(
            f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{ETC}/prometheus-rules.yml]\n"
            f"scrape_configs: [{{job_name: imagefilter, static_configs: [{{targets: ['127.0.0.1:{relay}']}}]}}]\n"
        )
        with open(folder / "prometheus.log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    str(PROMETHEUS),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={folder}/tsdb",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
            )

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Return the series that a query selects."""
        data = self.get("query?" + urllib.parse.urlencode({"query": query}))
        series: list[dict[str, Any]] = data["result"]
        return series

    def value(self, query: str) -> float:
        """Return the one value of a query; 0 if there is none yet."""
        [series] = self.ask(query) or [{"value": [0, "0"]}]
        return float(series["value"][1])

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=30) as response:
            return json.load(response)["data"]

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.ask("1"))
        return False

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def scraping(folder: Path, relay: int) -> Iterator[Prometheus]:
    """Run a Prometheus meanwhile."""
    prometheus = Prometheus(folder, relay)
    try:
        until(prometheus.is_ready)
        yield prometheus
    finally:
        prometheus.stop()


@needs_prometheus
def test_every_query_of_the_dashboard_returns_data(broker: Broker, make: Any, tmp_path: Path) -> None:
    port = free_port()
    folder, _ = make(broker.url(), listen_port=port)
    with scraping(tmp_path, port) as prometheus:
        with relaying(folder) as relay:
            until(lambda: prometheus.value("sum(up)") == 1)
            until(lambda: prometheus.ask("imagefilter_unrecorded_total"))  # what is written before is not counted
            rounds = write_until_all_have_data(prometheus, folder)
            until(lambda: prometheus.value(EXEMPT) == rounds)
            until(lambda: prometheus.value("sum(imagefilter_images_total)") == 2 * rounds)
            assert prometheus.value('sum(imagefilter_requests_total{verdict="deny"})') == rounds
            groups = prometheus.get("rules")["groups"]
            assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
            relay.kill()
        with relaying(folder) as relay:
            write(folder.journal, record(7, verdict="exempt"))
            until(lambda: prometheus.value(EXEMPT) == rounds + 1)
            assert prometheus.value("sum(resets(imagefilter_requests_total[5m]))") == 0
            assert relay.end() == 0


def write_until_all_have_data(prometheus: Prometheus, folder: Folder) -> int:
    """Write records of all kinds, some at a time, until every query of the dashboard returns data.

    :returns: how many times they were written.
    """
    without_data = set(QUERIES) - set(OF_THE_PAST)
    deadline = time.monotonic() + 300
    rounds = 0
    while without_data:
        assert time.monotonic() < deadline, without_data
        write(folder.journal, record(1), record(2, 1, seconds=0.2), record(3, 2), record(4, verdict="exempt"))
        write(folder.journal, record(5, 2, verdict="would_deny", mode="warn"), record(6, 1))
        rounds += 1
        time.sleep(1)  # the interval of scrapes
        without_data = {query for query in without_data if not has_data(prometheus, query)}
    return rounds


def has_data(prometheus: Prometheus, query: str) -> bool:
    query = query.replace("$__rate_interval", "1m").replace("$__range", "5m").replace("$instance", ".*")
    assert "$" not in query
    return any(series["value"][1] != "NaN" for series in prometheus.ask(query))

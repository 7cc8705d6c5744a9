"""The shipped alerts, dashboard and unit, beside the tests that run them and the page that explains them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from imagefilter.relay.counters import OF_PUBLISHING, OF_RECORDS
from tests.paths import DOCS, ETC, ROOT

ALERTS = (ETC / "prometheus-rules.yml").read_text()
SYSTEMD_ANALYZE = shutil.which("systemd-analyze")


def test_every_alert_is_tested() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", ALERTS))
    text = "".join(path.read_text() for path in (ROOT / "tests" / "relay").glob("rules_*test.yml"))
    assert len(alerts) == 11
    for alert in alerts:
        assert re.search(rf"alertname: {alert}\n +exp_alerts:\n", text), f"{alert} never fires in a test"
        assert re.search(rf"alertname: {alert}\n +exp_alerts: \[\]", text), f"{alert} is never quiet in a test"


def test_every_metric_is_on_the_page_and_queries_ask_for_no_other() -> None:
    page = (DOCS / "relay.md").read_text()
    dashboard = (ETC / "grafana-dashboard.json").read_text()
    known = set(re.findall(r"`(imagefilter_\w+)[{`]", page))
    assert {f"imagefilter_{metric.name}_total" for metric in (*OF_RECORDS, *OF_PUBLISHING)} <= known
    queries = ALERTS
    for panel in json.loads(dashboard)["panels"]:
        for target in panel["targets"]:
            queries += target["expr"]
    for name in re.findall(r"imagefilter_[a-z_]+", queries):
        assert re.sub("_(bucket|sum|count)$", "", name) in known, name


@pytest.mark.skipif(not SYSTEMD_ANALYZE, reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    # The program and the page need not be on this machine.
    text = (ETC / "imagefilter-relay.service").read_text().replace("/opt/imagefilter/bin/imagefilter", "/bin/true")
    unit = tmp_path / "imagefilter-relay.service"
    unit.write_text(text)
    command = [str(SYSTEMD_ANALYZE), "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert unit.name not in done.stderr, done.stderr

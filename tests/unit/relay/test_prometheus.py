"""The relay's numbers and its health, as it serves them."""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tenacity", reason="no tenacity in this virtualenv")
pytest.importorskip("prometheus_client", reason="no prometheus-client in this virtualenv")

from imagefilter.journal.position import Position
from imagefilter.relay import counting as counting_module
from imagefilter.relay import loop, prometheus
from imagefilter.relay.checkpoint import State
from imagefilter.relay.counting import Counting
from imagefilter.relay.progress import Progress
from tests.relay.fakes import NO_BUS, Folder, free_port, get, record, relaying, scrape, until, write
from tests.unit.relay.fakes import FakePublisher, counting_of, load_settings, run_once


@pytest.fixture
def serve() -> Iterator[Any]:
    """``serve(relay, counting)``: serve their numbers; return the port."""
    servers = []

    def serving(relay: loop.Relay, counting: Counting) -> int:
        servers.append(prometheus.serve(relay, counting, "127.0.0.1", 0))
        return servers[-1].server_port

    yield serving
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def counting(folder: Folder) -> Iterator[Counting]:
    """What counts the journal of the folder, which is empty yet."""
    with counting_of(folder.journal) as started:
        started.count_once()
        yield started


def test_exposes_what_was_counted(folder: Folder, serve: Any, counting: Counting) -> None:
    write(folder.journal, record(1), record(2, 1, seconds=0.3), record(3, 1, seconds=3), record(4, 2, unrecorded=7))
    write(folder.journal, record(5, 2, action="shelve", mode="warn", verdict="would_deny"))
    with open(folder.journal, "ab") as file:
        file.write(b'{"torn')
    write(folder.journal, record(6, 1, action="shelve"))
    _, relay = run_once(folder, FakePublisher())
    counting.count_once()
    samples = scrape(serve(relay, counting))
    journal = str(folder.journal)
    expected = {
        ("imagefilter_requests_total", "createImage", journal, "enforce", "", "allow"): 1,
        ("imagefilter_requests_total", "createImage", journal, "enforce", "name-required", "deny"): 1,
        ("imagefilter_requests_total", "shelve", journal, "warn", "name-required", "would_deny"): 1,
        ("imagefilter_images_total", "createImage", journal, "success"): 2,
        ("imagefilter_request_seconds_count", "createImage", journal): 2,
        ("imagefilter_request_seconds_sum", "createImage", journal): 3.3,
        ("imagefilter_request_seconds_bucket", "createImage", journal, "0.25"): 0,
        ("imagefilter_request_seconds_bucket", "createImage", journal, "0.5"): 1,
        ("imagefilter_request_seconds_bucket", "createImage", journal, "5.0"): 2,
        ("imagefilter_unrecorded_total", journal): 7,
        ("imagefilter_torn_total", journal): 1,
        ("imagefilter_relay_published_total", journal): 6,
        ("imagefilter_relay_retried_total",): 0,
        ("imagefilter_relay_lag_bytes", journal): 0,
        ("imagefilter_relay_lag_seconds", journal): 0,
        ("imagefilter_journal_size_bytes", journal): folder.journal.stat().st_size,
        ("imagefilter_relay_healthy",): 1,
        ("imagefilter_build_info", metadata.version("nova-imagefilter")): 1,
    }
    assert {name: samples.get(name) for name in expected} == expected
    assert 0 <= samples["imagefilter_counting_behind_seconds", journal] < counting_module.MAX_BEHIND
    assert "process_resident_memory_bytes" in {name[0] for name in samples}


def test_leaves_out_a_journal_that_the_counting_is_behind(folder: Folder, serve: Any, tmp_path: Path) -> None:
    """Caught up in one scrape, it would look like a surge. Other journals, and all gauges, are exposed as ever."""
    bad = tmp_path / "bad.jsonl"
    folder.set(NO_BUS, journals=f"{folder.journal}, {bad}")
    os.symlink(bad, bad)
    _, relay = run_once(folder, FakePublisher())
    with counting_of(folder.journal, bad) as counting:
        counting.count_once()
        samples = scrape(serve(relay, counting))
    assert ("imagefilter_unrecorded_total", str(folder.journal)) in samples
    of_bad = {name[0] for name in samples if str(bad) in name}
    assert of_bad == {
        "imagefilter_counting_behind_seconds",
        "imagefilter_relay_published_total",
        "imagefilter_relay_dead_lettered_total",
        "imagefilter_relay_lag_seconds",
    }


def test_serves_two_paths_and_no_other(folder: Folder, serve: Any, counting: Counting) -> None:
    _, relay = run_once(folder, FakePublisher())
    port = serve(relay, counting)
    assert get(port, "/healthcheck") == (200, "OK\n")
    assert get(port, "/metrics")[0] == 200
    assert get(port, "/") == (404, "there are /metrics and /healthcheck\n")


def test_is_unhealthy_when_a_journal_can_not_be_read(folder: Folder, serve: Any, counting: Counting) -> None:
    os.symlink(folder.journal, folder.journal)
    _, relay = run_once(folder, FakePublisher())
    port = serve(relay, counting)
    status, reason = get(port, "/healthcheck")
    assert status == 503
    assert "Too many levels of symbolic links" in reason
    samples = scrape(port)
    assert samples["imagefilter_relay_healthy",] == 0
    assert ("imagefilter_journal_size_bytes", str(folder.journal)) not in samples, "it can't be known"


def test_is_unhealthy_when_the_checkpoint_can_not_be_written(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, counting: Counting
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    write(folder.journal, record(1))
    monkeypatch.setattr(os, "replace", fail)
    is_done, relay = run_once(folder, FakePublisher())
    assert not is_done
    assert f"the checkpoint {folder.checkpoint} can't be written" in prometheus.why_unhealthy(relay, counting)
    assert relay.saved_counts() == {}


def test_is_unhealthy_when_the_counts_can_not_be_written(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, counting: Counting
) -> None:
    _, relay = run_once(folder, FakePublisher())

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    write(folder.journal, record(1))
    monkeypatch.setattr(os, "replace", fail)
    counting.count_once()
    assert "/counted.json can't be written: " in prometheus.why_unhealthy(relay, counting)


def test_is_unhealthy_when_the_lag_is_over_the_limit(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, counting: Counting
) -> None:
    relay = loop.Relay(load_settings(folder), State({}, {}), FakePublisher(), None)  # type: ignore[arg-type]
    since = 1000.0
    monkeypatch.setattr(relay, "progress", lambda: {"/j": Progress(Position(), since, "")})
    monkeypatch.setattr("time.time", lambda: since + relay.max_lag)
    assert prometheus.why_unhealthy(relay, counting) == ""
    monkeypatch.setattr("time.time", lambda: since + relay.max_lag + 1)
    assert prometheus.why_unhealthy(relay, counting) == "/j: the oldest unpublished record is 301 s old; max_lag is 300"


def test_a_relay_without_a_bus_counts(folder: Folder) -> None:
    """Metrics and alerts need no message bus; what is no record of imagefilter goes to the dead letters as ever."""
    port = free_port()
    folder.set("", listen_port=port)
    write(folder.journal, record(1))
    with relaying(folder) as relay:
        until(lambda: "imagefilter_requests_total" in {name[0] for name in scrape(port)})
        write(folder.journal, record(2), {"id": "x"})
        until(lambda: sum_of(scrape(port), "imagefilter_requests_total") == 1)
        assert sum_of(scrape(port), "imagefilter_relay_published_total") == 0
        assert get(port, "/healthcheck") == (200, "OK\n")
        until(folder.dead_letters.exists)
        assert relay.end() == 0
    assert "transport_url is not set: records are counted, and published nowhere" in folder.log.read_text()
    write(folder.journal, record(3))
    assert folder.run("--once")[0] == 0
    with relaying(folder) as relay:
        until(lambda: sum_of(scrape(port), "imagefilter_requests_total") == 2)
        assert relay.end() == 0


def test_counting_goes_on_while_a_publisher_hangs(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a night arrives in one scrape when the broker is back, and looks like a surge."""
    port = free_port()
    folder.set(NO_BUS, listen_port=port)
    monkeypatch.setattr("imagefilter.cli.relay._connect", lambda settings: HangingPublisher())
    with relaying(folder) as relay:
        until(lambda: sum_of(scrape(port), "imagefilter_counting_behind_seconds") > 0)
        for number in range(1, 4):
            write(folder.journal, record(number))
            until(lambda: sum_of(scrape(port), "imagefilter_requests_total") == number)  # noqa: B023
            time.sleep(0.1)
        assert sum_of(scrape(port), "imagefilter_relay_lag_seconds") > 0
        assert sum_of(scrape(port), "imagefilter_relay_published_total") == 0
        until(lambda: b"requests" in folder.counted.read_bytes())
        relay.kill()
    with relaying(folder) as relay:
        until(lambda: sum_of(scrape(port), "imagefilter_requests_total") == 3)
        assert relay.end() == 0


class HangingPublisher:
    """A bus that neither takes a record nor fails."""

    def publish(self, record: dict[str, Any]) -> None:
        threading.Event().wait()


def sum_of(samples: Mapping[Any, float], name: str) -> float:
    """Return the sum of a metric over all its labels."""
    return sum(value for key, value in samples.items() if key[0] == name)


@pytest.mark.skipif(not importlib.util.find_spec("oslo_messaging"), reason="no oslo.messaging in this virtualenv")
def test_a_running_relay_reports_its_lag(folder: Folder, tmp_path: Path) -> None:
    port = free_port()
    folder.set(NO_BUS, listen_port=port, max_lag=3600)
    old = record(1)
    old["eventTime"] = "2026-01-01T00:00:00.000000+00:00"
    with relaying(folder) as relay:
        until(lambda: scrape(port))
        assert get(port, "/healthcheck") == (200, "OK\n")
        write(folder.journal, old, record(2))
        until(lambda: get(port, "/healthcheck")[0] == 503)
        assert f"{folder.journal}: the oldest unpublished record is " in get(port, "/healthcheck")[1]
        samples = scrape(port)
        assert samples["imagefilter_relay_lag_seconds", str(folder.journal)] > 3600
        assert samples["imagefilter_relay_lag_bytes", str(folder.journal)] == folder.journal.stat().st_size
        assert samples["imagefilter_relay_healthy",] == 0
        until(lambda: scrape(port)["imagefilter_relay_retried_total",] > 0)
        assert get(port, "/")[0] == 404
        assert relay.end() == 0

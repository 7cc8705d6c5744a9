"""The relay without a bus: options, checkpoint, dead letters, numbers, health."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from imagefilter import checkpoint, metrics, policy, relay, relay_options
from imagefilter.checkpoint import Checkpoint, Count, State
from imagefilter.follow import Position
from imagefilter.metrics import Progress, counts_of
from imagefilter.notification import Bus, Refused
from imagefilter.policy import ConfigError
from imagefilter.records import event_type
from tests.relay.broker import free_port
from tests.relay.small import TOKEN, Folder, record, relaying, until, write

NOBODY = "rabbit://relay:broker-secret@127.0.0.1:1/"


class Publisher:
    """A bus in this process: it fails as it is told to."""

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)
        self.published: list[dict[str, Any]] = []

    def publish(self, record: dict[str, Any]) -> None:
        failure = self.failures.pop(0) if self.failures else None
        if failure:
            raise failure
        self.published.append(record)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(relay, "LONGEST_WAIT", 0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path, NOBODY)


def settings_of(folder: Folder) -> relay_options.Settings:
    return relay_options.load(str(folder.config))


def run_once(folder: Folder, publisher: Any) -> tuple[bool, relay.Relay]:
    saved = Checkpoint(str(folder.checkpoint))
    try:
        running = relay.Relay(settings_of(folder), checkpoint.read(str(folder.checkpoint)), publisher, saved)
        return running.run(once=True), running
    finally:
        saved.close()


def counts(folder: Folder) -> Mapping[Count, float]:
    return checkpoint.read(str(folder.checkpoint)).counts


# --- publishing


def test_what_is_published_once_is_not_published_again(folder: Folder) -> None:
    records = [record(n) for n in range(5)]
    write(folder.journal, *records[:3])
    assert run_once(folder, publisher := Publisher())[0]
    write(folder.journal, *records[3:])
    assert run_once(folder, publisher)[0]
    assert publisher.published == records


def test_a_bus_that_fails_is_tried_again_and_keeps_the_order(folder: Folder) -> None:
    records = [record(n) for n in range(3)]
    write(folder.journal, *records)
    publisher = Publisher(None, OSError("down"), RuntimeError("down"))
    assert run_once(folder, publisher)[0]
    assert publisher.published == records
    assert counts(folder)["relay_retried",] == 2


def test_once_gives_up_in_the_end_and_loses_nothing(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    write(folder.journal, record(1))
    publisher = Publisher(*[OSError("down")] * 100)
    assert not run_once(folder, publisher)[0]
    assert len(publisher.failures) == 95
    assert "given up" in caplog.text
    assert run_once(folder, publisher := Publisher())[0]
    assert len(publisher.published) == 1


def test_a_refused_record_goes_to_the_dead_letters_and_from_there_to_the_bus(folder: Folder) -> None:
    records = [record(n) for n in range(3)]
    write(folder.journal, *records)
    publisher = Publisher(None, *[Refused("too large", again=True)] * 5)
    assert not run_once(folder, publisher)[0]
    assert publisher.published == [records[0], records[2]]
    assert counts(folder)["relay_dead_lettered", str(folder.journal)] == 1
    folder.set(NOBODY, journals=folder.dead_letters)
    assert run_once(folder, publisher)[0]
    assert publisher.published[-1] == records[1]


def test_dead_letters_that_can_not_be_written_hold_everything_up(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder.journal, record(1), record(2))
    failures = iter([OSError("full"), OSError("full")])
    append = relay.journal.append

    def failing(path: str, line: bytes) -> None:
        for failure in failures:
            raise failure
        append(path, line)

    monkeypatch.setattr(relay.journal, "append", failing)
    publisher = Publisher(Refused("no", again=False))
    assert not run_once(folder, publisher)[0]
    assert len(folder.dead_letters.read_bytes().splitlines()) == 1
    assert len(publisher.published) == 1


def test_torn_lines_are_counted_once(folder: Folder) -> None:
    write(folder.journal, record(1))
    with open(folder.journal, "ab") as file:
        file.write(b'{"torn')
    for _ in range(2):
        assert run_once(folder, Publisher())[0], "it may be finished yet"
        assert ("relay_torn", str(folder.journal)) not in counts(folder)
    write(folder.journal, record(2))
    run_once(folder, publisher := Publisher())
    assert len(publisher.published) == 1
    assert counts(folder)["relay_torn", str(folder.journal)] == 1


def test_no_journal_keeps_another_waiting(folder: Folder, tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    folder.set(NOBODY, journals=f"{first}, {second}")
    for n in range(1000):
        write(first, record(n, which="first"))
    write(second, record(0, which="second"))
    run_once(folder, publisher := Publisher())
    where = [each["attachments"][0]["content"]["which"] for each in publisher.published]
    assert where.index("second") < 500
    assert len(where) == 1001


def test_a_journal_that_is_not_there_is_said_for_its_name_may_be_misspelt(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    assert run_once(folder, Publisher())[0]
    assert f"{folder.journal} is not there yet" in caplog.text


def test_a_journal_that_can_not_be_read_keeps_no_other_waiting(folder: Folder, tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    os.symlink(first, first)
    folder.set(NOBODY, journals=f"{first}, {second}")
    write(second, record(0))
    done, running = run_once(folder, publisher := Publisher())
    assert not done
    assert len(publisher.published) == 1
    assert "Too many levels of symbolic links" in metrics.unhealthy(running)


def test_a_message_has_what_is_in_the_journal_and_nothing_else(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = Bus(settings_of(folder))
    sent: list[Any] = []
    monkeypatch.setattr(bus._transport, "_send_notification", lambda *args, **kwargs: sent.append((args, kwargs)))
    one = record(1)
    bus.publish(one)
    [((target, context, message), options)] = sent
    assert target.topic == f"{folder.topic}.info"
    assert context == {}
    assert options == {"version": 2.0, "retry": 1}
    assert message.pop("timestamp")
    assert message == {
        "message_id": one["id"],
        "publisher_id": f"imagefilter.{socket.gethostname()}",
        "event_type": "imagefilter.createImage.allow",
        "priority": "INFO",
        "payload": one,
    }
    assert TOKEN not in repr(sent)


@pytest.mark.parametrize(
    "foreign",
    [
        {},
        {"id": "x", "attachments": []},
        {"id": "x", "attachments": None},
        {"attachments": [{"name": "imagefilter", "content": {"verdict": "allow"}}]},
        {"id": "x", "attachments": [{"name": "imagefilter", "content": {"verdict": "perhaps"}}]},
        {"id": "x", "attachments": [{"name": "imagefilter", "content": []}]},
    ],
)
def test_what_is_no_record_of_ours_is_a_dead_letter(folder: Folder, foreign: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="it is "):
        event_type(foreign)
    with pytest.raises(Refused) as caught:
        Bus(settings_of(folder)).publish(foreign)
    assert not caught.value.again


# --- the checkpoint


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = str(tmp_path / "relay.json")
    state = State(
        {"/a": Position("digest", 5, {"older": 7})}, {("requests", "createImage", "allow", "", "enforce"): 3.0}
    )
    Checkpoint(path).write(state)
    assert checkpoint.read(path) == state
    assert os.stat(path).st_mode & 0o777 == 0o640


def test_a_checkpoint_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: calls.append(name) or real(*args))
    Checkpoint(str(tmp_path / "relay.json")).write(State({}, {}))
    assert calls == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"version": 2}', '{"version": 1, "positions": 3}'])
def test_what_is_no_checkpoint_stops_the_relay(folder: Folder, content: str) -> None:
    """Beginning from nothing would send everything again: the operator's decision."""
    folder.checkpoint.write_text(content)
    status, said = folder.run("--once")
    assert status == 2
    assert f"{folder.checkpoint} is no checkpoint" in said
    assert folder.checkpoint.read_text() == content


def test_two_relays_can_not_have_one_checkpoint(folder: Folder) -> None:
    saved = Checkpoint(str(folder.checkpoint))
    status, said = folder.run("--once")
    saved.close()
    assert status == 2
    assert f"another relay uses the checkpoint {folder.checkpoint}" in said


def test_a_journal_that_is_not_followed_today_keeps_its_place(folder: Folder, tmp_path: Path) -> None:
    write(folder.journal, record(1))
    run_once(folder, Publisher())
    other = tmp_path / "b.jsonl"
    write(other, record(2))
    folder.set(NOBODY, journals=other)
    run_once(folder, Publisher())
    folder.set(NOBODY)
    run_once(folder, publisher := Publisher())
    assert publisher.published == []


# --- options


def load(tmp_path: Path, text: str, **options: Any) -> relay_options.Settings:
    path = tmp_path / "imagefilter.conf"
    path.write_text(text)
    return relay_options.load(str(path), **options)


GOOD = "[imagefilter_relay]\njournals = /a/b.jsonl\ntransport_url = rabbit://u:secret@h/\n"


def test_one_file_is_the_filters_and_the_relays(tmp_path: Path) -> None:
    text = "[DEFAULT]\ndebug = true\n[imagefilter]\nmode = warn\n[imagefilter:project:abc]\nmode = off\n" + GOOD
    settings = load(tmp_path, text)
    assert settings.journals == ["/a/b.jsonl"]
    loaded = policy.load({"oslo_config_file": str(tmp_path / "imagefilter.conf")})
    assert loaded.settings.mode == "warn"
    assert list(loaded.projects) == ["abc"]


@pytest.mark.parametrize(
    "section", ["imagefilter_realy", "imagefilter-relay", "Imagefilter_relay", "imagefilter_relay2"]
)
def test_a_misspelt_section_is_an_error_for_both(tmp_path: Path, section: str) -> None:
    text = f"{GOOD}[{section}]\ntopics = x\n"
    with pytest.raises(ConfigError, match="unknown section"):
        load(tmp_path, text)
    with pytest.raises(ConfigError, match="unknown section"):
        policy.load({"oslo_config_file": str(tmp_path / "imagefilter.conf")})


def test_all_errors_come_in_one_message_without_secrets(tmp_path: Path) -> None:
    text = "[imagefilter_relay]\nretrys = 3\nlisten_port = 99999\ncheckpoint = relay.json\ndriver = fax\ntopics =\n"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    place = f"section [imagefilter_relay] of {tmp_path}/imagefilter.conf"
    assert caught.value.errors[0] == f"unknown option 'retrys' in {place} (is it retries?)"
    for part in ("listen_port = 99999", "driver = fax", "relay.json is no absolute path", "no journal to follow"):
        assert any(part in each and place in each for each in caught.value.errors), part
    assert any("transport_url is not set" in each for each in caught.value.errors)


def test_a_url_that_can_not_be_used_is_told_without_its_password(folder: Folder) -> None:
    for url in ("nosuchbus://u:broker-secret@h/", "broker-secret"):
        folder.set(url)
        status, said = folder.run("--once")
        assert status == 2, said
        assert "transport_url" in said
        assert "broker-secret" not in said


def test_journals_on_the_command_line_win(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD, journals=["/c.jsonl", "/d.jsonl", "/c.jsonl"]).journals == ["/c.jsonl", "/d.jsonl"]


def test_without_options_it_says_what_it_needs() -> None:
    with pytest.raises(ConfigError) as caught:
        relay_options.load(None)
    assert [each.partition(":")[0] for each in caught.value.errors] == [
        "no journal to follow",
        "transport_url is not set (no config file is given)",
    ]
    assert relay_options.load(None, ["/a"], dry_run=True).journals == ["/a"]


def test_the_page_lists_every_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "relay.md").read_text()
    for option in relay_options.OPTIONS:
        assert f"| `{option.name}` |" in page


# --- the command


def test_dry_run_prints_and_keeps_nothing(folder: Folder) -> None:
    write(folder.journal, record(1), record(2, 1), record(3, 2))
    with open(folder.journal, "ab") as file:
        file.write(b'{"torn\n{"foreign": 1}\n')
    for _ in range(2):
        done = folder.command("--once", "--dry-run")
        assert done.returncode == 0
        lines = [line.split(" {", 1) for line in done.stdout.splitlines()]
        assert [name for name, _ in lines] == [
            "imagefilter.createImage.allow",
            "imagefilter.createImage.outcome",
            "imagefilter.createImage.deny",
            "torn",
            "dead-letter (it is no record of imagefilter's)",
        ]
        assert ["{" + rest for _, rest in lines] == folder.journal.read_text().splitlines()
    assert not folder.checkpoint.exists()


def test_dry_run_needs_no_library(folder: Folder) -> None:
    write(folder.journal, record(1))
    code = (
        "import sys\nsys.modules['oslo_messaging'] = sys.modules['prometheus_client'] = None\n"
        "from imagefilter.cli import app\nsys.exit(app.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "relay", "--once", "--config-file", str(folder.config)]
    done = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install '.[relay]'" in done.stderr


def test_once_without_a_bus_says_so(folder: Folder) -> None:
    write(folder.journal, record(1))
    folder.set(NOBODY, retries=1)
    status, said = folder.run("--once")
    assert status == 1
    assert "given up" in said
    assert "broker-secret" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to(folder: Folder, number: int) -> None:
    write(folder.journal, record(1))
    with relaying(folder) as running:
        until(lambda: "publishing failed" in folder.log.read_text())
        running.signal(number)
        assert running.wait() == 0
    assert "broker-secret" not in folder.log.read_text()


def test_an_address_that_is_taken_is_said(folder: Folder) -> None:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        folder.set(NOBODY, listen_port=listener.getsockname()[1])
        status, said = folder.run("--once")
    assert status == 2
    assert "Address already in use" in said
    assert "listen_port" in said


# --- numbers and health


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(text: str) -> dict[tuple[str, ...], float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[(sample.name, *sample.labels.values())] = sample.value
    return found


def test_what_is_counted(folder: Folder) -> None:
    write(folder.journal, record(1), record(2, 1, seconds=0.3), record(3, 1, seconds=3), record(4, 2, unrecorded=7))
    write(folder.journal, record(5, 2, action="shelve", mode="warn", verdict="would deny"))
    _, running = run_once(folder, Publisher())
    server = metrics.serve(running, "127.0.0.1", free_port())
    try:
        found = samples(get(server.server_port, "/metrics")[1])
    finally:
        server.shutdown()
        server.server_close()
    journal = str(folder.journal)
    expected = {
        ("imagefilter_requests_total", "createImage", "enforce", "", "allow"): 1,
        ("imagefilter_requests_total", "createImage", "enforce", "name-required", "deny"): 1,
        ("imagefilter_requests_total", "shelve", "warn", "name-required", "would deny"): 1,
        ("imagefilter_images_total", "createImage", "success"): 2,
        ("imagefilter_request_seconds_count", "createImage"): 2,
        ("imagefilter_request_seconds_sum", "createImage"): 3.3,
        ("imagefilter_request_seconds_bucket", "createImage", "0.25"): 0,
        ("imagefilter_request_seconds_bucket", "createImage", "0.5"): 1,
        ("imagefilter_request_seconds_bucket", "createImage", "5.0"): 2,
        ("imagefilter_unrecorded_total",): 7,
        ("imagefilter_relay_published_total", journal): 5,
        ("imagefilter_relay_retried_total",): 0,
        ("imagefilter_relay_lag_bytes", journal): 0,
        ("imagefilter_relay_lag_seconds", journal): 0,
        ("imagefilter_journal_size_bytes", journal): folder.journal.stat().st_size,
        ("imagefilter_relay_healthy",): 1,
        ("imagefilter_build_info", "0.1.0"): 1,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert "process_resident_memory_bytes" in {key[0] for key in found}


def test_labels_are_of_bounded_sets() -> None:
    """Else who writes into the journal could fill Prometheus; and nobody's id is a label."""
    strange = record(1, action="x" * 99, verdict="y", rule="z", mode={"a": 1}, unrecorded="many")
    assert list(counts_of(strange)) == [(("requests", "unknown", "unknown", "unknown", "unknown"), 1)]
    strange = record(1, 1, seconds="NaN", action=["createImage"])
    strange["outcome"] = "fine"
    assert list(counts_of(strange)) == [(("images", "unknown", "unknown"), 1)]
    assert list(counts_of({"attachments": 1})) == []


def test_counters_never_go_back_and_count_no_record_twice(folder: Folder) -> None:
    """Prometheus takes a counter that is less than before for one that began at zero again."""
    write(folder.journal, *[record(n) for n in range(10)])
    state = State({}, {})
    for _ in range(3):  # killed each time before its checkpoint
        running = relay.Relay(settings_of(folder), state, publisher := Publisher(), None)  # type: ignore[arg-type]
        running._save = lambda at_once, tries=0: None  # type: ignore[method-assign]
        running.run(once=True)
        assert len(publisher.published) == 10
        assert running.shown() == {}, "what is not kept is not shown"
    _, running = run_once(folder, Publisher())
    assert running.shown()["requests", "createImage", "allow", "", "enforce"] == 10
    write(folder.journal, record(10))
    _, running = run_once(folder, Publisher())
    assert running.shown()["requests", "createImage", "allow", "", "enforce"] == 11


def test_health_says_not_ready_when_the_lag_is_over_the_limit(folder: Folder) -> None:
    port = free_port()
    folder.set(NOBODY, listen_port=port, max_lag=3600)
    old = record(1)
    old["eventTime"] = "2026-01-01T00:00:00.000000+00:00"
    with relaying(folder) as running:
        until(lambda: reachable(port))
        assert get(port, "/healthcheck") == (200, "OK\n")
        write(folder.journal, old, record(2))
        until(lambda: get(port, "/healthcheck")[0] == 503)
        assert f"{folder.journal}: the oldest unpublished record is " in get(port, "/healthcheck")[1]
        found = samples(get(port, "/metrics")[1])
        assert found["imagefilter_relay_lag_seconds", str(folder.journal)] > 3600
        assert found["imagefilter_relay_lag_bytes", str(folder.journal)] == folder.journal.stat().st_size
        assert found["imagefilter_relay_healthy",] == 0
        until(lambda: samples(get(port, "/metrics")[1])["imagefilter_relay_retried_total",] > 0)
        assert get(port, "/")[0] == 404
        assert running.end() == 0


def reachable(port: int) -> bool:
    try:
        return bool(get(port, "/healthcheck"))
    except OSError:
        return False


def test_a_backlog_is_never_told_as_no_lag(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even between two records: an alert would begin anew each time that Prometheus came just then."""
    write(folder.journal, *[record(n) for n in range(20)])
    running = relay.Relay(settings_of(folder), State({}, {}), Publisher(), None)  # type: ignore[arg-type]
    seen: list[Any] = []
    running._save = lambda *args, **kwargs: seen.append(  # type: ignore[method-assign]
        running.progress()[str(folder.journal)].pending_since
    )
    running.run(once=True)
    assert None not in seen[:20]
    assert seen[-1] is None


def test_health_says_what_can_not_be_written(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder.journal, record(1))
    monkeypatch.setattr(os, "replace", lambda *args: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    done, running = run_once(folder, Publisher())
    assert not done
    assert f"the checkpoint {folder.checkpoint} can't be written" in metrics.unhealthy(running)
    assert running.shown() == {}


def test_a_progress_without_anything_pending_has_no_lag() -> None:
    assert metrics.lag_seconds(Progress(Position(), None, "")) == 0
    assert 9 < metrics.lag_seconds(Progress(Position(), time.time() - 10, "")) < 70
    assert json.dumps(Position())

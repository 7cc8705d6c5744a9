"""How fast the relay catches up: printing alone, and with a real RabbitMQ beside a bare loop of oslo.messaging."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Check, Table
from tests.relay import broker as broker_
from tests.relay.broker import Broker
from tests.relay.fakes import Folder, record

# Records of a run at the sizes of ``make bench``.
_PRINTED, _PUBLISHED = 200_000, 200

# Each line of standard input starts a turn; both print the seconds of a turn, without imports and connecting.
_BARE = """
import json, sys, time
import oslo_messaging
from oslo_config import cfg
url, topic, source = sys.argv[1:]
conf = cfg.ConfigOpts()
conf([], project="bare", default_config_files=[], default_config_dirs=[])
transport = oslo_messaging.get_notification_transport(conf, url=url)
conf.set_default("amqp_durable_queues", True, group="oslo_messaging_rabbit")
notifier = oslo_messaging.Notifier(transport, "imagefilter.bare", driver="messagingv2", topics=[topic], retry=1)
records = [json.loads(line) for line in open(source)]
for _ in sys.stdin:
    begin = time.perf_counter()
    for record in records:
        notifier.info({}, "imagefilter.createImage.allow", record)
    print(time.perf_counter() - begin, flush=True)
"""
_RELAY = """
import sys, time
from imagefilter.relay import checkpoint, loop, notifier, options
config, source = sys.argv[1:]
settings = options.load(config)
locked = checkpoint.Checkpoint(settings.checkpoint)
relay = loop.Relay(settings, checkpoint.read(settings.checkpoint), notifier.Notifier(settings), locked)
lines = open(source, "rb").read()
for _ in sys.stdin:
    with open(settings.journals[0], "ab") as journal:
        journal.write(lines)
    begin = time.perf_counter()
    assert relay.run(once=True)
    print(time.perf_counter() - begin, flush=True)
"""


def catching_up(rounds: int, span: float) -> Table:
    """Measure ``imagefilter relay --once --dry-run``: records a second of processor time, and memory."""
    count = max(2000, int(_PRINTED * _scale(rounds, span)))
    rows, rates, peaks = [], [], []
    command = [sys.executable, "-W", "ignore", "-m", "imagefilter.cli.app", "relay", "--once", "--dry-run"]
    for name, number in (("a tenth of them", count // 10), ("all of them", count)):
        with _folder(number) as folder:
            start, _ = _run([*command, "--journal", str(folder.path / "none.jsonl")])
            seconds, memory = _run([*command, "--config-file", str(folder.config)])
        rates.append(number / max(seconds - start, 1e-9))
        peaks.append(memory)
        rows.append([name, f"{rates[-1]:,.0f}", f"{memory:,.0f}"])
    return Table(
        "The relay catching up, printing to /dev/null",
        f"{count:,} records, from a journal in memory. The seconds are of processor time, without the start.",
        ["", "records/s", "peak memory, MB"],
        rows,
        [
            Check("records a second", rates[-1], 50_000, "records/s", least=True),
            Check("memory for ten times as many records", peaks[1] / peaks[0], 1.1, "times"),
        ],
    )


def publishing(rounds: int, span: float) -> Table:
    """Measure the relay with a real RabbitMQ, beside a loop of oslo.messaging's own notifier, turn by turn."""
    count = max(20, int(_PUBLISHED * _scale(rounds, span)))
    least = {"imagefilter relay": 0.0, "bare oslo.messaging loop": 0.0}
    if not broker_.why_missing():
        turns = 2
        if rounds > 1:
            turns = 31
        least = dict(zip(least, _publish(count, turns)))
    rates = dict.fromkeys(least, 0.0)
    for name, seconds in least.items():
        if seconds:
            rates[name] = count / seconds
    ratio = rates["imagefilter relay"] / (rates["bare oslo.messaging loop"] or 1)
    return Table(
        "The relay publishing to RabbitMQ",
        f"The best of several turns of {count:,} records. Both wait until a durable queue has confirmed a record; the "
        "bare loop reads no journal, keeps no checkpoint, and counts nothing. RabbitMQ's data is in memory. (0: it is "
        "not installed.)",
        ["", "records/s"],
        [[name, f"{rate:,.0f}"] for name, rate in rates.items()],
        [Check("the relay beside the bare loop", ratio, 0.8, "times", least=True)],
    )


def _scale(rounds: int, span: float) -> float:
    """Return the share of the records to measure with: all of them at the sizes of ``make bench``."""
    return min(1.0, rounds * span / 0.16)


def _publish(count: int, turns: int) -> list[float]:
    """Return the least seconds of the relay's turns, and of the bare loop's."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as data:
        broker = Broker(Path(data, "rabbitmq"))
        try:
            broker.start()
            with _folder(count, broker.url()) as folder, contextlib.ExitStack() as stack:
                source = folder.journal.rename(folder.path / "source")
                relay = stack.enter_context(_taking_turns(_RELAY, folder.config, source))
                bare = stack.enter_context(_taking_turns(_BARE, broker.url(), f"{folder.topic}-bare", source))
                seconds = [(_turn(relay), _turn(bare)) for _ in range(turns)]
        finally:
            broker.stop()
    return [min(times) for times in zip(*seconds[1:])]  # the first ones connect


@contextlib.contextmanager
def _taking_turns(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        yield process
        process.communicate()


def _turn(process: subprocess.Popen[str]) -> float:
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def _run(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds of processor time, and its peak memory in MB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


@contextlib.contextmanager
def _folder(count: int, url: str = "") -> Iterator[Folder]:
    """Make the files of a host in memory, with a journal of so many records."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        folder = Folder(Path(path), url)
        templates = [record(0, template) for template in (0, 1, 0, 1, 2)]
        lines = [json.dumps(template, separators=(",", ":")) + "\n" for template in templates]
        ids = [template["id"] for template in templates]
        with open(folder.journal, "w", encoding="ascii") as file:
            for n in range(count):
                file.write(lines[n % 5].replace(ids[n % 5], f"{n:08d}{ids[n % 5][8:]}", 1))
        yield folder

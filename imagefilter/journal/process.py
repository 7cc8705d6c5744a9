"""Which process it is: its id is used again after it has ended, and in each container."""

from __future__ import annotations

import os
from typing import NamedTuple

# How far apart two readings of the same start can be, in seconds: the kernel adds it to the time of boot, which moves
# with the clock.
_TOLERANCE = 2.0


class Process(NamedTuple):
    """A process of some host."""

    pid: int
    started: float | None  # seconds since 1970; None where /proc does not say
    namespace: str | None  # in which the id counts


def describe_process() -> Process:
    """Return which process this is."""
    return Process(os.getpid(), _read_start("self"), _read_namespace())


def is_running(process: Process) -> bool | None:
    """Return whether a process of this host still runs; None if that can't be known from here."""
    if process.started is None or process.namespace is None or process.namespace != _read_namespace():
        return None
    started = _read_start(str(process.pid))
    return started is not None and abs(started - process.started) < _TOLERANCE


def _read_start(pid: str) -> float | None:
    """Return when a process started, by proc(5)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        with open("/proc/stat", encoding="ascii") as file:
            [boot] = [int(line.split()[1]) for line in file if line.startswith("btime ")]
    except (OSError, ValueError, IndexError):
        return None
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def _read_namespace() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None

"""What the relay would publish, printed: without a bus, and without keeping anything."""

from __future__ import annotations

import time
from typing import IO

from imagefilter import checkpoint
from imagefilter.follow import Follower, Line
from imagefilter.records import event_type
from imagefilter.relay_options import Settings

_POLL = 0.5


def dry_run(settings: Settings, out: IO[bytes], once: bool) -> None:
    """Print each record behind its event type, from the checkpoint on.

    :raises OSError, ValueError: if the checkpoint or a journal can't be read.
    """
    positions = checkpoint.read(settings.checkpoint).positions
    followers = [Follower(path, positions.get(path)) for path in settings.journals]
    while True:
        for follower in followers:
            for line in follower.read(once):
                out.write(b"%s %s\n" % (_name(line).encode(), line.raw))
        out.flush()
        if once:
            return
        time.sleep(_POLL)


def _name(line: Line) -> str:
    if line.record is None:
        return "torn"
    try:
        return event_type(line.record)
    except ValueError as error:
        return f"dead-letter ({error})"

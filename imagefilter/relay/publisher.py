"""Where records are published to: a protocol, and the dry run, which prints them instead."""

from __future__ import annotations

from typing import IO, Any, Protocol

from imagefilter.journal.follow import follow
from imagefilter.journal.follower import Follower, Line
from imagefilter.journal.record import CONFIGURE, is_configuration, read_content
from imagefilter.relay import checkpoint
from imagefilter.relay.counters import VERDICTS, read_action
from imagefilter.relay.options import Settings

_POLL_SECONDS = 0.5


class Refused(Exception):
    """This record can't be published, though others can; ``again``: it may be worth another try."""

    def __init__(self, reason: str, again: bool) -> None:
        super().__init__(reason)
        self.again = again


class Publisher(Protocol):
    """A message bus, as the relay uses it."""

    def publish(self, record: dict[str, Any]) -> None:
        """Publish one record and return once the bus has confirmed it.

        :raises Refused: if the bus won't accept this record.
        :raises Exception: for any other failure: it is worth another try.
        """


class NoBus:
    """Stands in for a bus where none is configured: records are counted, and go nowhere."""

    def publish(self, record: dict[str, Any]) -> None:
        """Accept a record.

        :raises Refused: if it is not a record of imagefilter.
        """
        try:
            name_event(record)
        except ValueError as error:
            raise Refused(str(error), again=False) from None

    def close(self) -> None:
        """Close nothing."""


def name_event(record: dict[str, Any]) -> str:
    """Return the event type of a record: ``imagefilter.<action>.allow|deny|would_deny|exempt|outcome``.

    That of a process's policy is ``imagefilter.configure``.

    :raises ValueError: if it is not a record of imagefilter.
    """
    content = read_content(record)
    if is_configuration(record):
        return f"imagefilter.{CONFIGURE}"
    subject = content.get("verdict")
    if "verdict_id" in content:
        subject = "outcome"
    elif subject not in VERDICTS:
        raise ValueError("neither a verdict nor an outcome")
    return f"imagefilter.{read_action(content)}.{subject}"


def dry_run(settings: Settings, out: IO[bytes], once: bool) -> None:
    """Print each record after its event type, from the checkpoint on; nothing is published and nothing is kept.

    :raises OSError: if the checkpoint or a journal can't be read.
    :raises ValueError: if the checkpoint is damaged.
    """
    positions = checkpoint.read(settings.checkpoint).positions
    followers = [Follower(path, positions.get(path)) for path in settings.journals]
    for item in follow(followers, _POLL_SECONDS, once):
        if item is None:
            out.flush()
        else:
            _, line = item
            out.write(b"%s %s\n" % (_name_line(line).encode(), line.raw))


def _name_line(line: Line) -> str:
    if line.record is None:
        return "torn"
    try:
        return name_event(line.record)
    except ValueError as error:
        return f"dead-letter ({error})"

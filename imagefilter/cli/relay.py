"""``imagefilter relay``: send the records of audit journals to a message bus, and their numbers to Prometheus."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from typing import Any

from cliff.command import Command

from imagefilter.cli._output import describe_missing
from imagefilter.policy.config import ConfigError
from imagefilter.policy.options import RELAY_GROUP
from imagefilter.relay import checkpoint
from imagefilter.relay.counted_file import CountedFile
from imagefilter.relay.counting import Counting
from imagefilter.relay.options import Settings, load
from imagefilter.relay.publisher import NoBus, dry_run

LOG = logging.getLogger(__name__)

_EPILOG = """
Exit status: 0 a signal ended the relay (SIGTERM, SIGINT), or with --once all records are published; 1 only with --once:
records are left because the bus or a journal can't be reached, or a record went to the dead letters; 2 the relay could
not start because of its options, the checkpoint, the address, or a missing library.
"""


class Relay(Command):
    """Publish the records of audit journals as oslo.messaging notifications, and serve their numbers to Prometheus.

    Without a transport_url the relay only counts the records.

    Each record becomes a notification imagefilter.ACTION.allow|deny|would_deny|exempt|outcome with the CADF event as
    its payload. The relay publishes each record at least once, and those of a journal in their order. If it publishes a
    record twice, both have the same message_id. The checkpoint stores what was published, so you may stop or kill the
    relay at any time.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.epilog = _EPILOG
        help_ = "journal to follow, instead of those in the config file; need not exist yet; may be repeated"
        parser.add_argument("--journal", metavar="FILE", action="append", default=[], help=help_)
        help_ = f"config file with a section [{RELAY_GROUP}]; may be the filter's own file, or nova.conf"
        parser.add_argument("--config-file", metavar="FILE", help=help_)
        parser.add_argument("--once", action="store_true", help="publish all records that there are, then end")
        help_ = "print the event type and the record of each notification; publish nothing, and store nothing"
        parser.add_argument("--dry-run", action="store_true", help=help_)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        try:
            settings = load(parsed_args.config_file, parsed_args.journal, parsed_args.dry_run)
            if parsed_args.dry_run:
                return _print(settings, parsed_args.once)
            return _relay(settings, parsed_args.once)
        except ConfigError as error:
            self._fail(*error.errors)
        except ImportError as error:
            self._fail(describe_missing(error, "relay"))
        except (OSError, ValueError) as error:
            self._fail(str(error))
        return 2

    def _fail(self, *errors: str) -> None:
        for error in errors:
            self.app.stderr.write(f"error: {error}\n")


def _print(settings: Settings, once: bool) -> int:
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        dry_run(settings, sys.stdout.buffer, once)
    return 0


def _connect(settings: Settings) -> Any:
    if not settings.transport_url:
        LOG.info("transport_url is not set: records are counted, and published nowhere")
        return NoBus()
    from imagefilter.relay.notifier import Notifier  # noqa: PLC0415  # needs oslo.messaging

    return Notifier(settings)


def _relay(settings: Settings, once: bool) -> int:
    state = checkpoint.read(settings.checkpoint)
    locked = checkpoint.Checkpoint(settings.checkpoint)
    # These need libraries that the dry run does without.
    from imagefilter.relay import loop  # noqa: PLC0415

    bus = _connect(settings)
    counting = _prepare_counting(settings)
    relay = loop.Relay(settings, state, bus, locked)
    _serve(settings, relay, counting)
    loop.stop_on_signals()
    LOG.info("the relay follows %s", ", ".join(settings.journals))
    try:
        is_done = _publish_and_count(relay, counting, once)
    except loop.Stop:
        LOG.info("a signal ended the relay")
        return 0
    bus.close()
    if is_done:
        return 0
    return 1


def _prepare_counting(settings: Settings) -> Counting:
    file = CountedFile(settings.counted_file)
    return Counting(settings.journals, file, file.read())


def _serve(settings: Settings, relay: Any, counting: Counting) -> None:
    if not settings.listen_port:
        return
    from imagefilter.relay import prometheus  # noqa: PLC0415  # needs prometheus-client

    address, port = settings.listen_address, settings.listen_port
    try:
        prometheus.serve(relay, counting, address, port)
    except OSError as error:
        raise OSError(f"listen_address = {address}, listen_port = {port}: {error}") from None


def _publish_and_count(relay: Any, counting: Counting, once: bool) -> bool:
    if not once:
        counting.start()
    try:
        is_done: bool = relay.run(once)
    finally:
        if once:
            counting.count_once()
        counting.save()
    return is_done

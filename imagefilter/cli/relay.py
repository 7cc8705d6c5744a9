"""``imagefilter relay``: ship the records of the audit journals to a message bus, and their numbers to Prometheus."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys

from cliff.command import Command

from imagefilter import checkpoint
from imagefilter.dryrun import dry_run
from imagefilter.policy import ConfigError
from imagefilter.relay_options import Settings, load
from imagefilter.sources import RELAY_GROUP

LOG = logging.getLogger(__name__)

_EPILOG = """
Exit status: 0 it was told to end (SIGTERM, SIGINT), or with --once everything is published; 1 with --once: something is
left, for the bus or a journal can't be had, or went to the dead letters; 2 it could not start: the options, the
checkpoint, the address, or a library that is missing.
"""


class Relay(Command):
    """Publish the records of audit journals as oslo.messaging notifications, and serve their numbers to Prometheus.

    Each record becomes a notification imagefilter.ACTION.allow|deny|would_deny|exempt|outcome with the CADF event as
    its payload: at least once, in order per journal; one that comes twice has the same message_id. What was published
    is kept in the checkpoint, so the relay may be stopped, or die, at any time.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.epilog = _EPILOG
        help_ = "a journal to follow, instead of those in the config file (again); it need not be there yet"
        parser.add_argument("--journal", metavar="FILE", action="append", default=[], help=help_)
        help_ = f"a file with a section [{RELAY_GROUP}], which may be the filter's own file, or nova.conf"
        parser.add_argument("--config-file", metavar="FILE", help=help_)
        parser.add_argument("--once", action="store_true", help="publish what there is, then end")
        help_ = "print what would be published, each record behind its event type; nothing is published or kept"
        parser.add_argument("--dry-run", action="store_true", help=help_)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        try:
            settings = load(parsed_args.config_file, parsed_args.journal, parsed_args.dry_run)
            if parsed_args.dry_run:
                return self._dry_run(settings, parsed_args.once)
            return self._relay(settings, parsed_args.once)
        except ConfigError as error:
            for each in error.errors:
                self.app.stderr.write(f"error: {each}\n")
        except ImportError as error:
            self.app.stderr.write(
                f"error: the relay needs a library: {error}. In a clone of imagefilter: pip install '.[relay]'\n"
            )
        except (OSError, ValueError) as error:
            self.app.stderr.write(f"error: {error}\n")
        return 2

    def _dry_run(self, settings: Settings, once: bool) -> int:
        with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
            dry_run(settings, sys.stdout.buffer, once)
        return 0

    def _relay(self, settings: Settings, once: bool) -> int:
        from imagefilter import metrics, notification, relay  # noqa: PLC0415

        state = checkpoint.read(settings.checkpoint)
        saved = checkpoint.Checkpoint(settings.checkpoint)
        bus = notification.Bus(settings)
        running = relay.Relay(settings, state, bus, saved)
        if settings.listen_port:
            address = (settings.listen_address, settings.listen_port)
            try:
                metrics.serve(running, *address)
            except OSError as error:
                raise OSError("listen_address = {}, listen_port = {}: {}".format(*address, error)) from None
        relay.stop_on_signals()
        LOG.info("the relay follows %s", ", ".join(settings.journals))
        try:
            done = running.run(once)
        except relay.Stop:
            LOG.info("the relay was told to end")
            return 0
        bus.close()
        return 0 if done else 1

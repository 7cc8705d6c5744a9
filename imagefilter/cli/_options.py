"""Options that commands share: a config file, journals, and answers to lookups."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

from imagefilter.cli._numbers import parse_count, parse_quota
from imagefilter.cli._output import fail
from imagefilter.policy.config import ConfigError
from imagefilter.policy.limits import Limits
from imagefilter.policy.policy import Policy
from imagefilter.rules.case import LockState, LookupFailed, Quota, ServerFacts, Usage
from imagefilter.rules.table import load_policy

DEFAULT_CONFIG = "/etc/imagefilter/imagefilter.conf"


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=DEFAULT_CONFIG,
        help=f"config file with a section [imagefilter]; may be nova.conf (default: {DEFAULT_CONFIG})",
    )


def add_journal(parser: argparse.ArgumentParser) -> None:
    """Add ``--journal``."""
    parser.add_argument(
        "--journal",
        metavar="FILE",
        action="append",
        default=[],
        help="journal to read, with its rotated files, gzipped or not; may be repeated"
        " (default: audit_journal in the file of --config)",
    )


def add_quota(parser: argparse.ArgumentParser) -> None:
    """Add ``--quota``."""
    parser.add_argument(
        "--quota",
        metavar="N",
        type=parse_quota,
        default=128,
        help="the quota of metadata items in the compute API, for metadata_items_source = compute (default: 128)",
    )


def add_limit(parser: argparse.ArgumentParser, default: int = 50) -> None:
    """Add ``--limit``."""
    help_text = f"list only the newest N (default: {default}); 0 lists all"
    parser.add_argument("--limit", metavar="N", type=parse_count, default=default, help=help_text)


class FixedLookups(NamedTuple):
    """Lookups for :mod:`imagefilter.rules` that return what the operator gave on the command line, or a record has."""

    quota: int
    applying: Limits
    counts: Usage = Usage()
    quotas: Mapping[str, Quota] = {}
    facts: ServerFacts | None = None
    time: datetime.datetime | None = None

    def metadata_items(self) -> int:
        """Return the quota."""
        return self.quota

    def limits(self) -> Limits:
        """Return the limits that apply."""
        return self.applying

    def lock(self) -> LockState:
        """Return that the lock is held: nobody else asks."""
        return LockState.HELD

    def usage(self) -> Usage:
        """Return the counts."""
        return self.counts

    def server(self) -> ServerFacts:
        """Return what is known of the server."""
        if self.facts is None:
            raise LookupFailed("nothing says what the server is: give it with --server or --server-id")
        return self.facts

    def now(self) -> datetime.datetime:
        """Return the time of the request."""
        return self.time or datetime.datetime.now(datetime.timezone.utc)

    def image_quota(self) -> Mapping[str, Quota]:
        """Return the image API's quotas."""
        return self.quotas

    def count_rotated_out(self) -> int | None:
        """Return that no backup is rotated out."""
        return 0


def load_config(path: str) -> Policy:
    """Load the policy of a config file alone; end the program with all errors and exit status 2 if it has any."""
    try:
        return load_policy({"oslo_config_file": path})
    except ConfigError as error:
        sys.stderr.writelines(f"error: {message}\n" for message in error.errors)
        raise SystemExit(2) from None


def find_journals(args: argparse.Namespace) -> list[str]:
    """Return the paths of the journals to read; end the program with exit status 2 if none is configured."""
    if args.journal:
        return list(dict.fromkeys(map(os.path.abspath, args.journal)))
    if not os.path.exists(args.config):
        fail(f"config file {args.config} does not exist; name another (--config FILE) or a journal (--journal FILE)")
    journal = load_config(args.config).audit_journal
    if journal is None:
        fail(f"audit_journal is not set in {args.config}; name a journal (--journal FILE)")
    return [journal]


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Add the option that makes warnings count."""
    parser.add_argument("--strict", action="store_true", help="exit with status 1 if there are warnings")

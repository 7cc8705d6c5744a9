"""``imagefilter reap``: list images of servers that have expired, and delete them."""

from __future__ import annotations

import argparse
import collections
import datetime
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from imagefilter.cli._base import StatusLister
from imagefilter.cli._clouds import Login, ProgressMeter, add_cloud, log_in
from imagefilter.cli._durations import parse_duration
from imagefilter.cli._numbers import parse_count
from imagefilter.cli._output import fail, printable, printable_rows
from imagefilter.housekeeping.cloud import AskFailed
from imagefilter.housekeeping.decision import Kind, Terms
from imagefilter.housekeeping.deletions import Journal
from imagefilter.housekeeping.reaper import Decision, Options, Reaper, Row
from imagefilter.journal import writer

DEFAULT_JOURNAL = "/var/lib/imagefilter-reap/reap.jsonl"

_COLUMNS = ("Decision", "Reason", "Kind", "Project", "Server", "Image", "Name", "Created", "Expires", "Volume Snapshot")
_SHORTEST = datetime.timedelta(hours=1)  # a host may take so long to begin


class Reap(StatusLister):
    """List images of servers that have expired, as an administrator of the cloud; delete them with --delete.

    An image has expired if the time in its property imagefilter_expires has passed. The command deletes an image only
    if the filter stamped it when it was made, and if nothing needs it: see docs/housekeeping.md. Without --delete the
    command looks up and decides the same, and deletes nothing. Exit status: 0 done, 1 something could not be looked up
    or deleted, 2 the command could not begin, or ended early because a record could not be written.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_cloud(parser)
        help_text = "delete the images, and record each deletion in the journal"
        parser.add_argument("--delete", action="store_true", help=help_text)
        help_text = f"journal for the deletions; not the filter's own (default: {DEFAULT_JOURNAL})"
        parser.add_argument("--journal", metavar="FILE", default=DEFAULT_JOURNAL, help=help_text)
        help_text = "include orphans: images of servers that wait for their data although no host is making them"
        parser.add_argument("--orphans", action="store_true", help=help_text)
        help_text = "how long an image must have waited to be an orphan: 24h, 7d, 2w; at least 1h (default: 24h)"
        parser.add_argument("--older", metavar="TIME", type=_parse_older, default="24h", help=help_text)
        help_text = "also delete the volume snapshots that a deleted image consists of"
        parser.add_argument("--with-volume-snapshots", action="store_true", help=help_text)
        help_text = "lock_lease in the filter's config: how long after its stamp an image may be made (default: 300)"
        parser.add_argument("--lock-lease", metavar="SECONDS", type=parse_count, default=300, help=help_text)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        if parsed_args.delete:
            _check_journal(parsed_args.journal)
        rows = list(_reap(log_in(parsed_args), parsed_args))
        if any(row.decision is Decision.FAILED for row in rows):
            self.status = 1
        _report(rows, parsed_args.delete)
        return _COLUMNS, printable_rows(map(_cells, rows), parsed_args, "images that have expired")


def _parse_older(text: str) -> datetime.timedelta:
    older = parse_duration(text)
    if older < _SHORTEST:
        raise argparse.ArgumentTypeError("a host may take an hour to begin: name a longer time")
    return older


def _check_journal(path: str) -> None:
    reason = writer.why_unusable(path)
    if reason:
        fail(f"--journal {path}: {reason}; nothing is deleted without a record")


def _reap(login: Login, args: argparse.Namespace) -> Iterator[Row]:
    terms = Terms(
        now=datetime.datetime.now(datetime.timezone.utc),
        lock_lease=datetime.timedelta(seconds=args.lock_lease),
        older=args.older,
    )
    kinds = (Kind.EXPIRED, Kind.ORPHAN)[: 1 + args.orphans]
    options = Options(kinds=kinds, delete=args.delete, with_volume_snapshots=args.with_volume_snapshots)
    reaper = Reaper(login.cloud, terms, options, Journal(args.journal, login.access))
    try:
        for row in reaper.run(ProgressMeter()):
            if args.delete:
                sys.stderr.write(f"{_sentence(row)}\n")
            yield row
    except AskFailed as error:
        fail(f"{error}; nothing was deleted")
    except OSError as error:
        fail(f"--journal {args.journal}: {error}; the run ended before its next deletion")


def _sentence(row: Row) -> str:
    what = f"image {row.image.id}"
    if row.volume_snapshot:
        what = f"volume snapshot {row.volume_snapshot} of {what}"
    return str(printable(_with_reason(f"{row.decision.value}: {what}", row.reason)))


def _with_reason(text: str, reason: str) -> str:
    if reason:
        return f"{text}: {reason}"
    return text


def _cells(row: Row) -> tuple[Any, ...]:
    image = row.image
    return (
        row.decision.value,
        row.reason,
        row.kind.value,
        image.owner,
        image.counts_for,
        image.id,
        image.name,
        _format_time(image.created_at),
        _format_time(image.expires),
        row.volume_snapshot or ", ".join(image.volume_snapshots),
    )


def _format_time(time: datetime.datetime | None) -> str:
    if time is None:
        return ""
    return time.astimezone(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _report(rows: Iterable[Row], delete: bool) -> None:
    """Write what became of how many; why one failed is in its own row."""
    counts: collections.Counter[str] = collections.Counter()
    for row in rows:
        reason = row.reason
        if row.decision is Decision.FAILED:
            reason = "see its row, and try again"
        counts[_with_reason(row.decision.value, reason)] += 1
    for text, count in sorted(counts.items()):
        sys.stderr.write(f"{count} {text}\n")
    if not delete:
        sys.stderr.write("nothing was deleted: --delete deletes\n")

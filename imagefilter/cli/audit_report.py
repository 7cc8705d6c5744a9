"""``imagefilter audit report``: image actions as one page of HTML."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator
from typing import TextIO

from imagefilter.cli import _journals, _report_counts, _report_rows
from imagefilter.cli._base import OwnCommand
from imagefilter.cli._filters import add_filters
from imagefilter.cli._options import add_config, add_journal, add_limit, find_journals
from imagefilter.cli._output import fail, printable
from imagefilter.cli._report_counts import REFUSALS, VERDICTS, Counts
from imagefilter.cli._report_page import Content, Heading, Tile, render
from imagefilter.cli._report_time import count_over_time
from imagefilter.journal.history import History
from imagefilter.rules.engine import Decision

_MAX_ROWS = 500

# The filter options that the heading names, besides the period.
_FILTERS = {
    "verdict": "Verdict",
    "rule": "Rule",
    "action": "Action",
    "project": "Project",
    "user": "User",
    "server": "Server",
    "image": "Image name",
    "image_id": "Image ID",
}


class AuditReport(OwnCommand):
    """Write a report about image actions: one HTML file that needs no network.

    The page shows verdicts over time, the projects and users with the most requests, and the rules that refuse the
    most. A table, which you can search and sort, lists the newest requests that were or would be refused; if there are
    none, it lists the newest of all. The heading names the period and the filters. You can print the page on A4 paper.
    Its file mode is 0600, since it contains names and ids of users and projects. Exit status: 0 all was read, 1
    something was left out, 2 a journal can't be read or the page can't be written.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_config(parser)
        add_journal(parser)
        add_filters(parser)
        add_limit(parser, _MAX_ROWS)
        parser.add_argument("--html", metavar="FILE", required=True, help="file to write the page to")
        parser.add_argument(
            "--csv",
            metavar="FILE",
            help="also write all requests that the filters choose to this file, as CSV for spreadsheets; the page links"
            " to it if both are in the same directory (default: no CSV file)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        _check_targets(parsed_args)
        left_out = _journals.LeftOut()
        history = _journals.load_history(parsed_args, _report_rows.LOADED, left_out)
        heading = _write_heading(history, parsed_args, left_out)
        page = render(heading, _collect(history, parsed_args))
        with _create(parsed_args.html, "utf-8") as file:
            file.write(page)
        if parsed_args.csv:
            with _create(parsed_args.csv, "utf-8-sig") as file:  # without the mark Excel takes it for Latin-1
                _report_rows.write_csv(history, file)
        return left_out.finish()


def _check_targets(args: argparse.Namespace) -> None:
    """End the program with exit status 2 if the files can't be written, before journals are read."""
    paths = [path for path in (args.html, args.csv) if path]
    journals = list(map(os.path.realpath, find_journals(args)))
    for path in paths:
        if os.path.exists(path) and not os.path.isfile(path):
            fail(f"{path} can't be written: it is not a regular file")
        if os.path.realpath(path) in journals:
            fail(f"{path} can't be written: it is a journal")
    if len(set(map(os.path.realpath, paths))) < len(paths):
        fail("--html and --csv name the same file")


def _collect(history: History, args: argparse.Namespace) -> Content | None:
    """Return the content of the page; None if there are no requests."""
    counts = _report_counts.count_all(history)
    if not counts.total:
        return None
    return Content(
        tiles=_make_tiles(history, args, counts),
        counts=counts,
        chart=count_over_time(history, args.since or "", args.until or ""),
        parts=_report_counts.count_groups(history),
        rows=_report_rows.list_rows(history, counts, args.limit),
    )


def _make_tiles(history: History, args: argparse.Namespace, counts: Counts) -> list[Tile]:
    """Return the numbers, without those that the filters make zero."""
    tiles = []
    verdicts = _choose_verdicts(args)
    if len(verdicts) > 1:
        tiles.append(Tile(counts.total, "requests"))
    for verdict, title in VERDICTS.items():
        if verdict in verdicts:
            tiles.append(_make_tile(counts, verdict, title))
    if args.verdict != Decision.DENY.value:
        outcomes = _report_counts.count_outcomes(history)
        tiles += [Tile(number, title) for title, number in outcomes.items()]
    return tiles


def _make_tile(counts: Counts, verdict: str, title: str) -> Tile:
    number = counts._asdict()[verdict]
    share = ""
    if 0 < number < counts.total:
        share = f"{100 * number / counts.total:.1f} %"
    return Tile(number, title, verdict, share)


def _choose_verdicts(args: argparse.Namespace) -> list[str]:
    """Return the verdicts that the filters may choose."""
    if args.verdict:
        return [args.verdict]
    if args.rule:  # an allowed request broke none
        return [Decision.EXEMPT.value, *REFUSALS]
    return list(VERDICTS)


def _write_heading(history: History, args: argparse.Namespace, left_out: _journals.LeftOut) -> Heading:
    filters = [(title, getattr(args, name)) for name, title in _FILTERS.items() if getattr(args, name)]
    csv_name, csv_link = _link_csv(args)
    return Heading(
        period=_describe_period(args.since, args.until),
        filters=[(title, printable(VERDICTS.get(value, value))) for title, value in filters],
        about=_describe(history),
        incomplete=left_out.describe(),
        csv_name=csv_name,
        csv_link=csv_link,
    )


def _describe_period(since: str | None, until: str | None) -> str:
    if since and until:
        return f"{_format_time(since)} to {_format_time(until)} UTC"
    if since:
        return f"since {_format_time(since)} UTC"
    if until:
        return f"before {_format_time(until)} UTC"
    return "all that is recorded"


def _describe(history: History) -> str:
    """Return which requests there are, who recorded them, and when this was written."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    written = f"Written {_format_time(now)}. All times are UTC."
    [(total, first, last)] = history.rows("SELECT count(*), min(time), max(time) FROM requests")
    if not total:
        return written
    span = f"{_format_time(first)} to {_format_time(last)}"
    return f"{total:,} requests from {span}, recorded on {_report_counts.describe_hosts(history)}. {written}"


def _link_csv(args: argparse.Namespace) -> tuple[str, str]:
    """Return the name of the CSV file, and a link to it if it is beside the page."""
    if not args.csv:
        return "", ""
    folder, name = os.path.split(os.path.abspath(args.csv))
    link = ""
    if folder == os.path.dirname(os.path.abspath(args.html)):
        link = "./" + urllib.parse.quote(name)
    return printable(name), link


def _format_time(time: str) -> str:
    return time[:16].replace("T", " ")


@contextlib.contextmanager
def _create(path: str, encoding: str) -> Iterator[TextIO]:
    """Write a file that nobody else may read and that exists only when it is complete; say so.

    End the program with exit status 2 if that fails.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=".imagefilter-")
        try:
            with open(descriptor, "w", encoding=encoding, newline="") as file:
                yield file
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        fail(f"{path} can't be written: {error.strerror}")
    sys.stderr.write(f"wrote {path}\n")

"""``imagefilter audit list``: the image actions that journals record."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from imagefilter.cli import _journals
from imagefilter.cli._base import StatusLister
from imagefilter.cli._filters import Filters, add_filters
from imagefilter.cli._options import add_config, add_journal, add_limit
from imagefilter.cli._output import printable_rows
from imagefilter.cli._same_names import SameNames
from imagefilter.journal.tail import Query, read_newest

# Titles and SQL.
_COLUMNS = {
    "Time": "replace(left(time, 19), 'T', ' ')",
    "Request ID": "request_id",
    "Verdict": "verdict",
    "Rule": "rule",
    "Action": "action",
    "Project": "project_label",
    "User": "user_label",
    "Server": "server_id",
    "Image Name": "image_name",
    "Outcome": "outcome",
}
_LONG_COLUMNS = {
    "Message": "message",
    "Image ID": "image_id",
    "Project ID": "project_id",
    "User ID": "user_id",
    "Address": "address",
    "Host": "host",
}

# What to load for them, and for the filter options.
_LOADED = (
    "verdict",
    "rule",
    "action",
    "project_id",
    "project_label",
    "trustee_id",
    "user_id",
    "user_label",
    "server_id",
    "image_name",
    "request_id",
    "message",
    "address",
    "host",
)


class AuditList(StatusLister):
    """List image actions, newest last: the caller, the verdict, and the compute API's response.

    Times are UTC. Exit status: 0 all was read, 1 something was left out, 2 a journal can't be read.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_config(parser)
        add_journal(parser)
        add_filters(parser)
        add_limit(parser)
        parser.add_argument("--long", action="store_true", help="add columns: message, ids, address, host")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        columns = dict(_COLUMNS)
        if parsed_args.long:
            columns.update(_LONG_COLUMNS)
        names = SameNames(parsed_args)
        query = _build_query(parsed_args, [*columns.values(), *names.columns])
        left_out = _journals.LeftOut()
        files = _journals.find_files(parsed_args, left_out)
        newest = _journals.read(files, left_out, lambda journals: read_newest(journals, query))
        left_out.add_lines(newest.torn)
        if newest.has_more:
            sys.stderr.write(f"listed the newest {len(newest.rows)}; there are more (--limit 0 lists all)\n")
        for row in newest.rows:
            names.add(dict(zip(names.columns, row[len(columns) :])))
        names.warn()
        self.status = left_out.finish()
        return tuple(columns), printable_rows([row[: len(columns)] for row in newest.rows], parsed_args)


def _build_query(args: argparse.Namespace, select: list[str]) -> Query:
    filters = Filters(args)
    where, values = filters.condition()
    limit = args.limit
    if args.image_id:  # which a verdict does not have: everything has to be read
        limit = 0
    return Query(
        select=select,
        columns=_LOADED,
        where=where,
        values=values,
        matches=filters.match,
        since=filters.since,
        limit=limit,
    )

"""``imagefilter audit list``, ``show``, ``summary``: what the journal says."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from cliff.lister import Lister
from cliff.show import ShowOne

from imagefilter.cli import journals
from imagefilter.newest import Wanted, newest

_WHEN = "replace(left(time, 19), 'T', ' ')"

_COLUMNS = {
    "Time": _WHEN,
    "Request ID": "request_id",
    "Verdict": "verdict",
    "Rule": "rule",
    "Action": "action",
    "Project": "coalesce(project_name, project_id)",
    "User": "coalesce(user_name, user_id)",
    "Server": "server_id",
    "Image Name": "image_name",
    "Outcome": "outcome",
}
_MORE_COLUMNS = {
    "Message": "message",
    "Image ID": "image_id",
    "Project ID": "project_id",
    "User ID": "user_id",
    "Address": "address",
    "Host": "host",
}

_NEEDED = (
    *("verdict", "rule", "action", "project_id", "project_name", "user_id", "user_name", "server_id", "image_name"),
    *("request_id", "message", "address", "host"),
)

# Of a request, in the order of the questions that an auditor asks.
_FIELDS = (
    *("time", "verdict", "rule", "message", "mode", "quota_limit", "quota_usage", "outcome", "status", "image_id"),
    *("seconds", "error", "action", "server_id", "image_name", "image_name_type", "metadata", "metadata_keys"),
    *("metadata_count", "metadata_type", "user_id", "user_name", "user_domain", "project_id", "project_name", "roles"),
    *("vouched", "address", "agent", "forwarded_for", "request_id", "global_request_id", "method", "path"),
    *("media_type", "cut", "host", "id"),
)


class _Group(NamedTuple):
    """What is counted together."""

    key: str  # SQL
    name: str = ""  # the column of what it is called
    needed: tuple[str, ...] = ()


_GROUPS = {
    "project": _Group("coalesce(project_id, 'unknown')", "project_name", ("project_id", "project_name")),
    "user": _Group("user_id", "user_name", ("user_id", "user_name")),
    "server": _Group("server_id", needed=("server_id",)),
    "rule": _Group("coalesce(rule, 'none broken')", needed=("rule",)),
    "verdict": _Group("verdict"),
    "action": _Group("coalesce(action, 'unreadable')", needed=("action",)),
    "day": _Group("left(time, 10)"),
    "hour": _Group("replace(left(time, 13), 'T', ' ')"),
}
_COUNTS = {
    "Requests": "count(*)",
    "Allow": "count(*) FILTER (verdict = 'allow')",
    "Exempt": "count(*) FILTER (verdict = 'exempt')",
    "Would Deny": "count(*) FILTER (verdict = 'would deny')",
    "Deny": "count(*) FILTER (verdict = 'deny')",
    "Images": "count(*) FILTER (status = 202 AND error IS NULL)",
    "Unknown": "count(*) FILTER (outcome = 'outcome unknown')",
}


class AuditList(Lister):
    """List image actions, newest last: who asked, what was decided, and what the compute API then answered.

    Times are UTC. Exit status: 0, or 2 if a journal can't be read.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        journals.add_journal(parser)
        journals.add_filters(parser)
        parser.add_argument("--limit", metavar="N", type=int, default=50, help="the newest N (50); 0 is all of them")
        parser.add_argument("--long", action="store_true", help="more columns: message, ids, address, host")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        files = journals.files(journals.journals(parsed_args))
        columns = {**_COLUMNS, **(_MORE_COLUMNS if parsed_args.long else {})}
        wanted = Wanted(list(columns.values()), _NEEDED, *journals.condition(parsed_args), parsed_args.limit)
        with journals.reading():
            found = newest(files, wanted)
        journals.tell_torn(found.torn)
        if found.more:
            sys.stderr.write(f"the newest {len(found.rows)}; there are more (--limit 0 lists all)\n")
        return tuple(columns), shown(found.rows, parsed_args)


class AuditShow(ShowOne):
    """Show one image action: the verdict and the outcome together.

    It is named by its request id, the client's global request id, the image's id, or the verdict's own id. Exit
    status: 0; 1 if there is none, or more than one; 2 if a journal can't be read.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        journals.add_journal(parser)
        parser.add_argument("id", metavar="REQUEST-ID", help="a request id (req-...), image id or verdict id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        history = journals.open_history(parsed_args)
        with journals.reading():  # twice, for an image's id stands in the outcome alone
            ids = history.ids("$id IN (request_id, global_request_id, image_id, id)", {"id": parsed_args.id})
            journals.tell_torn(history.load(_FIELDS, "list_contains($ids, id)", {"ids": ids}))
        found = history.rows(f"SELECT {', '.join(_FIELDS)} FROM found ORDER BY time")
        if len(found) != 1:
            which = "".join(f"\n  {row[-1]} at {row[0]}" for row in found)
            reason = f"{len(found)} verdicts have the id {parsed_args.id}; name one by its own id:{which}"
            sys.stderr.write((reason if found else f"no verdict has the id {parsed_args.id}") + "\n")
            raise SystemExit(1)
        told = {name: value for name, value in zip(_FIELDS, found[0]) if value is not None}
        return tuple(told), shown([tuple(told.values())], parsed_args)[0]


class AuditSummary(Lister):
    """Count image actions by project, user, server, action, rule, verdict, day or hour (UTC).

    ``Unknown`` counts those that were forwarded and whose outcome was not recorded. Exit status: 0, or 2 if a journal
    can't be read.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        journals.add_journal(parser)
        journals.add_filters(parser)
        parser.add_argument("--by", choices=_GROUPS, default="project", help="what is counted together (project)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        group = _GROUPS[parsed_args.by]
        history = journals.load(parsed_args, ("time", "verdict", *group.needed))
        order = "1" if parsed_args.by in ("day", "hour") else "count(*) DESC, 1"
        counts = {**({"Name": f"any_value({group.name})"} if group.name else {}), **_COUNTS}
        rows = history.rows(f"SELECT {group.key}, {', '.join(counts.values())} FROM found GROUP BY 1 ORDER BY {order}")
        return (parsed_args.by.capitalize(), *counts), shown(rows, parsed_args)


def shown(rows: Iterable[tuple[Any, ...]], given: argparse.Namespace) -> list[tuple[Any, ...]]:
    """Rows as they can be printed; JSON escapes by itself what could steer a terminal."""
    keep = given.formatter == "json"
    return [
        tuple(value if keep else "" if value is None else journals.printable(value) for value in row) for row in rows
    ]

"""``imagefilter audit show``: everything that is recorded of one image action."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from cliff.show import ShowOne

from imagefilter.cli import _journals
from imagefilter.cli._base import StatusCommand
from imagefilter.cli._journals import LeftOut
from imagefilter.cli._options import add_config, add_journal
from imagefilter.cli._output import printable_rows
from imagefilter.journal.history import History

# In the order of the questions that an auditor asks.
_FIELDS = (
    "time",
    "verdict",
    "rule",
    "reason",
    "facts",
    "message",
    "mode",
    "quota_limit",
    "quota_usage",
    "snapshot_usage",
    "snapshot_limits",
    "image_quota",
    "lock_seconds",
    "lookup_seconds",
    "outcome",
    "status",
    "image_id",
    "seconds",
    "error",
    "action",
    "server_id",
    "image_name",
    "image_name_type",
    "backup_type",
    "rotation",
    "metadata",
    "metadata_keys",
    "metadata_count",
    "metadata_type",
    "user_id",
    "user_name",
    "user_domain_id",
    "user_domain_name",
    "project_id",
    "project_name",
    "project_domain_id",
    "project_domain_name",
    "roles",
    "authenticated",
    "trust_id",
    "trustee_id",
    "trustor_id",
    "application_credential_id",
    "application_credential_name",
    "service_user_id",
    "service_user_name",
    "audit_ids",
    "address",
    "agent",
    "forwarded_for",
    "request_id",
    "global_request_id",
    "method",
    "path",
    "media_type",
    "truncated",
    "host",
    "id",
)


_MAX_NAMED = 20


class AuditShow(StatusCommand, ShowOne):
    """Show one image action: its verdict and its outcome together.

    Name it by its request id, the client's global request id, the image's id, or the verdict's own id. Exit status: 0
    it was found, 1 none or more than one was found, or something was left out, 2 a journal can't be read.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_config(parser)
        add_journal(parser)
        parser.add_argument("id", metavar="REQUEST-ID", help="a request id (req-...), image id or verdict id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        left_out = _journals.LeftOut()
        rows = _journals.read(
            _journals.find_files(parsed_args, left_out),
            left_out,
            lambda journals: _load(History(_journals.flatten(journals)), parsed_args.id, left_out),
        )
        self.status = left_out.finish()
        # Any client can send another's request id as its global one.
        own = [row for row in rows if parsed_args.id in _own_ids(row)]
        if len(own) == 1 and len(rows) > 1:
            sys.stderr.write(f"other requests that were given this as their global request id: {len(rows) - 1}\n")
            rows = own
        if len(rows) != 1:
            sys.stderr.write(_explain_count(rows, parsed_args.id) + "\n")
            raise SystemExit(1)
        fields = {name: value for name, value in zip(_FIELDS, rows[0]) if value is not None}
        [values] = printable_rows([tuple(fields.values())], parsed_args)
        return tuple(fields), values


def _load(history: History, any_id: str, left_out: LeftOut) -> list[tuple[Any, ...]]:
    # Twice: the id of an image is in the outcome alone.
    ids = history.find_ids("$id IN (request_id, global_request_id, image_id, id)", {"id": any_id})
    left_out.add_lines(history.load(_FIELDS, "list_contains($ids, id)", {"ids": ids}))
    return history.rows(f"SELECT {', '.join(_FIELDS)} FROM requests ORDER BY time")


def _own_ids(row: tuple[Any, ...]) -> list[Any]:
    """Return the ids that no client chose."""
    return [row[_FIELDS.index(field)] for field in ("request_id", "image_id", "id")]


def _explain_count(rows: Sequence[tuple[Any, ...]], any_id: str) -> str:
    if not rows:
        return f"no verdict has the id {any_id}"
    lines = [f"{len(rows)} verdicts have the id {any_id}; choose one by its own id:"]
    for time, *_, verdict_id in rows[:_MAX_NAMED]:
        lines.append(f"  {verdict_id} at {time}")
    if len(rows) > _MAX_NAMED:
        lines.append(f"  and {len(rows) - _MAX_NAMED} others")
    return "\n".join(lines)

"""``imagefilter check``: will it start, is everything guarded, and by which policy?"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import Any

from imagefilter.cli import _users, gateway_start, preflight
from imagefilter.cli._base import StatusLister
from imagefilter.cli._options import add_strict
from imagefilter.cli._output import fail
from imagefilter.cli.distribution import find_collision
from imagefilter.cli.preflight import Result, Row


class Check(StatusLister):
    """Check everything before a start: the filter's place and its sections, the policy, the journal, the port.

    The command loads imagefilter's own sections exactly as PasteDeploy would. It loads other filters only with
    --listen, together with the whole pipeline, as the gateway's server will. Each finding is a line that begins with
    "error:" or "warning:". Exit status: 0 it will work, 1 there are warnings (with --strict), 2 it will not work.
    The command does not see SELinux and AppArmor. --quiet prints only the findings, not the table.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("file", metavar="FILE", nargs="?", help="config file to check; may be nova.conf")
        paste = "paste file to check: nova's api-paste.ini, or the gateway's"
        parser.add_argument("--paste", metavar="FILE", help=paste)
        listen = "address that the gateway will listen on; with --paste FILE the whole pipeline is loaded"
        parser.add_argument("--listen", metavar="HOST:PORT", help=listen)
        user = "check as this user, who will run the API or the gateway (needs root)"
        parser.add_argument("--user", metavar="NAME|UID", help=user)
        add_strict(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Row]]:
        if not (parsed_args.file or parsed_args.paste or parsed_args.listen):
            fail("nothing to check: name a config file, --paste FILE, or both")
        result = _run(parsed_args)
        self.app.stderr.writelines(f"{finding}\n" for finding in result.findings)
        self.status = int(parsed_args.strict and result.has_warnings)
        if result.has_errors:
            self.status = 2
        return ("Checked", "Verdict", "In force"), result.rows

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Any, data: Any) -> int:
        """Print the table, unless ``--quiet``, which is cliff's own option, asks for findings alone."""
        if self.app.options.verbose_level:
            super().produce_output(parsed_args, column_names, data)
        return 0


def _run(parsed_args: argparse.Namespace) -> Result:
    if parsed_args.user:
        try:
            rows, findings = _users.call_as(parsed_args.user, lambda: list(_check(parsed_args)))
        except (LookupError, OSError) as error:
            fail(f"--user {parsed_args.user}: {error}")
        return Result([tuple(row) for row in rows], findings)
    rows, findings = _check(parsed_args)
    if os.geteuid() == 0:
        findings.append("warning: checked as root, who may read and write everything: name the user with --user")
    return Result(rows, findings)


def _check(parsed_args: argparse.Namespace) -> Result:
    result = Result([], list(find_collision()))
    for part in _parts(parsed_args):
        result.rows.extend(part.rows)
        result.findings.extend(part.findings)
    return result


def _parts(parsed_args: argparse.Namespace) -> Iterator[Result]:
    if parsed_args.paste:
        part = preflight.check_paste(parsed_args.paste)
        yield part
        if parsed_args.listen and not part.has_errors:
            yield gateway_start.check_load(parsed_args.paste)
    if parsed_args.file:
        part = preflight.check_config(parsed_args.file)
        verdict = "OK"
        if part.has_errors:
            verdict = "error"
        yield Result([(parsed_args.file, verdict, "")], part.findings)
    if parsed_args.listen:
        yield gateway_start.check_address(parsed_args.listen)

"""``imagefilter check pipeline``: the filter's place in the pipelines of an api-paste.ini."""

from __future__ import annotations

import argparse

from imagefilter.cli import pipelines
from imagefilter.cli._base import StatusLister
from imagefilter.cli._options import add_strict
from imagefilter.cli.pipelines import Row


class CheckPipeline(StatusLister):
    """Check that the filter protects every pipeline of an api-paste.ini that can serve a compute API.

    The filter must stand directly before the app; only Nova's legacy_v2_compatible may come between. The command reads
    the file as text, and imports and loads nothing. Exit status: 0 OK, 1 warnings with --strict, 2 errors.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("file", metavar="API-PASTE.INI", help="paste file to check")
        add_strict(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Row]]:
        try:
            checked = pipelines.read(parsed_args.file)
        except ValueError as error:
            self.app.stderr.write(f"error: {error}\n")
            raise SystemExit(2) from None
        self.app.stderr.writelines(f"{finding}\n" for finding in pipelines.describe(checked))
        self.status = pipelines.status_of(checked, parsed_args.strict)
        return pipelines.COLUMNS, pipelines.rows_of(checked)

"""``imagefilter check config``: the errors of a config file, and what is allowed and probably not meant."""

from __future__ import annotations

import argparse

from imagefilter.cli import preflight
from imagefilter.cli._base import OwnCommand
from imagefilter.cli._options import DEFAULT_CONFIG, add_strict


class CheckConfig(OwnCommand):
    """Check a config file: report all errors, and settings that you probably do not mean.

    Exit status: 0 OK, 1 warnings with --strict, 2 errors.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "file",
            metavar="FILE",
            nargs="?",
            default=DEFAULT_CONFIG,
            help=f"file with a section [imagefilter]; may be nova.conf (default: {DEFAULT_CONFIG})",
        )
        add_strict(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        result = preflight.check_config(parsed_args.file)
        self.app.stdout.writelines(f"{finding}\n" for finding in result.findings)
        if result.has_errors:
            return 2
        self.app.stdout.write(f"{parsed_args.file}: {result.summary()}\n")
        return int(parsed_args.strict and result.has_warnings)

"""Base classes of commands."""

from __future__ import annotations

import argparse
import os
from typing import Any

from cliff.command import Command
from cliff.lister import Lister
from stevedore import NamedExtensionManager

from imagefilter.cli._numbers import parse_int

SAFE_FORMATS = ("csv", "json", "table", "value", "yaml")


class OwnCommand(Command):
    """A command of this package.

    Cliff's own searches everything that is installed for the package that provides a command, only to name it in the
    help, which takes longer than most commands.
    """

    def get_epilog(self) -> str:
        return self._epilog or ""


class SafeFormats(OwnCommand):
    """A command that prints columns, in the formats that are safe with what clients sent.

    Not cliff's ``shell``: it is made to be evaluated, and a name like ``$(command)`` would run.
    """

    formatter_namespace: str

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.register("type", int, parse_int)  # of cliff's --max-width
        columns = os.environ.get("COLUMNS", "")
        if columns.isdecimal():  # otherwise cliff asks the terminal, if there is one
            parser.set_defaults(max_width=int(columns))
        return parser

    def _load_formatter_plugins(self) -> Any:
        # A list has each of them, a single object no csv.
        return NamedExtensionManager(
            self.formatter_namespace, SAFE_FORMATS, invoke_on_load=True, warn_on_missing_entrypoint=False
        )


class StatusCommand(SafeFormats):
    """A command that prints columns and sets its own exit status."""

    status = 0

    def run(self, parsed_args: argparse.Namespace) -> int:
        super().run(parsed_args)
        return self.status


class StatusLister(StatusCommand, Lister):
    """A command that prints a list and sets its own exit status."""

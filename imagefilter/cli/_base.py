"""Base classes of commands."""

from __future__ import annotations

import argparse

from cliff.command import Command
from cliff.lister import Lister


class OwnCommand(Command):
    """A command of this package.

    Cliff's own searches everything that is installed for the package that provides a command, only to name it in the
    help, which takes longer than most commands.
    """

    def get_epilog(self) -> str:
        return self._epilog or ""


class StatusCommand(OwnCommand):
    """A command that prints columns and sets its own exit status."""

    status = 0

    def run(self, parsed_args: argparse.Namespace) -> int:
        super().run(parsed_args)
        return self.status


class StatusLister(StatusCommand, Lister):
    """A command that prints a list and sets its own exit status."""

"""The program ``imagefilter``: cliff's application with the commands of this package."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from cliff.app import App
from cliff.commandmanager import CommandManager

from imagefilter.cli.distribution import DISTRIBUTION

_NAMESPACE = "imagefilter.cli"


class Commands(CommandManager):
    """Finds commands by their entry points.

    Cliff's own manager imports all of them at once. This one leaves a command alone until it runs, so that only those
    who use it need its libraries.
    """

    def load_commands(self, namespace: str) -> None:
        """Find the commands of a group of entry points."""
        self.group_list.append(namespace)
        for entry_point in metadata.distribution(DISTRIBUTION).entry_points:
            if entry_point.group == namespace:
                self.commands[entry_point.name.replace("_", " ")] = entry_point


class Imagefilter(App):
    """Cliff's application: help, output formats, and exit statuses."""

    def __init__(self) -> None:
        super().__init__(
            description="Commands for operators of imagefilter, the filter in front of the OpenStack compute API.",
            version=metadata.version(DISTRIBUTION),
            command_manager=Commands(_NAMESPACE),
            deferred_help=True,
        )

    def run_subcommand(self, argv: list[str]) -> int:
        """Run a command; return 2 if it raised an exception: cliff's 1 means that the command found something."""
        self._raised = False
        status: int = super().run_subcommand(argv)
        if self._raised:
            return 2
        return status

    def clean_up(self, cmd: Any, result: int, err: BaseException | None) -> None:
        self._raised = isinstance(err, Exception)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status: 0, 1 (it found something) or 2 (it could not run)."""
    if argv is None:
        argv = sys.argv[1:]
    # The client of etcd brings eventlet along, which says on six lines that nobody should use it.
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    # Without a command cliff would open a shell of its own.
    status: int = Imagefilter().run(list(argv) or ["help"])
    return status


if __name__ == "__main__":
    sys.exit(main())

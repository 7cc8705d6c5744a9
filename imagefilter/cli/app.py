"""The operator's commands, by name."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cliff.app import App
from cliff.commandmanager import CommandManager


class Imagefilter(App):
    """Cliff's application: help, output formats, and exit statuses.

    The commands are entry points (``setup.cfg``), so that each is loaded, with the libraries it needs, when it is run.
    """

    def __init__(self) -> None:
        super().__init__(
            description="Commands for operators of imagefilter, the filter in front of the OpenStack compute API.",
            version="0.1.0",
            command_manager=CommandManager("imagefilter.cli"),
            deferred_help=True,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, 1 (it found something) or 2 (it could not be run)."""
    status: int = Imagefilter().run(list(sys.argv[1:] if argv is None else argv))
    return status


if __name__ == "__main__":
    sys.exit(main())

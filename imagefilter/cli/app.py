"""The operator's commands, by name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from typing import Any

from cliff.app import App
from cliff.commandmanager import CommandManager

_COMMANDS = {
    "audit follow": "follow:AuditFollow",
    "audit list": "audit:AuditList",
    "audit replay": "replay:AuditReplay",
    "audit report": "report:AuditReport",
    "audit show": "audit:AuditShow",
    "audit summary": "audit:AuditSummary",
    "check config": "check:CheckConfig",
    "check pipeline": "check:CheckPipeline",
    "explain": "explain:Explain",
    "relay": "relay:Relay",
    "show config": "show:ShowConfig",
}


class Imagefilter(App):
    """Cliff's application: help, output formats, and exit statuses."""

    def __init__(self) -> None:
        commands = CommandManager("imagefilter.cli")
        for name, where in _COMMANDS.items():
            # As an entry point each is loaded, with the libraries that it needs, only when it is run.
            commands.commands[name] = EntryPoint(name, f"imagefilter.cli.{where}", "imagefilter.cli")
        super().__init__(
            description="Commands for operators of imagefilter, the filter in front of the OpenStack compute API.",
            version="0.1.0",
            command_manager=commands,
            deferred_help=True,
        )

    def run_subcommand(self, argv: list[str]) -> int:
        """Run a command: what cliff ends with 1 when a command raises would be a finding of ours."""
        self._raised = False
        status: int = super().run_subcommand(argv)
        return 2 if self._raised else status

    def clean_up(self, cmd: Any, result: int, err: BaseException | None) -> None:
        self._raised = isinstance(err, Exception)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, 1 (it found something) or 2 (it could not be run)."""
    status: int = Imagefilter().run(list(sys.argv[1:] if argv is None else argv))
    return status


if __name__ == "__main__":
    sys.exit(main())

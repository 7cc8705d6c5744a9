"""``imagefilter status``: by which policy the running processes judge."""

from __future__ import annotations

import argparse
import datetime
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from imagefilter.cli import _journals
from imagefilter.cli._base import StatusLister
from imagefilter.cli._options import add_config, add_journal
from imagefilter.cli._output import printable, printable_rows
from imagefilter.journal.process import is_running
from imagefilter.journal.processes import FilterState, read_processes
from imagefilter.policy.config import ConfigError
from imagefilter.rules.table import load_policy

_COLUMNS = ("Host", "PID", "Policy", "Since", "Mode", "File", "Last Record", "Refused 1h", "Unrecorded")

# Of a process elsewhere nothing shows whether it still runs but that it writes.
_SILENCE = datetime.timedelta(days=1)


class Status(StatusLister):
    """Show the policy of each running process, from the journal, and whether it agrees with the files now.

    A process records its policy before its first verdict and at each reload, successful or failed. It checks its files
    only when an image action arrives. The list leaves out processes of this host that have ended, and processes of
    other hosts that recorded nothing for a day. Exit status: 0 all agree with the files; 1 a process has another
    policy, a reload failed, or records are missing; 2 nothing could be read.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_config(parser)
        add_journal(parser)
        parser.add_argument("--all", action="store_true", help="list all processes, also those that have ended")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        left_out = _journals.LeftOut()
        journals = _journals.find_files(parsed_args, left_out)
        since = _ago(datetime.timedelta(hours=1))
        states = _journals.read(journals, left_out, lambda them: read_processes(_journals.flatten(them), since))
        shown = states
        if not parsed_args.all:
            shown = [state for state in states if _may_run(state)]
        files = _FilePolicies()
        problems = list(_find_problems(shown, files))
        sys.stderr.writelines(f"{printable(line)}\n" for line in problems)
        _print_notes(states, shown)
        self.status = int(bool(left_out.finish() or problems))
        rows = [_build_row(state, files) for state in shown]
        return _COLUMNS, printable_rows(rows, parsed_args, things="processes that have recorded their policy")


class _FilePolicies:
    """The policies that the files say now, for each paste section's options; each is read once."""

    def __init__(self) -> None:
        self._digests: dict[tuple[tuple[str, str], ...], tuple[str, str]] = {}

    def compare(self, state: FilterState) -> str:
        """Return ``agrees``, ``differs``, or ``error``."""
        digest, error = self._load(state)
        if error:
            return "error"
        if digest == state.digest:
            return "agrees"
        return "differs"

    def error(self, state: FilterState) -> str:
        """Return why the files can't be loaded; empty if they can."""
        return self._load(state)[1]

    def _load(self, state: FilterState) -> tuple[str, str]:
        key = tuple(sorted(state.paste.items()))
        if key not in self._digests:
            try:
                self._digests[key] = (load_policy(state.paste, state.section).loaded.digest, "")
            except ConfigError as error:
                self._digests[key] = ("", str(error))
        return self._digests[key]


def _may_run(state: FilterState) -> bool:
    """Return whether a process may still run."""
    runs = None
    if state.host == socket.gethostname():
        runs = is_running(state.process)
    if runs is None:
        return state.last >= _ago(_SILENCE)
    return runs


def _find_problems(states: Sequence[FilterState], files: _FilePolicies) -> Iterator[str]:
    for state in states:
        name = f"process {state.process.pid} of {state.host}"
        compared = files.compare(state)
        if state.failure:
            yield f"error: {name}: a reload failed at {_short(state.failed_at)}: {state.failure}"
        elif compared == "error":
            yield f"error: {name}: its files can't be loaded any more: {files.error(state)}"
        if compared == "differs":
            yield (
                f"warning: {name} judges by another policy than {', '.join(state.files) or state.section} has now: it"
                " reads the new one at its next image action"
            )
        if state.coordination and len({other.coordination for other in states}) > 1:
            yield (
                f"warning: {name} has its locks in {state.coordination}, and others have theirs in another place:"
                " limits don't hold across them"
            )
        if state.unrecorded:
            yield f"error: {name} could not write {state.unrecorded} records: see its log"


def _print_notes(states: Sequence[FilterState], shown: Sequence[FilterState]) -> None:
    places = sorted({state.coordination for state in shown if state.coordination})
    if places:
        sys.stderr.write(f"the locks of the limits are in {', '.join(map(printable, places))}\n")
    for state in shown:
        for text in state.stays_on:
            sys.stderr.write(f"process {state.process.pid} of {state.host}: stays on: {printable(text)}\n")
    if len(states) > len(shown):
        hidden = len(states) - len(shown)
        sys.stderr.write(f"processes that have ended, or write no more records: {hidden} (--all lists them)\n")


def _build_row(state: FilterState, files: _FilePolicies) -> tuple[Any, ...]:
    return (
        state.host,
        state.process.pid,
        state.digest,
        _short(state.loaded),
        state.mode,
        files.compare(state),
        _short(state.last),
        state.refused,
        state.unrecorded,
    )


def _short(time: str | None) -> str:
    return (time or "")[:19].replace("T", " ")


def _ago(span: datetime.timedelta) -> str:
    time = datetime.datetime.now(datetime.timezone.utc) - span
    return time.isoformat(timespec="microseconds")

"""``imagefilter audit follow``: records as they are written."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from typing import Any

from imagefilter.cli._base import OwnCommand
from imagefilter.cli._filters import Filters, add_filters
from imagefilter.cli._options import add_config, add_journal, find_journals
from imagefilter.cli._output import printable
from imagefilter.journal.follower import Follower, Line, follow
from imagefilter.journal.record import read_content

_INTERVAL = 0.25  # seconds


class AuditFollow(OwnCommand):
    """Print records as they are written, through rotation, until Ctrl-C.

    A verdict and its outcome, the compute API's response, are a line each. With --verdict or another filter, only
    outcomes of such verdicts are printed.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_config(parser)
        add_journal(parser)
        add_filters(parser, times=False)
        parser.add_argument("--all", action="store_true", help="begin with the oldest record in the journal's files")
        parser.add_argument("--json", action="store_true", help="print the records themselves, one a line")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        followers = [Follower(path) for path in find_journals(parsed_args)]
        if not parsed_args.all:
            for follower in followers:
                follower.skip()
        sys.stderr.write(f"following {', '.join(follower.path for follower in followers)}; Ctrl-C ends it\n")
        selection = _Selection(Filters(parsed_args))
        with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
            for item in follow(followers, _INTERVAL):
                if item is None:
                    self.app.stdout.flush()
                else:
                    _, line = item
                    self._print(line, selection, parsed_args.json)
        return 0

    def _print(self, line: Line, selection: _Selection, as_json: bool) -> None:
        if line.record is None:
            if not as_json:
                self.app.stdout.write("(a torn line)\n")
        elif selection.includes(line.record):
            text = json.dumps(line.record)
            if not as_json:
                try:
                    text = sentence(line.record)
                except (KeyError, TypeError, AttributeError, ValueError):
                    text = "(a record that can't be understood)"
            self.app.stdout.write(text + "\n")


class _Selection:
    """The records to print: the verdicts that the filter options choose, and their outcomes."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._open: set[str] = set()  # ids of printed verdicts whose outcome is to come

    def includes(self, record: dict[str, Any]) -> bool:
        """Return whether to print the next record."""
        try:
            content = read_content(record)
        except ValueError:
            return False
        verdict_id = content.get("verdict_id")
        if verdict_id is not None:
            was_open = verdict_id in self._open
            self._open.discard(verdict_id)
            return was_open
        if not self._filters.match(record):
            return False
        if content["verdict"] != "deny":  # a refused request has no outcome
            self._open.add(record["id"])
        return True


def sentence(record: dict[str, Any]) -> str:
    """Return a record as a line for people."""
    content = read_content(record)
    initiator = record["initiator"]
    parts = [record["eventTime"][:19].replace("T", " ")]
    if record["eventType"] == "activity":
        parts += _describe_outcome(content)
    else:
        parts += [content["verdict"], content["rule"], content["message"]]
    parts.append(f"{content['action']} of server {record['target']['id']}")
    parts.append(f"name {content['image_name']}")
    parts.append(f"user {initiator.get('name') or initiator['id']}")
    parts.append(f"project {content.get('project_id') or '-'}")
    parts.append(initiator.get("request_id"))
    return "  ".join(str(printable(part)) for part in parts if part)


def _describe_outcome(content: dict[str, Any]) -> list[str]:
    response = content["status"] or content["error"] or "none"
    parts = ["response", str(response), f"in {content['seconds']:.3f} s"]
    if content["image_id"]:
        parts.append(f"image {content['image_id']}")
    return parts

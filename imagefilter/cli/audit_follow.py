"""``imagefilter audit follow``: records as they are written."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from typing import Any

from imagefilter.cli._base import OwnCommand
from imagefilter.cli._filters import Filters, add_filters
from imagefilter.cli._journals import LeftOut
from imagefilter.cli._options import add_config, add_journal, find_journals
from imagefilter.cli._output import fail, printable
from imagefilter.cli._same_names import SameNames
from imagefilter.cli._selection import Selection
from imagefilter.journal.files import Files
from imagefilter.journal.follow import follow
from imagefilter.journal.follower import Follower, Line
from imagefilter.journal.left_out import describe_problem
from imagefilter.journal.record import is_configuration, label, read_content

_INTERVAL = 0.25  # seconds


class AuditFollow(OwnCommand):
    """Print records as they are written, also after a rotation, until you press Ctrl-C.

    A verdict and its outcome (the compute API's response) are one line each. With --verdict or another filter, an
    outcome is printed only if its verdict is. The journal need not exist yet, but its folder must. Exit status: 0 all
    was read, 1 something was left out, 2 a journal can't be followed.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_config(parser)
        add_journal(parser)
        add_filters(parser, times=False)
        help_text = "begin with the oldest record in the journal's files, not with the next one"
        parser.add_argument("--all", action="store_true", help=help_text)
        parser.add_argument("--json", action="store_true", help="print the records themselves, one on each line")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        left_out = LeftOut()
        journals = find_journals(parsed_args)
        for path in journals:
            _check_journal(path)
        followers = [Follower(path) for path in journals]
        for follower in followers:
            if parsed_args.all:
                left_out.add_unread_files(follower.path, [file.path for file in Files(follower.path).all()])
            else:
                follower.skip()
        sys.stderr.write(f"following {', '.join(follower.path for follower in followers)}; Ctrl-C ends it\n")
        names = SameNames(parsed_args)
        selection = Selection(Filters(parsed_args), names)
        with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
            for item in follow(followers, _INTERVAL):
                if item is None:
                    self.app.stdout.flush()
                    continue
                follower, line = item
                reason = self._print(line, selection, parsed_args.json)
                names.warn()
                if reason:
                    left_out.add_line(follower.path, follower.path, reason)
        return left_out.finish()

    def _print(self, line: Line, selection: Selection, as_json: bool) -> str | None:
        """Print a line if it is selected; return why it can't be understood, or None."""
        problem = describe_problem(line.raw)
        if problem or line.record is None or not selection.includes(line.record):
            return problem
        text = json.dumps(line.record)
        if not as_json:
            try:
                text = sentence(line.record)
            except (KeyError, TypeError, AttributeError, ValueError):
                return "not a record: its fields are of other types"
        self.app.stdout.write(text + "\n")
        return None


def _check_journal(path: str) -> None:
    """End the program with exit status 2 if no record can come: the journal itself need not exist yet."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        fail(f"the journal {path} can't be followed: there is no folder {folder}")
    if not os.access(folder, os.R_OK | os.X_OK):
        fail(f"the journal {path} can't be followed: the folder {folder} can't be read")
    if os.path.exists(path) and not os.path.isfile(path):
        fail(f"the journal {path} can't be followed: it is not a regular file")
    if os.path.exists(path) and not os.access(path, os.R_OK):
        fail(f"the journal {path} can't be followed: it can't be read")


def sentence(record: dict[str, Any]) -> str:
    """Return a record as a line for people."""
    if is_configuration(record):
        return _describe_configuration(record)
    content = read_content(record)
    initiator = record["initiator"]
    parts = [record["eventTime"][:19].replace("T", " ")]
    if record["eventType"] == "activity":
        parts += _describe_outcome(content)
    else:
        parts += [content["verdict"], content["rule"], content["message"]]
    parts.append(f"{content['action']} of server {record['target']['id']}")
    parts.append(f"name {content['image_name']}")
    parts.append(f"user {label(initiator, 'user', initiator.get('name')) or initiator['id']}")
    parts.append(f"project {content.get('project_id') or '-'}")
    parts.append(initiator.get("request_id"))
    return "  ".join(str(printable(part)) for part in parts if part)


def _describe_configuration(record: dict[str, Any]) -> str:
    content = read_content(record)
    configuration = content["configuration"]
    parts = [record["eventTime"][:19].replace("T", " "), f"policy {content['policy_digest']}"]
    if configuration["failure"]:
        parts.append(f"stays in force, since a reload failed: {configuration['failure']}")
    else:
        parts.append(f"in force, mode {configuration['mode']}")
    parts.append(f"process {content['pid']} of {record['observer']['host']['address']}")
    return "  ".join(str(printable(part)) for part in parts)


def _describe_outcome(content: dict[str, Any]) -> list[str]:
    response = content["status"] or content["error"] or "none"
    parts = ["response", str(response), f"in {content['seconds']:.3f} s"]
    if content["image_id"]:
        parts.append(f"image {content['image_id']}")
    return parts

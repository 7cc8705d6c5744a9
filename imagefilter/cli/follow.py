"""``imagefilter audit follow``: records as they are written."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from cliff.command import Command

from imagefilter.cli import journals
from imagefilter.follow import Follower, Line

_POLL = 0.25  # seconds


class AuditFollow(Command):
    """Print records as they are written, through rotation, until Ctrl-C.

    A verdict and the compute API's answer are a line each. With --verdict or --rule, only answers to such verdicts.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        journals.add_journal(parser)
        journals.add_filters(parser, times=False)
        parser.add_argument("--all", action="store_true", help="begin with the oldest record that is there")
        parser.add_argument("--json", action="store_true", help="print the records themselves, a line each")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        followers = [Follower(path) for path in journals.journals(parsed_args)]
        if not parsed_args.all:
            for follower in followers:
                follower.skip()
        sys.stderr.write(f"following {', '.join(follower.path for follower in followers)}; Ctrl-C ends it\n")
        wanted = _Wanted(parsed_args)
        with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
            while True:
                for line in (line for follower in followers for line in follower.read()):
                    if wanted(line):
                        self._print(line, parsed_args.json)
                self.app.stdout.flush()
                time.sleep(_POLL)
        return 0

    def _print(self, line: Line, as_json: bool) -> None:
        text = json.dumps(line.record) if as_json else sentence(line.record) if line.record else "(a torn line)"
        self.app.stdout.write(text + "\n")


class _Wanted:
    """Which lines the filter options ask for."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given
        self._open: set[str] = set()  # verdicts that were printed, and whose answers are to come

    def __call__(self, line: Line) -> bool:
        try:
            return self._is_wanted(line.record) if line.record else not self._given.json
        except (KeyError, IndexError, TypeError, AttributeError):  # no record of ours
            return False

    def _is_wanted(self, record: Mapping[str, Any]) -> bool:
        content = record["attachments"][0]["content"]
        if record["eventType"] == "activity":
            was_open = content["verdict_id"] in self._open
            self._open.discard(content["verdict_id"])
            return was_open
        wanted = journals.is_wanted(record, self._given)
        if wanted and content["verdict"] != "deny":
            self._open.add(record["id"])
        return wanted


def sentence(record: Mapping[str, Any]) -> str:
    """A record as a line for people."""
    content, initiator = record["attachments"][0]["content"], record["initiator"]
    told = [record["eventTime"][:19].replace("T", " ")]
    if record["eventType"] == "activity":
        told += ["answer", str(content["status"] or content["error"] or "none"), f"in {content['seconds']:.3f} s"]
        told += [f"image {content['image_id']}"] if content["image_id"] else []
    else:
        told += [content["verdict"], content["rule"] or "", content["message"] or ""]
    told += [f"{content['action']} of server {record['target']['id']}", f"name {content['image_name']}"]
    told += [f"user {initiator.get('name') or initiator['id']}", f"project {content.get('project_id') or '-'}"]
    told += [initiator.get("request_id", "")]
    return "  ".join(str(journals.printable(each)) for each in told if each)

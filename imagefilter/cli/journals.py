"""The journals that an ``audit`` command is about, and what of them."""

from __future__ import annotations

import argparse
import datetime
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from imagefilter.cli.files import add_config, load_file
from imagefilter.history import History
from imagefilter.options import ACTIONS, RULES
from imagefilter.rotated import Files

VERDICTS = ("allow", "deny", "would deny", "exempt")

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

# What each filter option is compared with; any one of the columns will do.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "project": ("project_id", "project_name"),
    "user": ("user_id", "user_name"),
    "server": ("server_id",),
    "verdict": ("verdict",),
    "rule": ("rule",),
    "action": ("action",),
}


def add_journal(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which journals."""
    add_config(parser)
    help_ = "a journal to read (again), with its rotated files, gzipped or not (default: audit_journal of --config)"
    parser.add_argument("--journal", metavar="FILE", action="append", default=[], help=help_)


def add_filters(parser: argparse.ArgumentParser, times: bool = True) -> None:
    """Add the options that say which requests."""
    if times:
        when = "24h (s, m, h, d, w) ago, or a date, or a time in ISO 8601 (UTC unless it says otherwise)"
        parser.add_argument("--since", metavar="TIME", type=moment, help=f"requests from then on: {when}")
        parser.add_argument("--until", metavar="TIME", type=moment, help="requests before then")
    parser.add_argument("--project", metavar="ID|NAME", help="requests judged by the policy of this project")
    parser.add_argument("--user", metavar="ID|NAME", help="requests of this user")
    parser.add_argument("--server", metavar="ID", help="requests to make an image of this server")
    parser.add_argument("--verdict", choices=VERDICTS, help="requests that were judged so")
    parser.add_argument("--rule", choices=RULES, metavar="RULE", help="requests that broke this rule")
    parser.add_argument("--action", choices=ACTIONS, help="requests for this action")


def moment(text: str) -> str:
    """A moment as records write it.

    :param text: a time that long ago, or an ISO 8601 one.
    """
    ago = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    try:
        if ago:
            span = datetime.timedelta(**{_UNITS[ago.group(2)]: int(ago.group(1))})
            time = datetime.datetime.now(datetime.timezone.utc) - span
        else:
            time = datetime.datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text.strip()))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"'{text}' is no time: try 24h, 2026-11-24 or 2026-11-24T13:30") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.timezone.utc)
    return time.astimezone(datetime.timezone.utc).isoformat(timespec="microseconds")


def condition(given: argparse.Namespace) -> tuple[str, dict[str, str]]:
    """The requests that the filter options ask for, as SQL and the values of its names."""
    parts = [f"time {sign} ${name}" for name, sign in (("since", ">="), ("until", "<")) if getattr(given, name)]
    for name, columns in _COLUMNS.items():
        if getattr(given, name):
            parts.append(f"({' OR '.join(f'{column} = ${name}' for column in columns)})")
    values = {name: getattr(given, name) for name in ("since", "until", *_COLUMNS) if getattr(given, name)}
    return " AND ".join(parts) or "true", values


def is_wanted(record: Mapping[str, Any], given: argparse.Namespace) -> bool:
    """Whether a verdict is one that the filter options ask for; times aside."""
    content, initiator = record["attachments"][0]["content"], record["initiator"]
    seen = {
        "project": (content.get("project_id"), initiator.get("project_name")),
        "user": (initiator.get("id"), initiator.get("name")),
        "server": (record["target"].get("id"),),
        **{name: (content.get(name),) for name in ("verdict", "rule", "action")},
    }
    return all(getattr(given, name) in (None, *seen[name]) for name in seen)


def journals(given: argparse.Namespace) -> list[str]:
    """The journals that are asked for; ends the program, with status 2, if there is none."""
    if given.journal:
        return list(dict.fromkeys(map(os.path.abspath, given.journal)))
    if not os.path.exists(given.config):
        fail(f"there is no config file {given.config}; name another (--config FILE) or a journal (--journal FILE)")
    journal = load_file(given.config).audit_journal
    if journal is None:
        fail(f"audit_journal is not set in {given.config}; name a journal (--journal FILE)")
    return [journal]


def files(paths: list[str]) -> list[list[str]]:
    """The files of each journal, oldest first; ends the program, with status 2, if one can't be read."""
    return [list(_files_of(path)) for path in paths]


def _files_of(path: str) -> Iterator[str]:
    try:
        found = [file.path for file in Files(path).all()]
        if path not in found and os.path.exists(path):  # nothing in it yet, or nothing but a torn line
            found.append(path)
        for each in found:
            with open(each, "rb"):
                yield each
    except OSError as error:
        fail(f"the journal {path} can't be read: {error.strerror}: {error.filename}")
    if not found:
        fail(f"there is no journal {path}")


def open_history(given: argparse.Namespace) -> History:
    """The journals that are asked for."""
    return History([file for each in files(journals(given)) for file in each])


def load(given: argparse.Namespace, columns: Iterable[str]) -> History:
    """Read of the journals what the filter options ask for; ends the program, with status 2, if that can't be done."""
    history = open_history(given)
    with reading():
        tell_torn(history.load(columns, *condition(given)))
    return history


@contextmanager
def reading() -> Iterator[None]:
    """Reading journals, which ends the program, with status 2, if it can't be done."""
    try:
        yield
    except OSError as error:
        fail(f"the journal can't be read: {error}")


def tell_torn(torn: Mapping[str, int]) -> None:
    """Say which lines could not be read."""
    for path, count in torn.items():
        what = "1 line is" if count == 1 else f"{count} lines are"
        sys.stderr.write(f"warning: {path}: {what} torn (a writer died there, or is writing); no record to be read\n")


def fail(reason: str) -> NoReturn:
    """End the program, with status 2."""
    sys.stderr.write(f"error: {reason}\n")
    raise SystemExit(2)


def printable(value: Any) -> Any:
    """A value for a terminal: what a client sent must not steer it."""
    if isinstance(value, list):
        return ", ".join(str(printable(each)) for each in value)
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in value)

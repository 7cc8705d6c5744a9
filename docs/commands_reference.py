"""Describe the commands for docs/commands.md, from their parsers: the same text whatever the version of Python."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from importlib import metadata

from cliff.command import Command
from cliff.lister import Lister
from cliff.show import ShowOne

GROUP = "imagefilter.cli"
# More of them would fill the table: the help names them.
_MOST_CHOICES = 6


def describe_commands() -> Iterator[str]:
    """Write each command: what it does, and its own options."""
    points = metadata.distribution("nova-imagefilter").entry_points
    for number, point in enumerate(sorted((point for point in points if point.group == GROUP), key=_by_name)):
        if number:
            yield ""
        yield from _describe(point.name.replace("_", " "), point.load())


def _by_name(point: metadata.EntryPoint) -> str:
    return point.name


def _describe(name: str, command: type[Command]) -> Iterator[str]:
    yield f"### `imagefilter {name}`"
    yield ""
    yield (inspect.getdoc(command) or "").replace("``", "`")
    actions = list(_find_own_actions(command))
    if actions:
        yield ""
        yield "| argument | meaning |"
        yield "|---|---|"
    for action in actions:
        yield f"| {_name(action)} | {_help(action)} |"


def _find_own_actions(command: type[Command]) -> Iterator[argparse.Action]:
    """Yield the arguments that are not cliff's own: -f, -c and the like."""
    known = set()
    for base in (Command, Lister, ShowOne):
        if issubclass(command, base):
            known |= {action.dest for action in _parse(base)}
    for action in _parse(command):
        if action.dest not in known and action.help != argparse.SUPPRESS:
            yield action


def _parse(command: type[Command]) -> list[argparse.Action]:
    if inspect.isabstract(command):
        command = type(command.__name__, (command,), {"take_action": None, "__abstractmethods__": frozenset()})
    return command(None, None).get_parser("imagefilter")._actions


def _name(action: argparse.Action) -> str:
    metavar = action.metavar or action.dest.upper()
    if isinstance(metavar, tuple):
        metavar = " ".join(metavar)
    if action.choices and len(action.choices) <= _MOST_CHOICES:
        metavar = "{" + ",".join(map(str, action.choices)) + "}"
    name = ", ".join(action.option_strings)
    if not name:
        return f"`{metavar}`".replace("|", "\\|")
    if action.nargs == 0:
        return f"`{name}`"
    return f"`{name} {metavar}`".replace("|", "\\|")


def _help(action: argparse.Action) -> str:
    text = (action.help or "") % {"default": action.default}
    return text.replace("|", "\\|")

"""``imagefilter show config``: every option, its value and where it comes from."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from cliff.lister import Lister

from imagefilter.cli.files import add_config, load_file
from imagefilter.options import OPTIONS, PROJECT_OPTIONS
from imagefilter.policy import Policy

Row = tuple[str, str, str, str]


class ShowConfig(Lister):
    """Show every option, its value and its origin, for all projects and for each that has a section of its own.

    What a paste section sets is not seen: it wins over [imagefilter], and a project's own section wins over it.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_config(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Row]]:
        return ("Project", "Option", "Value", "Origin"), list(rows_of(load_file(parsed_args.config)))


def rows_of(policy: Policy) -> Iterator[Row]:
    """The rows for all projects, then those for each project that has options of its own."""
    for scope, given in policy.origins.items():
        for option in OPTIONS:
            if scope and (option.name not in PROJECT_OPTIONS or option.name not in given):
                continue
            value: Any = given[option.name].text if option.name in given else option.default
            origin = given[option.name].place if option.name in given else "default"
            yield scope or "all", option.name, _text(value), origin


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(value)
    return "" if value is None or value == {} else str(value)

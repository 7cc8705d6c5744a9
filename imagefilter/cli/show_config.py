"""``imagefilter show config``: every option, its value and where it was set."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from cliff.lister import Lister
from oslo_config import cfg

from imagefilter.cli._base import SafeFormats
from imagefilter.cli._options import add_config, load_config
from imagefilter.policy.config import RawOption
from imagefilter.policy.options import OPTIONS, PROJECT_OPTIONS
from imagefilter.policy.own_rules import OWN_RULE_OPTIONS
from imagefilter.policy.policy import Policy

Row = tuple[str, str, str, str]


class ShowConfig(SafeFormats, Lister):
    """Show every option, its value and its origin, for all projects and for each project with its own section.

    Options in a paste section are not shown. They override [imagefilter]; a project's own section overrides them.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_config(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Row]]:
        return ("Project", "Option", "Value", "Origin"), list(_build_rows(load_config(parsed_args.config)))


def _build_rows(policy: Policy) -> Iterator[Row]:
    for project_id, given in policy.origins.items():
        for option in OPTIONS:
            is_own = option.name in PROJECT_OPTIONS and option.name in given
            if is_own or not project_id:
                yield _build_row(project_id or "all", option, given)
    for rule in policy.own_rules:
        for option in OWN_RULE_OPTIONS:
            yield _build_row(f"rule {rule.name}", option, rule.given)


def _build_row(scope: str, option: cfg.Opt, given: Mapping[str, RawOption]) -> Row:
    raw = given.get(option.name)
    if raw is None:
        return scope, option.name, _format(option.default), "default"
    if option.secret:
        return scope, option.name, "***", raw.location
    return scope, option.name, raw.text, raw.location


def _format(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(value)
    if value is None or value == {}:
        return ""
    return str(value)

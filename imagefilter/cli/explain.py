"""``imagefilter explain``: what the filter would say to a request, and why."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from cliff.lister import Lister

from imagefilter.action import ImageAction, recognise
from imagefilter.caller import Caller
from imagefilter.checks import project_of
from imagefilter.cli.files import add_config, load_file
from imagefilter.policy import Policy
from imagefilter.rules import Verdict, examine, judge

# The options that a rule goes by.
_OPTIONS = {
    "snapshots-enabled": ("snapshots_enabled",),
    "metadata-quota": ("metadata_items", "metadata_items_source"),
    "name-pattern": ("name_pattern",),
    "metadata-required": ("metadata_required",),
    "metadata-reserved": ("metadata_reserved",),
}
_SERVER = "00000000-0000-4000-8000-000000000000"


class Explain(Lister):
    """Judge the body of an action as the filter would, with the same engine, and tell rule by rule.

    The caller is one that auth_token vouches for. Exit status: 0 allowed, 1 denied, 2 no image action.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_config(parser)
        parser.add_argument("--project", metavar="ID", help="the caller's project")
        parser.add_argument(
            "--role", metavar="NAME", action="append", default=[], help="a role of the caller's (again)"
        )
        help_ = "told for completeness: the verdict is the same at every one"
        parser.add_argument("--microversion", metavar="V", default="latest", help=help_)
        help_ = "the compute API's quota, where metadata_items_source asks for it (default: 128)"
        parser.add_argument("--quota", metavar="N", type=int, default=128, help=help_)
        parser.add_argument("body", metavar="BODY.json", help="the request's body; - is standard input")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        policy = load_file(parsed_args.config)
        body = sys.stdin.buffer.read() if parsed_args.body == "-" else Path(parsed_args.body).read_bytes()
        action = action_of(body, policy)
        caller = Caller(None, parsed_args.project, frozenset(map(str.lower, parsed_args.role)), True, True, "", "")
        if action is None or action.kind not in (*policy.actions, None):
            self.app.stderr.write("no image action: the filter hands it on untouched\n")
            self.status = 2
            return COLUMNS, []
        verdict = judge(action, caller, policy, lambda: parsed_args.quota)
        self.app.stderr.write(f"{sentence(verdict)} (at {parsed_args.microversion} as at every microversion)\n")
        self.status = 1 if verdict.outcome == "deny" else 0
        return COLUMNS, rows_of(action, caller, policy, parsed_args.quota)

    def run(self, parsed_args: argparse.Namespace) -> int:
        super().run(parsed_args)
        return self.status

    status = 0


COLUMNS = ("Rule", "Mode", "Result", "Settings")


def action_of(body: bytes, policy: Policy) -> ImageAction | None:
    """The action that a body sent to an action path asks for."""
    path = f"/servers/{_SERVER}/action"
    return recognise({"REQUEST_METHOD": "POST", "PATH_INFO": path}, body, policy.actions)


def sentence(verdict: Verdict) -> str:
    """A verdict in words."""
    if not verdict.rule:
        return f"verdict: {verdict.outcome}"
    return f"verdict: {verdict.outcome}, rule {verdict.rule}: {verdict.status} {verdict.message}"


def rows_of(action: ImageAction, caller: Caller, policy: Policy, quota: int) -> list[tuple[str, ...]]:
    """Each rule with its mode, what it finds, and where the options it goes by come from."""
    scope = project_of(action, caller) or ""
    given: dict[str, Any] = {**policy.origins[""], **policy.origins.get(scope, {})}
    rows: list[tuple[str, ...]] = []
    for name, mode, refusal in examine(action, caller, policy, lambda: quota):
        result = mode if mode in ("off", "exempt") else f"{refusal.status} {refusal.message}" if refusal else "holds"
        used = [f"{given[o].name} = {given[o].text}, {given[o].place}" for o in _OPTIONS.get(name, ()) if o in given]
        rows.append((name, mode, result, "; ".join(used) or ("default" if name in _OPTIONS else "")))
    return rows

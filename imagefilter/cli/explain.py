"""``imagefilter explain``: the verdict on a request, rule by rule."""

from __future__ import annotations

import argparse
import datetime
import io
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imagefilter.cli._base import StatusLister
from imagefilter.cli._filters import parse_time
from imagefilter.cli._numbers import parse_count
from imagefilter.cli._options import FixedLookups, add_config, add_quota, load_config
from imagefilter.cli._output import fail, printable, printable_rows
from imagefilter.cli._server import add_server, find_facts
from imagefilter.fault import Fault
from imagefilter.policy.config import RawOption
from imagefilter.policy.context import RequestContext, build_context
from imagefilter.policy.limits import KEYSTONE_LIMITS, apply_keystone
from imagefilter.policy.policy import Policy
from imagefilter.request.action import ACTIONS, ImageAction, recognise
from imagefilter.request.body import read_body
from imagefilter.request.identity import Identity
from imagefilter.rules.case import IMAGE_QUOTAS, Lookups, Quota, Refusal, Usage
from imagefilter.rules.engine import Decision, Verdict, examine, judge

_COLUMNS = ("Rule", "Mode", "Result", "Settings")
_ALL_ACTIONS = {name: name.encode() for name in ACTIONS}
_PATH = "/servers/00000000-0000-4000-8000-000000000000/action"

Row = tuple[str, str, str, str]


class Explain(StatusLister):
    """Judge the body of an action with the filter's own engine, and show the result of each rule.

    The caller counts as authenticated by auth_token. No request is sent, except to look up a server with --server-id.
    Exit status: 0 allowed, 1 denied, 2 not an image action, or the command could not run.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_config(parser)
        _add_caller(parser)
        _add_lookups(parser)
        add_server(parser)
        parser.add_argument("body", metavar="BODY.json", help="file with the body of the request; - is standard input")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        policy = load_config(parsed_args.config)
        body = _read_body(parsed_args.body)
        try:
            read_body({"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}, policy.max_body_bytes)
        except Fault as fault:
            self.app.stderr.write(f"verdict: deny: {fault.status} {fault.message}\n")
            self.status = 1
            return _COLUMNS, []
        action = _recognise(body, policy)
        if action is None:
            self.app.stderr.write(f"{_explain_unjudged(body, policy)}: the filter forwards it untouched\n")
            self.status = 2
            return _COLUMNS, []
        context = build_context(action, _build_identity(parsed_args), policy)
        limits = apply_keystone(context.settings.limits, parsed_args.keystone_limits)
        lookups = FixedLookups(
            parsed_args.quota,
            limits,
            parsed_args.usage,
            parsed_args.image_quota,
            find_facts(parsed_args, context.settings.server_fields),
            _read_now(parsed_args),
        )
        verdict = judge(context, lookups)
        self.app.stderr.write(
            f"{printable(_describe(verdict))} (at {parsed_args.microversion}, as at every microversion)\n"
        )
        if verdict.decision is Decision.DENY:
            self.status = 1
        return _COLUMNS, printable_rows(_build_rows(context, lookups), parsed_args)


def _add_caller(parser: argparse.ArgumentParser) -> None:
    """Add the options that say who asks, and when."""
    parser.add_argument("--project", metavar="ID", help="the caller's project")
    parser.add_argument(
        "--role", metavar="NAME", action="append", default=[], help="a role of the caller; may be repeated"
    )
    parser.add_argument("--user", metavar="ID", help="the caller's id")
    parser.add_argument("--user-domain", metavar="ID", default="default", help="the caller's domain")
    help_text = "the time, for rules of your own, in ISO 8601 (default: now)"
    parser.add_argument("--now", metavar="TIME", type=parse_time, help=help_text)
    parser.add_argument(
        "--microversion",
        metavar="V",
        default="latest",
        help="has no effect: the verdict is the same at every microversion",
    )


def _add_lookups(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what the APIs around the filter would respond."""
    add_quota(parser)
    parser.add_argument(
        "--usage",
        metavar="server=N,project=N,in_progress=N",
        type=_parse_usage,
        default=Usage(0, 0, 0),
        help="how many images there are already, for the limits (default: 0 of each)",
    )
    parser.add_argument(
        "--keystone-limits",
        metavar="NAME=N,...",
        type=_parse_keystone_limits,
        default={},
        help=f"Keystone's limits, for limits_source = keystone: {', '.join(KEYSTONE_LIMITS)} (default: none)",
    )
    parser.add_argument(
        "--image-quota",
        metavar="NAME=USED/LIMIT,...",
        type=_parse_image_quota,
        default={},
        help=f"Glance's own quotas, for image_quota_check: {', '.join(IMAGE_QUOTAS)} (default: none)",
    )


def _read_now(args: argparse.Namespace) -> datetime.datetime | None:
    if args.now is None:
        return None
    return datetime.datetime.fromisoformat(args.now)


def _parse_usage(text: str) -> Usage:
    counts = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        if name not in Usage._fields:
            raise argparse.ArgumentTypeError(f"'{part}' is not one of server=N, project=N, in_progress=N")
        counts[name] = parse_count(number)
    return Usage(0, 0, 0)._replace(**counts)


def _parse_keystone_limits(text: str) -> dict[str, int]:
    limits = {}
    for part in text.split(","):
        limit = re.fullmatch(r"\s*([a-z_]+)=(-1|[0-9]+)\s*", part, re.ASCII)
        if limit is None or limit[1] not in KEYSTONE_LIMITS:
            raise argparse.ArgumentTypeError(f"'{part}' is not NAME=N with one of {', '.join(KEYSTONE_LIMITS)}")
        limits[limit[1]] = int(limit[2])
    return limits


def _parse_image_quota(text: str) -> dict[str, Quota]:
    quotas = {}
    for part in text.split(","):
        quota = re.fullmatch(r"\s*([a-z_]+)=([0-9]+)/(-1|[0-9]+)\s*", part, re.ASCII)
        if quota is None or quota[1] not in IMAGE_QUOTAS:
            raise argparse.ArgumentTypeError(f"'{part}' is not NAME=USED/LIMIT with one of {', '.join(IMAGE_QUOTAS)}")
        quotas[quota[1]] = Quota(limit=int(quota[3]), usage=int(quota[2]))
    return quotas


def _read_body(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        fail(f"the body {path} can't be read: {error.strerror}")


def _explain_unjudged(body: bytes, policy: Policy) -> str:
    """Return why the policy does not judge a body."""
    action = recognise({"REQUEST_METHOD": "POST", "PATH_INFO": _PATH}, body, _ALL_ACTIONS)
    if action is None or action.name is None:
        return "not an image action"
    return f"{action.name} is not judged: it is not in actions ({', '.join(policy.actions)})"


def _recognise(body: bytes, policy: Policy) -> ImageAction | None:
    """Recognise the action in a body that is sent to an action path; None if the policy does not judge it."""
    action = recognise({"REQUEST_METHOD": "POST", "PATH_INFO": _PATH}, body, policy.actions)
    if action is not None and action.name is not None and action.name not in policy.actions:
        return None
    return action


def _build_identity(args: argparse.Namespace) -> Identity:
    return Identity(
        user_id=args.user,
        project_id=args.project,
        roles=frozenset(role.lower() for role in args.role),
        authenticated=True,
        has_token=True,
        address="",
        request_id="",
        user_domain_id=args.user_domain,
    )


def _describe(verdict: Verdict) -> str:
    if not verdict.rule:
        return f"verdict: {verdict.decision}"
    return f"verdict: {verdict.decision}, rule {verdict.rule}: {verdict.status} {verdict.message}"


def _build_rows(context: RequestContext, lookups: Lookups) -> list[Row]:
    """Return a row for each rule: its mode, its result, and where its options were given."""
    origins = context.policy.origins
    given = {**origins[""], **origins.get(context.project_id or "", {})}
    rows = []
    for rule, mode, refusal in examine(context, lookups, context.policy.rules):
        settings = _describe_options(rule.options, given)
        for own_rule in context.policy.own_rules:
            if own_rule.name == rule.name:
                settings = _describe_options(("deny",), own_rule.given)
        rows.append((rule.name, mode, _describe_result(mode, refusal), settings))
    return rows


def _describe_result(mode: str, refusal: Refusal | None) -> str:
    if mode in ("off", "exempt"):
        return mode
    if mode == "n/a":
        return "does not apply"
    if refusal:
        if refusal.reason:
            return f"{refusal.status} {refusal.message}: no result: {refusal.reason}"
        return f"{refusal.status} {refusal.message}"
    return "holds"


def _describe_options(options: Sequence[str], given: Mapping[str, RawOption]) -> str:
    if not options:
        return ""
    descriptions = []
    for name in options:
        if name in given:
            raw = given[name]
            descriptions.append(f"{raw.name} = {raw.text}, {raw.location}")
    return "; ".join(descriptions) or "default"

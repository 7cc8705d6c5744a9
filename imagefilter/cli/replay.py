"""``imagefilter audit replay``: what another policy would have said to the requests of the past."""

from __future__ import annotations

import argparse
import collections
import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from cliff.lister import Lister

from imagefilter.action import NAMED_ACTIONS, ImageAction, recognise
from imagefilter.caller import Caller
from imagefilter.cli import journals
from imagefilter.cli.audit import shown
from imagefilter.cli.files import DEFAULT, load_file
from imagefilter.history import History
from imagefilter.options import ACTIONS, RULES
from imagefilter.policy import Policy
from imagefilter.rules import Verdict, judge

FIELDS = (
    *("time", "request_id", "verdict", "rule", "mode", "action", "method", "path", "media_type", "image_name", "cut"),
    *("image_name_type", "metadata", "metadata_keys", "metadata_count", "metadata_type", "user_id", "vouched"),
    *("caller_project_id", "project_id", "project_name", "roles"),
)
_ALL_ACTIONS = {name: name.encode() for name in ACTIONS}
_UNREADABLE = b"\\"

# What stands for a value of which only the kind was recorded.
_EXAMPLES: Mapping[str, Any] = {
    **{"null": None, "text": "", "a boolean": True, "a number": 0.5},
    **{"a list": [], "an object": {}},
}

# The rules that can't be judged again, by what was not recorded or was cut.
_CONTRACT = frozenset(("metadata-key-blank", "metadata-key-length"))
_BY_VALUES = frozenset(("metadata-value",))
_BY_KEYS = frozenset(("metadata-key-blank", "metadata-key-length", "metadata-required", "metadata-reserved"))
_WHEN_CUT = (
    ("image_name:", frozenset(("name-pattern",))),
    ("a metadata key:", _BY_KEYS),
    ("a metadata value:", _BY_VALUES),
    ("metadata:", _BY_KEYS | _BY_VALUES),
    ("path:", frozenset(("project-id", "project", "server"))),
    ("role", frozenset(RULES) - {"token", "content-type", "body"}),  # who is exempt
)


class Replayed(NamedTuple):
    """A request of the past, and what the new policy says to it."""

    then: Mapping[str, Any]
    now: Verdict
    unknown: frozenset[str]  # rules that can't be judged again

    @property
    def is_told(self) -> bool:
        """Whether no rule that can't be judged again could have decided."""
        decided = RULES.index(self.now.rule) if self.now.outcome == "deny" else len(RULES)
        return not any(RULES.index(rule) <= decided for rule in self.unknown if not self._held(rule))

    def _held(self, rule: str) -> bool:
        """Whether a rule is known to have held then. Of the operator's rules there may be others now."""
        then = self.then["rule"]
        if (
            rule in _BY_VALUES
        ):  # few values are bad, and nearly no journal holds any: else hardly anything could be told
            return bool(then != rule)
        judged = RULES.index(rule) < RULES.index(then) if then else self.then["mode"] == "enforce"
        return judged and rule in _CONTRACT

    @property
    def is_otherwise(self) -> bool:
        """Whether the verdict is another one now, or another rule's."""
        then = (self.then["verdict"], self.then["rule"] or "")
        return self.is_told and then != (self.now.outcome, self.now.rule)


class AuditReplay(Lister):
    """List the recorded requests that another policy would judge otherwise, and by which rule: a policy's rehearsal.

    Nothing is sent anywhere. What can't be judged again is said: metadata values are recorded only with audit_metadata
    = full (else they are taken for good ones), no keys with none, and long texts are cut. Exit status: 0 none would be
    otherwise, 1 some, 2 it could not be run.
    """

    status = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        help_ = f"the new policy: a file with a section [imagefilter] (default: {DEFAULT})"
        parser.add_argument("--config", metavar="NEW.conf", default=DEFAULT, help=help_)
        help_ = "a journal to replay (again), with its rotated files (default: audit_journal of --config)"
        parser.add_argument("--journal", metavar="FILE", action="append", default=[], help=help_)
        journals.add_filters(parser)
        help_ = "the compute API's quota, where metadata_items_source asks for it (default: 128)"
        parser.add_argument("--quota", metavar="N", type=int, default=128, help=help_)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        policy = load_file(parsed_args.config)
        history = journals.load(parsed_args, FIELDS)
        tally = Tally()
        rows = [
            row_of(each) for each in map(tally.count, replay(history, policy, parsed_args.quota)) if each.is_otherwise
        ]
        sys.stderr.writelines(f"{line}\n" for line in tally.lines())
        self.status = 1 if rows else 0
        return ("Time", "Request ID", "Project", "Action", "Image Name", "Then", "Now"), shown(rows, parsed_args)

    def run(self, parsed_args: argparse.Namespace) -> int:
        super().run(parsed_args)
        return self.status


class Tally:
    """Counts what a replay comes to."""

    def __init__(self) -> None:
        self._total = self._untold = 0
        self._otherwise: collections.Counter[str] = collections.Counter()
        self._unknown: collections.Counter[str] = collections.Counter()

    def count(self, each: Replayed) -> Replayed:
        """Count a request, and pass it on."""
        self._total += 1
        self._untold += not each.is_told
        self._unknown.update(each.unknown)
        if each.is_otherwise:
            self._otherwise[f"{_verdict(each.then)} -> {_now(each)}"] += 1
        return each

    def lines(self) -> Iterator[str]:
        """What is to be told."""
        yield f"{self._total} requests replayed, {sum(self._otherwise.values())} would be judged otherwise"
        for change, count in self._otherwise.most_common():
            yield f"  {count}: {change}"
        if self._untold:
            yield f"{self._untold} can't be told: a rule that may have decided needs what was not recorded"
        for rule in sorted(self._unknown, key=RULES.index):
            taken = ", and taken to hold" if rule in _BY_VALUES else ""
            why = "what it looks at was not recorded, or cut"
            yield f"{rule} was not judged again in {self._unknown[rule]}{taken}: {why}"


def replay(history: History, policy: Policy, quota: int) -> Iterator[Replayed]:
    """Judge by another policy what was loaded of journals, oldest first."""
    for row in history.each(f"SELECT {', '.join(FIELDS)} FROM found ORDER BY time"):
        then = dict(zip(FIELDS, row))
        action = action_of(then)
        if action is None or action.kind not in (*policy.actions, None):
            yield Replayed(then, Verdict("not judged"), frozenset())
        else:
            yield Replayed(then, judge(action, _caller_of(then), policy, lambda: quota), _unknown(then))


def action_of(then: Mapping[str, Any]) -> ImageAction | None:
    """The action of a recorded request, recognised in a request made anew of the record."""
    environ = {"REQUEST_METHOD": then["method"], "PATH_INFO": then["path"], "CONTENT_TYPE": then["media_type"]}
    kind = then["action"]
    body = _UNREADABLE if kind is None else json.dumps({kind: _entity(kind, then)}).encode()
    return recognise(environ, body, _ALL_ACTIONS)


def row_of(each: Replayed) -> tuple[Any, ...]:
    """A row of the list."""
    then = each.then
    project = then["project_name"] or then["project_id"]
    time = then["time"][:19].replace("T", " ")
    return time, then["request_id"], project, then["action"], then["image_name"], _verdict(then), _now(each)


def _entity(kind: str, then: Mapping[str, Any]) -> Any:
    if kind not in NAMED_ACTIONS or then["rule"] == "body":  # this one was no object
        return None
    entity: dict[str, Any] = {"metadata": _metadata(then)}
    if then["image_name_type"]:
        entity["name"] = _EXAMPLES[then["image_name_type"]]
    elif then["image_name"] is not None:
        entity["name"] = then["image_name"].ljust(_length_of("image_name", then), "?")
    return entity


def _metadata(then: Mapping[str, Any]) -> Any:
    if then["metadata_type"]:
        return _EXAMPLES[then["metadata_type"]]
    full = json.loads(then["metadata"]) if then["metadata"] else dict.fromkeys(then["metadata_keys"] or (), "")
    known = {key: value if isinstance(value, str) else _EXAMPLES[value["type"]] for key, value in full.items()}
    missing = (then["metadata_count"] or 0) - len(known)
    return {**known, **{f"(not recorded: {number})": "" for number in range(missing)}}


def _length_of(what: str, then: Mapping[str, Any]) -> int:
    """How long a text was before it was cut."""
    found = re.search(rf"^{what}: (\d+) characters$", "\n".join(then["cut"] or ()), re.MULTILINE)
    return int(found.group(1)) if found else 0


def _caller_of(then: Mapping[str, Any]) -> Caller:
    # Those who brought no token have no record.
    if not then["vouched"]:
        return Caller(None, None, frozenset(), False, True, "", "")
    return Caller(then["user_id"], then["caller_project_id"], frozenset(then["roles"] or ()), True, True, "", "")


def _unknown(then: Mapping[str, Any]) -> frozenset[str]:
    if then["action"] not in NAMED_ACTIONS:
        return frozenset()
    unknown = [rules for note in then["cut"] or () for prefix, rules in _WHEN_CUT if note.startswith(prefix)]
    if then["metadata_count"] and then["metadata"] is None:
        unknown.append(_BY_VALUES)
        if then["metadata_keys"] is None:
            unknown.append(_BY_KEYS)
    return frozenset().union(*unknown)


def _verdict(then: Mapping[str, Any]) -> str:
    return f"{then['verdict']} ({then['rule']})" if then["rule"] else str(then["verdict"])


def _now(each: Replayed) -> str:
    return f"{each.now.outcome} ({each.now.rule})" if each.now.rule else each.now.outcome

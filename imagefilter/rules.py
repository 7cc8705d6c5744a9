"""The rules in judging order, and the engine that judges by them.

:func:`judge` is the only engine: the filter, the commands and the tests all call it. It does no I/O of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable, NamedTuple

from imagefilter import checks
from imagefilter.action import NAMED_ACTIONS, ImageAction
from imagefilter.caller import Caller
from imagefilter.checks import Case, Check, Refusal, project_of
from imagefilter.compute import NotAuthenticated
from imagefilter.options import ALWAYS_ENFORCED
from imagefilter.policy import Policy, Settings


class Verdict(NamedTuple):
    """What a judgement found: ``outcome`` is allow, deny, would deny or exempt; ``rule`` the first one that was broken.

    An enforced rule that was broken wins over one that only warns. ``limit`` and ``usage`` are of an exceeded quota.
    """

    outcome: str
    rule: str = ""
    status: int = 0
    message: str = ""
    limit: int | None = None
    usage: int | None = None


ALLOW = Verdict("allow")
EXEMPT = Verdict("exempt")


class Rule(NamedTuple):
    name: str
    status: int
    check: Check


def judge(action: ImageAction, caller: Caller, policy: Policy, metadata_items: Callable[[], int]) -> Verdict:
    """Judge an image action by the contract and by what the policy says of its project.

    :param metadata_items: gives the project's quota of the compute API; only called if a rule needs it.
    """
    found = None
    try:
        for name, mode, refusal in examine(action, caller, policy, metadata_items):
            if refusal and mode == "enforce":
                return _verdict("deny", name, refusal)
            if refusal and not found:
                found = _verdict("would deny", name, refusal)
    except NotAuthenticated:
        return Verdict("deny", "token", 401, checks.UNAUTHORIZED)
    return found or (EXEMPT if _is_exempt(caller, policy.for_project(project_of(action, caller))) else ALLOW)


def examine(
    action: ImageAction, caller: Caller, policy: Policy, metadata_items: Callable[[], int]
) -> Iterator[tuple[str, str, Refusal | None]]:
    """Each rule in judging order: its name, its mode for this caller, and why it refuses if it is broken.

    Ends at a rule that refuses in every mode.
    """
    settings = policy.for_project(project_of(action, caller))
    exempt = _is_exempt(caller, settings)
    metadata = action.metadata
    case = Case(action, caller, settings, policy, metadata_items, metadata if type(metadata) is dict else {})
    for name, status, check in _RULES if action.kind in NAMED_ACTIONS else _RULES_WITHOUT_NAME:
        mode = "exempt" if exempt and name in _EXEMPTED else settings.modes[name]
        found = None if mode in _UNEXAMINED else check(case)
        if found is None:
            yield name, mode, None
            continue
        refusal = Refusal(found) if isinstance(found, str) else found
        yield name, mode, refusal if refusal.status else refusal._replace(status=status)
        if name in ALWAYS_ENFORCED:  # nothing is left to be judged of a request that can't be read
            return


def _verdict(outcome: str, rule: str, refusal: Refusal) -> Verdict:
    return Verdict(outcome, rule, refusal.status, refusal.message, refusal.limit, refusal.usage)


def _is_exempt(caller: Caller, settings: Settings) -> bool:
    return caller.vouched and not settings.exempt_roles.isdisjoint(caller.roles)


_RULES = (
    Rule("token", 401, checks.token),
    Rule("content-type", 400, checks.content_type),
    Rule("body", 400, checks.body),
    Rule("project-id", 404, checks.project_id),
    Rule("project", 400, checks.project),
    Rule("project-unknown", 403, checks.project_unknown),
    Rule("server", 404, checks.server),
    Rule("snapshots-enabled", 400, checks.snapshots_enabled),
    Rule("name-required", 400, checks.name_required),
    Rule("name-format", 400, checks.name_format),
    Rule("metadata-type", 400, checks.metadata_type),
    Rule("metadata-quota", 403, checks.metadata_quota),
    Rule("metadata-key-blank", 400, checks.metadata_key_blank),
    Rule("metadata-key-length", 400, checks.metadata_key_length),
    Rule("metadata-value", 400, checks.metadata_value),
    Rule("name-pattern", 403, checks.name_pattern),
    Rule("metadata-required", 403, checks.metadata_required),
    Rule("metadata-reserved", 403, checks.metadata_reserved),
)
_EXEMPTED = frozenset(("snapshots-enabled", "metadata-quota", "name-pattern", "metadata-required", "metadata-reserved"))
_UNEXAMINED = frozenset(("off", "exempt"))
_RULES_WITHOUT_NAME = tuple(rule for rule in _RULES if not rule.name.startswith(("name-", "metadata-")))

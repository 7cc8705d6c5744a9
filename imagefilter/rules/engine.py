"""Judge an image action by the table of rules.

:func:`judge` is the only engine: the filter, the commands and the tests all call it. It does no I/O of its own.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Optional

from imagefilter.policy.context import RequestContext
from imagefilter.request.action import NAMED_ACTIONS
from imagefilter.rules.case import Lookups, NotAuthenticated, Refusal, build_case
from imagefilter.rules.contract import UNAUTHORIZED
from imagefilter.rules.rule import Rule


class Decision(str, enum.Enum):
    """What is decided about a request."""

    ALLOW = "allow"
    DENY = "deny"
    WOULD_DENY = "would_deny"  # a rule was broken that only warns
    EXEMPT = "exempt"  # allowed to a caller who is not bound by every rule

    __str__ = str.__str__  # Python 3.9 to 3.13 differ


class Verdict(NamedTuple):
    """The decision about a request, and the rule that made it: the first that was broken.

    An enforced rule that was broken wins over one that only warns. ``limit`` and ``usage`` are of an exceeded quota.
    """

    decision: Decision
    rule: str = ""
    status: int | None = None
    message: str = ""
    limit: int | None = None
    usage: int | None = None
    retry_after: int | None = None  # seconds
    mode: str = ""  # of the rule
    is_own: bool = False  # one of the operator's own rules
    reason: str = ""  # why an own rule had no result


# Modes in which a rule is not asked.
_NOT_ASKED = frozenset(("off", "exempt", "n/a"))

#: What came of one rule: the rule; its mode for this caller (enforce, warn, off, exempt, or n/a); and its refusal, with
#: a status, or None if it holds or was not asked. A plain tuple: 18 of them are made for each request.
Examination = tuple[Rule, str, Optional[Refusal]]


def judge(context: RequestContext, lookups: Lookups) -> Verdict:
    """Judge an image action by the contract and by the policy of its project.

    :param lookups: only asked if a rule needs a fact.
    """
    warned = None
    try:
        for rule, mode, refusal in examine(context, lookups, context.settings.rules):
            if refusal is None:
                continue
            if mode == "enforce":
                return _verdict(Decision.DENY, rule, mode, refusal)
            if warned is None:
                warned = _verdict(Decision.WOULD_DENY, rule, mode, refusal)
    except NotAuthenticated:
        return Verdict(Decision.DENY, rule="token", status=401, message=UNAUTHORIZED.message)
    if warned:
        return warned
    if context.is_exempt:
        return Verdict(Decision.EXEMPT)
    return Verdict(Decision.ALLOW)


def examine(context: RequestContext, lookups: Lookups, rules: Iterable[Rule]) -> Iterator[Examination]:
    """Examine a request by each of the rules that applies to its action.

    Ends at a broken rule that refuses in every mode: nothing can be judged of a request that can't be read.

    :param rules: in judging order.
    """
    modes, is_exempt = context.settings.modes, context.is_exempt
    has_image_parts = context.action.name in NAMED_ACTIONS
    case = build_case(context, lookups)
    for rule in rules:
        if not has_image_parts and rule.reads_image:
            continue
        mode = modes[rule.name]
        if is_exempt and rule.exemptible:
            mode = "exempt"
        if rule.own and not rule.own.applies_to(context.action.name, context.project_id):
            mode = "n/a"
        refusal = None
        if mode not in _NOT_ASKED:
            refusal = rule.check(case)
        if refusal and refusal.status is None:
            refusal = refusal._replace(status=rule.status)
        yield rule, mode, refusal
        if refusal and rule.always_enforced:
            return


def _verdict(decision: Decision, rule: Rule, mode: str, refusal: Refusal) -> Verdict:
    return Verdict(
        decision,
        rule=refusal.rule or rule.name,
        status=refusal.status,
        message=refusal.message,
        limit=refusal.limit,
        usage=refusal.usage,
        retry_after=refusal.retry_after,
        mode=mode,
        is_own=rule.own is not None and not refusal.rule,
        reason=refusal.reason,
    )

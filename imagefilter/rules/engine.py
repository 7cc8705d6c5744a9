"""Judge an image action by the table of rules.

:func:`judge` is the only engine: the filter, the commands and the tests all call it. It does no I/O of its own.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import NamedTuple

from imagefilter.policy.context import RequestContext
from imagefilter.request.action import NAMED_ACTIONS
from imagefilter.rules import table
from imagefilter.rules.case import Lookups, NotAuthenticated, Refusal, build_case
from imagefilter.rules.contract import UNAUTHORIZED
from imagefilter.rules.table import Rule


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


class Examination(NamedTuple):
    """What came of one rule."""

    rule: Rule
    mode: str  # enforce, warn, off; exempt if the caller is not bound by it
    refusal: Refusal | None  # with its status; None: the rule holds, or was not asked


def judge(context: RequestContext, lookups: Lookups) -> Verdict:
    """Judge an image action by the contract and by the policy of its project.

    :param lookups: only asked if a rule needs a fact.
    """
    warned = None
    try:
        for rule, mode, refusal in examine(context, lookups):
            if refusal and mode == "enforce":
                return _verdict(Decision.DENY, rule, refusal)
            if refusal and not warned:
                warned = _verdict(Decision.WOULD_DENY, rule, refusal)
    except NotAuthenticated:
        return Verdict(Decision.DENY, rule="token", status=401, message=UNAUTHORIZED.message)
    if warned:
        return warned
    if context.is_exempt:
        return Verdict(Decision.EXEMPT)
    return Verdict(Decision.ALLOW)


def examine(context: RequestContext, lookups: Lookups) -> Iterator[Examination]:
    """Examine a request by each rule that applies to its action, in judging order.

    Ends at a broken rule that refuses in every mode: nothing can be judged of a request that can't be read.
    """
    is_exempt = context.is_exempt
    has_image_parts = context.action.name in NAMED_ACTIONS
    case = build_case(context, lookups)
    for rule in table.RULES:
        if rule.reads_image and not has_image_parts:
            continue
        mode = context.settings.modes[rule.name]
        if is_exempt and rule.exemptible:
            mode = "exempt"
        if mode in ("off", "exempt"):
            yield Examination(rule, mode, None)
            continue
        refusal = rule.check(case)
        if refusal and refusal.status is None:
            refusal = refusal._replace(status=rule.status)
        yield Examination(rule, mode, refusal)
        if refusal and rule.always_enforced:
            return


def _verdict(decision: Decision, rule: Rule, refusal: Refusal) -> Verdict:
    return Verdict(decision, rule.name, refusal.status, refusal.message, refusal.limit, refusal.usage)

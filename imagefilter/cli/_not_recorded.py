"""What of a recorded request can't be judged again: what a rule reads was truncated, or not recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imagefilter.cli._recorded import Row, find_limits, read_usage, truncated_lengths
from imagefilter.policy.context import RequestContext
from imagefilter.policy.limits import Limits
from imagefilter.request.action import NAMED_ACTIONS
from imagefilter.rules.own import OwnRule
from imagefilter.rules.rule import Part

# What is incomplete if a field of the record was truncated.
_TRUNCATED_PARTS: Mapping[str, tuple[Part, ...]] = {
    "path": (Part.PATH,),
    "image_name": (Part.NAME,),  # its length was recorded
    "metadata_key": (Part.METADATA_KEYS,),
    "metadata_value": (Part.METADATA_VALUES,),
    "metadata": (Part.METADATA_KEYS, Part.METADATA_VALUES),
}
_ROLES = frozenset(("role", "roles"))

# What of a record is needed for a field of own rules.
_DOCUMENT_PARTS: Mapping[str, tuple[Part, ...]] = {
    "image.name": (Part.NAME,),
    "image.metadata": (Part.METADATA_KEYS, Part.METADATA_VALUES),
}


def find_unknown_rules(row: Row, context: RequestContext) -> frozenset[str]:
    """Return the rules that can't be judged again: what they read was truncated, or not recorded.

    :param context: the request beside the policy that judges now.
    """
    settings = context.settings
    missing = set(_find_missing_parts(row))
    roles_are_missing = not _ROLES.isdisjoint(truncated_lengths(row))  # they decide who is exempt
    unknown = []
    for rule in context.policy.rules:
        if rule.own:
            is_known = not roles_are_missing and (context.is_exempt or _is_document_known(rule.own, row, missing))
            is_asked = settings.modes[rule.name] != "off" and rule.own.applies_to(row["action"], context.project_id)
            if is_asked and not is_known:
                unknown.append(rule.name)
            continue
        if rule.reads_image and row["action"] not in NAMED_ACTIONS:
            continue
        if rule.reads is Part.USAGE and _is_usage_unknown(rule.name, row, find_limits(row, settings)):
            unknown.append(rule.name)
        if rule.reads is Part.IMAGE_QUOTA and settings.image_quota_check and row["image_quota"] is None:
            unknown.append(rule.name)
        if rule.reads in missing or (roles_are_missing and not rule.always_enforced):
            unknown.append(rule.name)
    return frozenset(unknown)


def _is_document_known(rule: OwnRule, row: Row, missing: set[Part]) -> bool:
    """Return whether the record holds all that an own rule reads."""
    known = {fact["field"] for fact in row["facts"] or ()}
    usage = read_usage(row)._asdict()
    if "backup.type" in rule.expression.fields and "backup_type" in truncated_lengths(row):
        return False
    for field in rule.expression.fields:
        group, _, name = field.partition(".")
        if group == "server" and field not in known:
            return False
        if group == "usage" and usage[name] is None:
            return False
        if not missing.isdisjoint(_DOCUMENT_PARTS.get(field, ())):
            return False
    return True


def _is_usage_unknown(rule: str, row: Row, limits: Limits | None) -> bool:
    """Return whether nobody can say what a limit means for a recorded request.

    :param limits: that apply; None: nobody knows.
    """
    if rule in ("one-at-a-time", "limit-busy"):  # it was busy at that moment
        return bool(row["rule"] == rule)
    if limits is None:
        return True
    usage = read_usage(row)
    counts = {
        "server-limit": (limits.per_server, usage.server),
        "project-limit": (limits.per_project, usage.project),
        "progress-limit": (limits.in_progress, usage.in_progress),
    }
    limit, count = counts[rule]
    if limit < 0:
        return False
    # At the limit, a backup's own rotation may make room.
    return count is None or (row["action"] == "createBackup" and count == limit)


def _find_missing_parts(row: Row) -> Iterator[Part]:
    for field in truncated_lengths(row):
        yield from _TRUNCATED_PARTS.get(field, ())
    if row["metadata_count"] and row["metadata"] is None:
        yield Part.METADATA_VALUES
        if row["metadata_keys"] is None:
            yield Part.METADATA_KEYS

"""The options of one project, resolved into values for judging."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from imagefilter.policy.config import RawOption
from imagefilter.policy.limits import Limits
from imagefilter.policy.options import OPTIONS
from imagefilter.policy.pattern import Matches, compile_pattern
from imagefilter.policy.reserved import ReservedKeys, build_reserved
from imagefilter.policy.stamp_options import (
    find_own_keys,
    find_stamps,
    find_stamps_in_force,
    read_expiry,
    read_metadata_set,
)
from imagefilter.policy.templates import Template

_DEFAULTS = {option.name: option.default for option in OPTIONS}


class OwnFacts(Protocol):
    """What a policy needs to know of one of the operator's own rules."""

    @property
    def actions(self) -> frozenset[str]: ...
    @property
    def projects(self) -> frozenset[str]: ...
    @property
    def needs_usage(self) -> bool: ...
    @property
    def server_fields(self) -> frozenset[str]: ...


class RuleFacts(Protocol):
    """What a policy needs to know of a rule to give it a mode."""

    @property
    def name(self) -> str: ...
    @property
    def always_enforced(self) -> bool: ...
    @property
    def options(self) -> tuple[str, ...]: ...
    @property
    def idle_by_default(self) -> bool: ...
    @property
    def default_mode(self) -> str | None: ...
    @property
    def own(self) -> OwnFacts | None: ...


class Settings(NamedTuple):
    """The options that one project is judged by."""

    snapshots_enabled: bool
    metadata_items: int  # -1: no limit
    quota_from_compute: bool
    name_pattern: str | None
    name_matches: Matches | None
    metadata_required: tuple[str, ...]
    metadata_reserved: ReservedKeys
    modes: Mapping[str, str]  # of every rule
    mode: str  # of rules that have none of their own
    judging: bool  # the mode of some rule is not off
    exempt_roles: frozenset[str]
    limits: Limits
    metadata_set: Mapping[str, Template]  # the operator's own stamps
    expires_after: datetime.timedelta | None  # None: never
    image_quota_check: bool
    own_keys: Mapping[str, ReservedKeys]  # by action: keys that clients may not set, since the filter or counting does
    own_locks: frozenset[str]  # actions for which an own rule counts images, so that it is exact
    server_fields: frozenset[str]  # what own rules read of a server
    stamps: tuple[str, ...]  # metadata keys that the filter sets itself on each image
    rules: tuple[Any, ...]  # those of the table that may refuse something, in judging order


def build_settings(
    project_id: str,
    values: Mapping[str, Any],
    given: Mapping[str, RawOption],
    rules: Sequence[RuleFacts],
    errors: list[str],
) -> Settings:
    """Resolve the values of one project, compiled for judging.

    :param project_id: "" for all that have no options of their own.
    """
    _check_rule_modes(values["rule_modes"], given.get("rule_modes"), rules, errors)
    modes = _modes(values, rules)
    own_rules = list(_find_own_rules(project_id, rules, modes))
    limits = _limits(values)._replace(own_count=any(rule.needs_usage for rule, _ in own_rules))
    metadata_set = read_metadata_set(values["metadata_set"], given.get("metadata_set"), errors)
    expires_after = read_expiry(values["image_expires"], given.get("image_expires"), errors)
    stamps = find_stamps(limits, metadata_set, expires_after)
    own_locks = _find_locking_actions(own_rules)
    is_counted = limits.is_enforced(modes) or bool(own_locks)
    return Settings(
        snapshots_enabled=values["snapshots_enabled"],
        metadata_items=values["metadata_items"],
        quota_from_compute=values["metadata_items_source"] == "compute",
        name_pattern=values["name_pattern"],
        name_matches=_matches(values["name_pattern"], given.get("name_pattern"), errors),
        metadata_required=tuple(values["metadata_required"]),
        metadata_reserved=build_reserved(values["metadata_reserved"]),
        modes=modes,
        mode=values["mode"],
        judging=any(mode != "off" for mode in modes.values()),
        exempt_roles=frozenset(role.lower() for role in values["exempt_roles"]),
        limits=limits,
        metadata_set=metadata_set,
        expires_after=expires_after,
        image_quota_check=values["image_quota_check"],
        own_keys=find_own_keys(stamps),
        own_locks=own_locks,
        server_fields=frozenset().union(*[rule.server_fields for rule, _ in own_rules]),
        stamps=find_stamps_in_force(stamps, values["mode"], is_counted),
        rules=tuple(_find_effective(values, rules)),
    )


def _find_effective(values: Mapping[str, Any], rules: Iterable[RuleFacts]) -> Iterator[RuleFacts]:
    """Yield the rules that may refuse something: an image action of a project without limits pays for none of them."""
    for rule in rules:
        if not rule.idle_by_default or any(values[name] != _DEFAULTS[name] for name in rule.options):
            yield rule


def _find_own_rules(
    project_id: str, rules: Sequence[RuleFacts], modes: Mapping[str, str]
) -> Iterator[tuple[OwnFacts, str]]:
    """Yield the operator's own rules that are asked about a project, each with its mode."""
    for rule in rules:
        own = rule.own
        if own and modes[rule.name] != "off" and (not own.projects or project_id in own.projects):
            yield own, modes[rule.name]


def _find_locking_actions(own_rules: Sequence[tuple[OwnFacts, str]]) -> frozenset[str]:
    actions: set[str] = set()
    for rule, mode in own_rules:
        if rule.needs_usage and mode == "enforce":
            actions |= rule.actions
    return frozenset(actions)


def _limits(values: Mapping[str, Any]) -> Limits:
    return Limits(
        per_server=values["snapshots_per_server"],
        per_project=values["snapshots_per_project"],
        in_progress=values["snapshots_in_progress"],
        one_at_a_time=values["one_at_a_time"],
        rotation_max=values["backup_rotation_max"],
        rotation_min=values["backup_rotation_min"],
        from_keystone=values["limits_source"] == "keystone",
    )


def _matches(pattern: str | None, raw: RawOption | None, errors: list[str]) -> Matches | None:
    if not pattern:
        return None
    try:
        return compile_pattern(pattern)
    except ValueError as error:
        if raw:  # otherwise it is the pattern of [imagefilter], and was reported there
            errors.append(f"name_pattern = {pattern} in {raw.location}: {error}")
        return None


def _check_rule_modes(
    rule_modes: Mapping[str, str], raw: RawOption | None, rules: Sequence[RuleFacts], errors: list[str]
) -> None:
    if raw is None:
        return
    with_mode = [rule.name for rule in rules if not rule.always_enforced]
    always_enforced = [rule.name for rule in rules if rule.always_enforced]
    for name in rule_modes:
        if name in with_mode:
            continue
        reason = "is not a rule"
        if name in always_enforced:
            reason = "refuses in every mode"
        errors.append(f"rule_modes in {raw.location}: {name} {reason}; rules are {', '.join(with_mode)}")


def _modes(values: Mapping[str, Any], rules: Sequence[RuleFacts]) -> dict[str, str]:
    """Return the mode of each rule; if the project's mode is off, so is every rule's."""
    if values["mode"] == "off":
        return {rule.name: "off" for rule in rules}
    modes = {}
    for rule in rules:
        modes[rule.name] = values["rule_modes"].get(rule.name, rule.default_mode or values["mode"])
        if rule.always_enforced:
            modes[rule.name] = "enforce"
    return modes

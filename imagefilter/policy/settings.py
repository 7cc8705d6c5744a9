"""The options of one project, resolved into values for judging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from imagefilter.policy.config import RawOption
from imagefilter.policy.limits import STAMPS, Limits
from imagefilter.policy.pattern import Matches, compile_pattern
from imagefilter.policy.reserved import ReservedKeys, build_reserved
from imagefilter.request.action import ACTIONS


class RuleFacts(Protocol):
    """What a policy needs to know of a rule to give it a mode."""

    @property
    def name(self) -> str: ...
    @property
    def always_enforced(self) -> bool: ...


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
    limit_keys: Mapping[str, ReservedKeys]  # by action: keys that clients may not set, since images are counted by them

    @property
    def stamps(self) -> tuple[str, ...]:
        """The metadata keys that the filter sets itself on each image; a trial changes no request."""
        if self.limits.count_images and self.mode == "enforce":
            return STAMPS
        return ()


def build_settings(
    values: Mapping[str, Any], given: Mapping[str, RawOption], rules: Sequence[RuleFacts], errors: list[str]
) -> Settings:
    """Resolve the values of one project, compiled for judging."""
    _check_rule_modes(values["rule_modes"], given.get("rule_modes"), rules, errors)
    modes = _modes(values, rules)
    limits = _limits(values)
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
        limit_keys=_limit_keys(limits),
    )


def _limits(values: Mapping[str, Any]) -> Limits:
    return Limits(
        per_server=values["snapshots_per_server"],
        per_project=values["snapshots_per_project"],
        in_progress=values["snapshots_in_progress"],
        one_at_a_time=values["one_at_a_time"],
        rotation_max=values["backup_rotation_max"],
        rotation_min=values["backup_rotation_min"],
    )


def _limit_keys(limits: Limits) -> dict[str, ReservedKeys]:
    if not limits.count_images:
        return {}
    return {action: build_reserved(limits.reserved_keys(action)) for action in ACTIONS}


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
        modes[rule.name] = values["rule_modes"].get(rule.name, values["mode"])
        if rule.always_enforced:
            modes[rule.name] = "enforce"
    return modes

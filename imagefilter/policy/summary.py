"""Say in a line what is in force."""

from __future__ import annotations

from collections.abc import Iterator

from imagefilter.policy.options import GROUP
from imagefilter.policy.policy import Policy

_MAX_NAMED = 5


def summarise(policy: Policy) -> str:
    """Return a line: the actions, the policy and its files, the journal, and what is not enforced."""
    files = ", ".join(policy.loaded.files) or "no config file"
    parts = [
        f"{', '.join(policy.actions)} by policy {policy.loaded.digest} of {files}",
        f"journal: {policy.audit_journal or 'none'}",
        f"mode: {policy.settings.mode}",
    ]
    if not policy.settings.snapshots_enabled:
        parts.append("snapshots_enabled: false")
    if policy.own_rules:
        parts.append(f"rules of your own: {len(policy.own_rules)}")
    if policy.projects:
        parts.append(f"projects with options of their own: {len(policy.projects)}")
    parts += _describe_not_enforced(policy)
    stays_on = list(describe_what_stays_on(policy))
    if stays_on:
        parts.append(f"stays on: {', '.join(stays_on[:_MAX_NAMED])}")
    if len(stays_on) > _MAX_NAMED:
        parts.append(f"and in {len(stays_on) - _MAX_NAMED} other projects")
    return "; ".join(parts)


def describe_what_stays_on(policy: Policy) -> Iterator[str]:
    """Yield what is still judged though somebody wrote ``mode = off`` for all projects."""
    mode = policy.origins[""].get("mode")
    for path, texts in policy.names_given.items():
        if mode and not mode.section and texts.get((GROUP, "mode")) == "off" and policy.settings.judging:
            yield f"mode = {mode.text} in {mode.location} wins over mode = off in section [{GROUP}] of {path}"
    if policy.settings.judging:
        return
    for project_id, settings in policy.projects.items():
        if settings.judging:
            yield f"project {project_id} (mode {settings.mode})"


def _describe_not_enforced(policy: Policy) -> Iterator[str]:
    settings = policy.settings
    if settings.mode == "off":
        return
    not_enforced = [f"{rule}:{mode}" for rule, mode in settings.modes.items() if mode not in ("enforce", settings.mode)]
    if not_enforced:
        yield f"rule_modes: {', '.join(not_enforced)}"
    own_modes = [project_id for project_id, own in policy.projects.items() if own.mode != settings.mode]
    if own_modes:
        named = [f"{project_id}: {policy.projects[project_id].mode}" for project_id in own_modes[:_MAX_NAMED]]
        yield f"modes of projects: {', '.join(named)}"

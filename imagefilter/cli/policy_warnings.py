"""What a policy allows and its operator probably did not mean."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from imagefilter.policy.config import RawOption
from imagefilter.policy.options import IMAGE_FIELDS
from imagefilter.policy.own_rules import OwnRuleOptions
from imagefilter.policy.pattern import shortest_match
from imagefilter.policy.policy import Policy
from imagefilter.policy.settings import Settings
from imagefilter.policy.summary import describe_what_stays_on
from imagefilter.request.action import NAME_LENGTH

NO_OPTIONS = "the file sets no option of imagefilter: every option has its default"

# With a stock Nova and Glance: Glance's limit of 128 properties counts those that Nova adds.
_MOST_ITEMS = 118

# Roles that people have, not only services.
_COMMON_ROLES = frozenset(("admin", "member", "reader"))

# The keys that Nova accepts (nova.api.validation.parameter_types.metadata, in Nova 25 to 34).
_NOVAS_KEY = re.compile(r"[a-zA-Z0-9-_:. ]{1,255}")

# What other formats than oslo.config's understand, and it takes as part of the value.
_HABITS = (
    (re.compile(r"\s[#;]"), "a comment needs a line of its own: this one is part of the value"),
    (re.compile(r"""^(["']).*\1$"""), "the quotes are part of the value"),
    (re.compile(r"""^\[\s*["'].*\]$"""), "the brackets and quotes are part of the value: write a, b"),
    (re.compile(r"^/.*/$"), "the slashes are part of the value"),
)

# Roles are compared in lower case (imagefilter/request/identity.py)
_CAPITAL_ROLE = re.compile(r"""["'][^"']*[A-Z][^"']*["']\s+in\s+caller\.roles""")


def find_warnings(policy: Policy) -> Iterator[str]:
    """Yield what is allowed and probably not meant."""
    yield from policy.errors
    if not policy.origins[""] and not policy.projects and not policy.own_rules:
        yield NO_OPTIONS
    for text in describe_what_stays_on(policy):
        yield f"stays on: {text}"
    if policy.counts_images:
        yield from _find_limit_warnings(policy)
    elif any(settings.image_quota_check for settings in (policy.settings, *policy.projects.values())):
        yield "image_quota_check needs auth_token in front: callers that nobody vouches for are refused"
    for options in policy.own_rules:
        yield from _find_own_rule_warnings(policy, options)
    for project_id, given in policy.origins.items():
        for warning in _find_in(policy, project_id, given):
            yield f"{project_id or 'all projects'}: {warning}"


def _find_in(policy: Policy, project_id: str, given: Mapping[str, RawOption]) -> Iterator[str]:
    settings = policy.for_project(project_id)
    yield from _find_habits(given.values())
    yield from _find_metadata_warnings(settings, given)
    yield from _find_rule_warnings(settings, given)
    if project_id:
        inherited = policy.settings.quota_from_compute and "metadata_items_source" not in given
        if inherited and "metadata_items" in given:
            yield "metadata_items has no effect: metadata_items_source = compute of all projects holds here as well"
    elif "metadata_items" in given and _all_ask_compute(policy):
        yield "metadata_items has no effect: metadata_items_source is compute"
    if not settings.snapshots_enabled and "snapshots_enabled" in given and "shelve" not in policy.actions:
        yield "snapshots_enabled is false, but shelve, which makes an image too, is not in actions"


def _find_limit_warnings(policy: Policy) -> Iterator[str]:
    """Yield what a limit needs from other services, or does not cover."""
    yield "limits need auth_token in front: callers that nobody vouches for are refused (project-unknown)"
    if "shelve" not in policy.actions:
        yield "limits: the image that a shelve makes counts, but shelve is not in actions, so it is not limited"
    for project_id, settings in (("all projects", policy.settings), *policy.projects.items()):
        if settings.limits.count_images and settings.mode == "warn" and not settings.stamps:
            yield f"{project_id}: with mode = warn no image is stamped, so that those of servers on volumes never count"
        reserved = settings.modes["metadata-reserved"]
        if _is_server_limited(settings) and reserved != "enforce":
            yield (
                f"{project_id}: with metadata-reserved:{reserved} a client can name another server in instance_uuid, so"
                " that the image does not count for its own"
            )


def _is_server_limited(settings: Settings) -> bool:
    has_limit = settings.limits.per_server >= 0 or settings.limits.from_keystone
    return has_limit and settings.modes["server-limit"] == "enforce"


def _find_own_rule_warnings(policy: Policy, options: OwnRuleOptions) -> Iterator[str]:
    yield from _find_habits(raw for name, raw in options.given.items() if name != "deny")
    if _CAPITAL_ROLE.search(options.deny):
        yield f"rule {options.name} looks for a role with capitals in caller.roles: all are in lower case there"
    if "actions" in options.given:
        for action in options.actions:
            if action not in policy.actions:
                yield f"rule {options.name} is about {action}, which is not judged: it is not in [imagefilter] actions"
    for rule in policy.rules:
        if rule.name == options.name and rule.own.needs_usage and "createBackup" in options.actions:
            yield f"rule {rule.name} reads usage and is about createBackup: it does not see what a rotation deletes"


def _all_ask_compute(policy: Policy) -> bool:
    return all(settings.quota_from_compute for settings in (policy.settings, *policy.projects.values()))


def _find_habits(raw_options: Iterable[RawOption]) -> Iterator[str]:
    for raw in raw_options:
        for pattern, reason in _HABITS:
            if pattern.search(raw.text.strip()):
                yield f"{raw.name} = {raw.text} in {raw.location}: {reason}"


def _find_metadata_warnings(settings: Settings, given: Collection[str]) -> Iterator[str]:
    for option in ("metadata_set", "image_expires"):
        if option in given and settings.mode != "enforce" and settings.own_keys:
            yield f"{option} has no effect: with mode = {settings.mode} the filter does not set it"
    own_keys = settings.own_keys.get("createImage")
    for key in settings.metadata_required:
        if own_keys and own_keys.includes(key):
            yield f"metadata_required names {key}, which the filter sets itself: every request would be refused"
        if settings.metadata_reserved.includes(key):
            yield f"metadata_required and metadata_reserved both name {key}: every request would be refused"
        if not _NOVAS_KEY.fullmatch(key):
            yield f"metadata_required names {key!r}, a key that Nova refuses: every request would be refused"
    if 0 <= settings.metadata_items < len(settings.metadata_required):
        yield "metadata_required names more keys than metadata_items allows: every request would be refused"
    if "metadata_items" in given and settings.metadata_items > _MOST_ITEMS:
        yield f"metadata_items = {settings.metadata_items}: above {_MOST_ITEMS} a stock Nova and Glance respond 500"
    missing = [key for key in IMAGE_FIELDS if not settings.metadata_reserved.includes(key.rstrip("*"))]
    if missing:
        yield f"metadata_reserved does not name these fields of the image: {', '.join(missing)}"


def _find_rule_warnings(settings: Settings, given: Collection[str]) -> Iterator[str]:
    for role in sorted(settings.exempt_roles & _COMMON_ROLES):
        yield f"exempt_roles names {role}, a role that people have, not only services"
    for role in sorted(settings.exempt_roles):
        if " " in role:
            yield f"exempt_roles names {role!r}, one role with a space in it: separate roles by commas"
    if settings.name_pattern and shortest_match(settings.name_pattern) > NAME_LENGTH:
        yield f"name_pattern matches no name of up to {NAME_LENGTH} characters: every request would be refused"
    is_switched_off = not settings.snapshots_enabled and settings.modes["snapshots-enabled"] == "enforce"
    if is_switched_off and (settings.name_matches or settings.metadata_required):
        yield "snapshots_enabled is false, so name_pattern and metadata_required have no effect"
    not_enforced = [f"{rule}:{mode}" for rule, mode in settings.modes.items() if mode != "enforce"]
    if not_enforced:
        yield f"not enforced: {', '.join(not_enforced)}"

"""The one table of rules, in judging order.

Modes, exemptions, ``explain``, ``replay``, metrics, the sample and the documentation's table derive from it. To add an
operator's rule: a row here, its function in :mod:`imagefilter.rules.operator`, and its option in
:mod:`imagefilter.policy.options`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagefilter.policy import policy
from imagefilter.policy.own_rules import OwnRuleOptions
from imagefilter.policy.policy import Policy
from imagefilter.rules import contract, limits, operator
from imagefilter.rules.own import OwnRule
from imagefilter.rules.own_rules import compile_rules
from imagefilter.rules.rule import Part, Rule

# The operator's own rules come behind this one.
_BEFORE_OWN = "metadata-reserved"

RULES: tuple[Rule, ...] = (
    Rule(
        name="token",
        status=401,
        check=contract.token,
        reads=Part.IDENTITY,
        summary="The request you have made requires authentication.",
        always_enforced=True,
    ),
    Rule(
        name="content-type",
        status=400,
        check=contract.content_type,
        reads=Part.MEDIA_TYPE,
        summary="There is no such action: None",
        always_enforced=True,
    ),
    Rule(
        name="body",
        status=400,
        check=contract.body,
        reads=Part.BODY,
        summary="Malformed request body",
        always_enforced=True,
    ),
    Rule(
        name="project-id",
        status=404,
        check=contract.project_id,
        reads=Part.PATH,
        summary="The resource could not be found.",
    ),
    Rule(
        name="project",
        status=400,
        check=contract.project,
        reads=Part.PATH,
        summary="Malformed request URL: URL's project_id '…' doesn't match Context's project_id '…'",
    ),
    Rule(
        name="project-unknown",
        status=403,
        check=contract.project_unknown,
        reads=Part.IDENTITY,
        summary="The project of the request could not be determined, so no policy applies to it",
    ),
    Rule(
        name="server",
        status=404,
        check=contract.server,
        reads=Part.PATH,
        summary="Instance … could not be found.",
    ),
    Rule(
        name="snapshots-enabled",
        status=400,
        check=contract.snapshots_enabled,
        reads=Part.IDENTITY,
        summary="Instance snapshots are not permitted at this time.",
        options=("snapshots_enabled",),
        exemptible=True,
        idle_by_default=True,
    ),
    Rule(
        name="name-required",
        status=400,
        check=contract.name_required,
        reads=Part.NAME_LENGTH,
        summary="createImage entity requires name attribute",
    ),
    Rule(
        name="name-format",
        status=400,
        check=contract.name_format,
        reads=Part.NAME_LENGTH,
        summary="The name must be text of 1 to 255 characters, or a number of 1 to 255 digits; found …",
    ),
    Rule(
        name="metadata-type",
        status=400,
        check=contract.metadata_type,
        reads=Part.METADATA_TYPE,
        summary="Invalid image metadata",
    ),
    Rule(
        name="metadata-quota",
        status=403,
        check=contract.metadata_quota,
        reads=Part.METADATA_COUNT,
        summary="Image metadata limit exceeded",
        options=("metadata_items", "metadata_items_source"),
        exemptible=True,
        needs_lookup=True,
    ),
    Rule(
        name="metadata-key-blank",
        status=400,
        check=contract.metadata_key_blank,
        reads=Part.METADATA_KEYS,
        summary="Image metadata key cannot be blank",
    ),
    Rule(
        name="metadata-key-length",
        status=400,
        check=contract.metadata_key_length,
        reads=Part.METADATA_KEYS,
        summary="Image metadata key too long",
    ),
    Rule(
        name="metadata-value",
        status=400,
        check=contract.metadata_value,
        reads=Part.METADATA_VALUES,
        summary="The value of image metadata key '…' must be text of at most 65535 bytes; found …",
    ),
    Rule(
        name="name-pattern",
        status=403,
        check=operator.name_pattern,
        reads=Part.NAME,
        summary="The image name '…' does not match the pattern '…' (name-pattern)",
        options=("name_pattern",),
        exemptible=True,
        idle_by_default=True,
    ),
    Rule(
        name="metadata-required",
        status=403,
        check=operator.metadata_required,
        reads=Part.METADATA_KEYS,
        summary="Image metadata must hold the key '…' (metadata-required)",
        options=("metadata_required",),
        exemptible=True,
        idle_by_default=True,
    ),
    Rule(
        name="metadata-reserved",
        status=403,
        check=operator.metadata_reserved,
        reads=Part.METADATA_KEYS,
        summary="Image metadata key '…' is reserved (metadata-reserved)",
        options=("metadata_reserved",),
        exemptible=True,
    ),
    Rule(
        name="backup-rotation",
        status=403,
        check=limits.backup_rotation,
        reads=Part.ROTATION,
        summary="Backup rotation too large (maximum N, requested M), or too small (minimum N, requested M)",
        options=("backup_rotation_max", "backup_rotation_min"),
        exemptible=True,
        idle_by_default=True,
    ),
    Rule(
        name="one-at-a-time",
        status=409,
        check=limits.one_at_a_time,
        reads=Part.USAGE,
        summary="Another image action of this server is being processed, try again",
        options=("one_at_a_time",),
        needs_lookup=True,
        idle_by_default=True,
    ),
    Rule(
        name="limit-busy",
        status=429,
        check=limits.limit_busy,
        reads=Part.USAGE,
        summary="Another image action of this project is being processed, try again",
        options=("snapshots_per_server", "snapshots_per_project", "snapshots_in_progress", "limits_source"),
        exemptible=True,
        needs_lookup=True,
    ),
    Rule(
        name="server-limit",
        status=403,
        check=limits.server_limit,
        reads=Part.USAGE,
        summary="Server snapshot limit exceeded (limit N, in use M)",
        options=("snapshots_per_server", "limits_source"),
        exemptible=True,
        needs_lookup=True,
        idle_by_default=True,
    ),
    Rule(
        name="project-limit",
        status=403,
        check=limits.project_limit,
        reads=Part.USAGE,
        summary="Project snapshot limit exceeded (limit N, in use M)",
        options=("snapshots_per_project", "limits_source"),
        exemptible=True,
        needs_lookup=True,
        idle_by_default=True,
    ),
    Rule(
        name="progress-limit",
        status=403,
        check=limits.progress_limit,
        reads=Part.USAGE,
        summary="Too many snapshots in progress (limit N, in progress M)",
        options=("snapshots_in_progress", "limits_source"),
        exemptible=True,
        needs_lookup=True,
        idle_by_default=True,
    ),
    Rule(
        name="image-quota",
        status=403,
        check=limits.image_quota,
        reads=Part.IMAGE_QUOTA,
        summary="Image quota exceeded (image_count_total: limit N, in use M)",
        options=("image_quota_check",),
        needs_lookup=True,
        idle_by_default=True,
    ),
)


def rule_names() -> tuple[str, ...]:
    """Return the names of all rules, in judging order."""
    return tuple(rule.name for rule in RULES)


def build_own_rules(sections: Sequence[OwnRuleOptions], errors: list[str]) -> tuple[Rule, ...]:
    """Return the table with the operator's own rules: behind those on metadata, in the order of the file.

    :param errors: gets a message for each rule that can't be used; it is left out.
    """
    own = tuple(_build_row(rule, options.mode) for options, rule in compile_rules(sections, rule_names(), errors))
    position = 1 + rule_names().index(_BEFORE_OWN)
    return RULES[:position] + own + RULES[position:]


def _build_row(rule: OwnRule, mode: str | None) -> Rule:
    return Rule(
        name=rule.name,
        status=403,
        check=rule.check,
        reads=Part.DOCUMENT,
        summary=f"{rule.message} ({rule.name})",
        exemptible=True,
        needs_lookup=rule.needs_server or rule.needs_usage,
        own=rule,
        default_mode=mode,
    )


def load_policy(paste: Mapping[str, str], location: str = "the paste section") -> Policy:
    """Read the options of one filter, with a mode for each rule of this table.

    :param paste: the keys of the filter's section in the paste file.
    :param location: how to name that section in an error.
    :raises ConfigError: for every error, in one message.
    """
    return policy.load(paste, location, build_own_rules)

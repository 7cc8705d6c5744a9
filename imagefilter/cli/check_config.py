"""``imagefilter check config``: the errors of a config file, and what is allowed and probably not meant."""

from __future__ import annotations

import argparse
from collections.abc import Container, Iterator

from imagefilter.cli._base import OwnCommand
from imagefilter.cli._options import DEFAULT_CONFIG
from imagefilter.policy.config import ConfigError
from imagefilter.policy.options import IMAGE_FIELDS
from imagefilter.policy.policy import Policy, Settings
from imagefilter.policy.store import journal_errors
from imagefilter.rules.table import load_policy

# With a stock Nova and Glance: Glance's limit of 128 properties counts those that Nova adds.
_MOST_ITEMS = 118

# Roles that people have, not only services.
_COMMON_ROLES = frozenset(("admin", "member", "reader"))


class CheckConfig(OwnCommand):
    """Check a config file: report all errors, and what is probably not meant.

    Exit status: 0 OK, 1 warnings, 2 errors.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "file",
            metavar="FILE",
            nargs="?",
            default=DEFAULT_CONFIG,
            help=f"file with a section [imagefilter]; may be nova.conf (default: {DEFAULT_CONFIG})",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        try:
            policy = load_policy({"oslo_config_file": parsed_args.file})
            errors = journal_errors(policy)
        except ConfigError as error:
            errors = error.errors
        if errors:
            self.app.stdout.writelines(f"error: {error}\n" for error in errors)
            return 2
        warnings = list(find_warnings(policy))
        self.app.stdout.writelines(f"warning: {warning}\n" for warning in warnings)
        if warnings:
            self.app.stdout.write(f"{parsed_args.file}: OK, warnings: {len(warnings)}\n")
            return 1
        self.app.stdout.write(f"{parsed_args.file}: OK\n")
        return 0


def find_warnings(policy: Policy) -> Iterator[str]:
    """Yield what is allowed and probably not meant."""
    if not policy.origins[""] and not policy.projects:
        yield "the file sets no option of imagefilter: every option has its default"
    for project_id, given in policy.origins.items():
        settings = policy.for_project(project_id)
        for find in (_find_metadata_warnings, _find_rule_warnings):
            for warning in find(settings, given):
                yield f"{project_id or 'all projects'}: {warning}"


def _find_metadata_warnings(settings: Settings, given: Container[str]) -> Iterator[str]:
    for key in settings.metadata_required:
        if key in settings.metadata_reserved or key.startswith(settings.metadata_reserved_prefixes):
            yield f"metadata_required and metadata_reserved both name {key}: every request would be refused"
    if 0 <= settings.metadata_items < len(settings.metadata_required):
        yield "metadata_required names more keys than metadata_items allows: every request would be refused"
    if "metadata_items" in given and settings.metadata_items > _MOST_ITEMS:
        yield f"metadata_items = {settings.metadata_items}: above {_MOST_ITEMS} a stock Nova and Glance respond 500"
    reserved = {key.rstrip("*") for key in settings.metadata_reserved}
    missing = [key for key in IMAGE_FIELDS if key.rstrip("*") not in reserved]
    if missing:
        yield f"metadata_reserved does not name these fields of the image: {', '.join(missing)}"


def _find_rule_warnings(settings: Settings, given: Container[str]) -> Iterator[str]:
    for role in sorted(settings.exempt_roles & _COMMON_ROLES):
        yield f"exempt_roles names {role}, a role that people have, not only services"
    is_switched_off = not settings.snapshots_enabled and settings.modes["snapshots-enabled"] == "enforce"
    if is_switched_off and (settings.name_matches or settings.metadata_required):
        yield "snapshots_enabled is false, so name_pattern and metadata_required have no effect"
    not_enforced = [f"{rule}:{mode}" for rule, mode in settings.modes.items() if mode != "enforce"]
    if not_enforced:
        yield f"not enforced: {', '.join(not_enforced)}"

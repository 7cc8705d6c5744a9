"""``imagefilter check config`` and ``imagefilter check pipeline``."""

from __future__ import annotations

import argparse
from collections.abc import Container, Iterator

from cliff.command import Command
from cliff.lister import Lister

from imagefilter.cli import pipelines
from imagefilter.cli.files import DEFAULT
from imagefilter.options import IMAGE_FIELDS
from imagefilter.policy import ConfigError, Policy, Settings, load
from imagefilter.reload import journal_errors

# With a stock Nova and Glance: Glance's limit of 128 properties counts those that Nova adds.
_ITEMS_THAT_WORK = 118


class CheckConfig(Command):
    """Check a config file: all errors, and what is probably not meant. Exit status: 0 good, 1 warnings, 2 errors."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        help_ = f"a file with a section [imagefilter], which may be nova.conf (default: {DEFAULT})"
        parser.add_argument("file", metavar="FILE", nargs="?", default=DEFAULT, help=help_)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        try:
            policy = load({"oslo_config_file": parsed_args.file})
            errors = journal_errors(policy)
            if errors:
                raise ConfigError(errors)
        except ConfigError as error:
            for each in error.errors:
                self.app.stdout.write(f"error: {each}\n")
            return 2
        found = list(warnings_of(policy))
        for each in found:
            self.app.stdout.write(f"warning: {each}\n")
        self.app.stdout.write(f"{parsed_args.file}: good" + (f", {len(found)} warnings\n" if found else "\n"))
        return 1 if found else 0


def warnings_of(policy: Policy) -> Iterator[str]:
    """What is allowed and probably not meant."""
    if not policy.origins[""] and not policy.projects:
        yield "the file sets no option of imagefilter: everything is at its default"
    for scope, given in policy.origins.items():
        for warning in _warnings_of(policy.for_project(scope), given):
            yield f"{scope or 'all projects'}: {warning}"


def _warnings_of(settings: Settings, given: Container[str]) -> Iterator[str]:
    for role in sorted(settings.exempt_roles & {"admin", "member", "reader"}):
        yield f"exempt_roles names {role}, a role that people have, not only services"
    for key in settings.metadata_required:
        if key in settings.metadata_reserved or key.startswith(settings.metadata_reserved_prefixes):
            yield f"metadata_required and metadata_reserved both name {key}: no request can be right"
    if 0 <= settings.metadata_items < len(settings.metadata_required):
        yield "metadata_required names more keys than metadata_items allows: no request can be right"
    if "metadata_items" in given and settings.metadata_items > _ITEMS_THAT_WORK:
        yield f"metadata_items = {settings.metadata_items}: above {_ITEMS_THAT_WORK} a stock Nova and Glance answer 500"
    switched_off = not settings.snapshots_enabled and settings.modes["snapshots-enabled"] == "enforce"
    if switched_off and (settings.name_matches or settings.metadata_required):
        yield "snapshots_enabled is false, so name_pattern and metadata_required can never matter"
    missing = [key for key in IMAGE_FIELDS if key.rstrip("*") not in _reserved(settings)]
    if missing:
        yield f"metadata_reserved leaves out fields of the image: {', '.join(missing)}"
    softened = [f"{rule}:{mode}" for rule, mode in settings.modes.items() if mode != "enforce"]
    if softened:
        yield f"not enforced: {', '.join(softened)}"


def _reserved(settings: Settings) -> set[str]:
    return {key.rstrip("*") for key in settings.metadata_reserved}


class CheckPipeline(Lister):
    """Check that the filter guards every pipeline of an api-paste.ini that can serve a compute API.

    The file is read as text; nothing is imported or loaded. Exit status: 0 good, 1 warnings, 2 errors.
    """

    status = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("file", metavar="API-PASTE.INI")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        try:
            found = pipelines.read(parsed_args.file)
        except ValueError as error:
            self.app.stderr.write(f"error: {error}\n")
            raise SystemExit(2) from None
        for each in found:
            for level, text in (("error", each.error), ("warning", each.warning)):
                if text:
                    self.app.stderr.write(
                        f"{level}: [{each.section}] {each.key}: {text}. Write:\n  {each.fix or '-'}\n"
                    )
        self.status = 2 if any(e.error for e in found) else 1 if any(e.warning for e in found) else 0
        rows: list[tuple[str, ...]] = [
            (e.section, e.key, "error" if e.error else "warning" if e.warning else "good", e.place) for e in found
        ]
        return ("Section", "Key", "Verdict", "Pipeline"), rows

    def run(self, parsed_args: argparse.Namespace) -> int:
        super().run(parsed_args)
        return self.status

"""The sections of the operator's own rules: ``[imagefilter:rule:NAME]``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from oslo_config import cfg, types

from imagefilter.policy.config import RawOption, convert, select
from imagefilter.policy.options import RULE_SECTION
from imagefilter.request.action import ACTIONS

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_PROJECT_ID = re.compile(r"[0-9a-f-]{1,64}")
_MAX_MESSAGE = 500

OWN_RULE_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.StrOpt(
        "deny",
        sample_default='server.flavor.name.startsWith("gpu.") && !("backup" in caller.roles)',
        help="""
The expression of the rule, in CEL. The filter refuses a request if the expression is true, and also if it has no
result, for example because a field is absent. See docs/own-rules.md. Write a dollar sign as ``$$``.
""",
    ),
    cfg.StrOpt(
        "message",
        default="This cloud does not permit it",
        help="""
The message that the client gets: 403 ``<message> (NAME)``.
""",
    ),
    cfg.StrOpt(
        "mode",
        choices=[
            ("enforce", "the filter refuses the request"),
            (
                "warn",
                "the filter forwards the request, adds a ``Warning: 299`` header to the response, and logs"
                " ``would_deny``",
            ),
            ("off", "the filter skips the rule"),
        ],
        help="""
The mode of the rule. Without it the rule has the project's ``mode``. The project's ``rule_modes`` wins over it, and
so does ``mode = off`` of the project.
""",
    ),
    cfg.ListOpt(
        "actions",
        default=list(ACTIONS),
        item_type=types.String(choices=ACTIONS),
        help="""
The actions that the rule applies to. The filter judges only those of them that ``[imagefilter] actions`` lists.
""",
    ),
    cfg.ListOpt(
        "projects",
        default=[],
        help="""
The ids of the projects that the rule applies to. Without any it applies to all projects.
""",
    ),
)


class OwnRuleOptions(NamedTuple):
    """The options of one rule."""

    name: str
    location: str  # for people: section and file
    deny: str
    message: str
    mode: str | None
    actions: Sequence[str]
    projects: Sequence[str]
    given: Mapping[str, RawOption]  # where each was given

    @property
    def section(self) -> str:
        """The name of the section."""
        return f"{RULE_SECTION}{self.name}"

    @property
    def values(self) -> dict[str, Any]:
        """What the rule is, wherever it is given."""
        return {
            "deny": self.deny,
            "message": self.message,
            "mode": self.mode,
            "actions": list(self.actions),
            "projects": list(self.projects),
        }


def is_rule_name(name: str) -> bool:
    """Return whether a text can be the name of a rule."""
    return _NAME.fullmatch(name) is not None


def is_rule_section(section: str) -> bool:
    """Return whether a section holds an own rule."""
    return section.startswith(RULE_SECTION)


def read_own_rules(raw_options: Sequence[RawOption], errors: list[str]) -> list[OwnRuleOptions]:
    """Return the rules, in the order in which the files give them.

    :param raw_options: of the rules' sections alone.
    :param errors: gets a message for each option that can't be used.
    """
    sections: dict[str, dict[str, RawOption]] = {}
    for raw in raw_options:
        given = select([raw], OWN_RULE_OPTIONS, errors)
        sections.setdefault(raw.section, {}).update(given)
    rules = []
    for section, given in sections.items():
        rule = _read(section.removeprefix(RULE_SECTION), given, errors)
        if rule:
            rules.append(rule)
    return rules


def _read(name: str, given: Mapping[str, RawOption], errors: list[str]) -> OwnRuleOptions | None:
    values = convert(given, OWN_RULE_OPTIONS, errors)
    location = f"section [{RULE_SECTION}{name}]"
    for raw in given.values():
        location = raw.location
    found = len(errors)
    if not is_rule_name(name):
        errors.append(f"{location}: '{name}' is not a name of a rule (lower-case letters, digits, hyphens; at most 64)")
    if not values["deny"]:
        errors.append(f"{location}: deny is not set, so the rule would refuse nothing")
    if len(values["message"]) > _MAX_MESSAGE or "\n" in values["message"]:
        errors.append(f"message in {location}: not one line of at most {_MAX_MESSAGE} characters")
    if not values["actions"]:
        errors.append(f"actions in {location}: empty, so the rule would refuse nothing")
    for project_id in values["projects"]:
        if not _PROJECT_ID.fullmatch(project_id):
            errors.append(f"projects in {location}: '{project_id}' is not a project id (digits, a to f, hyphens)")
    if len(errors) > found:
        return None
    return OwnRuleOptions(name=name, location=location, given=given, **values)

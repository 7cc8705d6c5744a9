"""What a project may do: the options, read once and resolved into something that never changes.

Precedence: default < section ``[imagefilter]`` of the config file < section of the paste file < section
``[imagefilter:project:<id>]`` of the config file. No option is read from the environment, and nothing is shared with
the ``CONF`` of the process: Nova builds every filter twice, and two filters with different paste sections must not
fight.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from oslo_config import cfg

from imagefilter.options import ALWAYS_ENFORCED, GROUP, OPTIONS, PROJECT_OPTIONS, RULES
from imagefilter.pattern import Matches, compile_pattern
from imagefilter.sources import Given, in_files, in_paste

PROJECT_SECTION = f"{GROUP}:project:"

_BY_NAME: dict[str, cfg.Opt] = {option.name: option for option in OPTIONS}
_BY_NAME.update((str(old.name), option) for option in OPTIONS for old in option.deprecated_opts)
_PROJECT_ID = re.compile(r"[0-9a-f-]{1,64}")


class ConfigError(ValueError):
    """Options that can't be used: each with its section, file and the reason, all in one message."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("imagefilter: " + "; ".join(errors))
        self.errors = errors


class Settings(NamedTuple):
    """The options that one project is judged by."""

    snapshots_enabled: bool
    metadata_items: int  # -1: no limit
    quota_of_compute: bool
    name_pattern: str | None
    name_matches: Matches | None
    metadata_required: tuple[str, ...]
    metadata_reserved: frozenset[str]
    metadata_reserved_prefixes: tuple[str, ...]  # of those that end in *
    modes: Mapping[str, str]  # of every rule
    mode: str  # of rules that have none of their own
    judging: bool  # as opposed to looking on: the mode of some rule is not off
    exempt_roles: frozenset[str]


class Policy(NamedTuple):
    """Everything the filter needs to know, immutable: a request sees one whole policy."""

    actions: Mapping[str, bytes]  # the name of each judged action, and its bytes
    max_body_bytes: int
    www_authenticate_uri: str | None
    facts_on_error: str
    facts_ttl: int
    reload_interval: int
    audit_journal: str | None
    audit_on_error: str
    audit_metadata: str
    settings: Settings
    projects: Mapping[str, Settings]
    origins: Mapping[str, Mapping[str, Given]]  # by project ("" for all), by option: where it was given

    def for_project(self, project_id: str | None) -> Settings:
        """The settings of a project (None: nobody knows which)."""
        return self.projects.get(project_id, self.settings) if project_id else self.settings


def load(paste: Mapping[str, str], place: str = "the paste section") -> Policy:
    """Read the options of one filter.

    :param paste: the keys of the filter's section in the paste file.
    :param place: what to call that section in an error.
    :raises ConfigError: for all that is wrong, in one message.
    """
    errors: list[str] = []
    scopes: dict[str, dict[str, Given]] = {"": {}}  # the last one given counts
    for given in _all_given(paste, place, errors):
        scope = _scope_of(given, errors)
        option = _option_of(given, scope, errors)
        if option is not None and scope is not None:
            scopes.setdefault(scope, {})[option.name] = given
    values = {scope: _values({**scopes[""], **given}, errors) for scope, given in scopes.items()}
    if not values[""]["actions"]:
        errors.append("actions is empty, so nothing would be judged: take the filter out of the pipeline instead")
    settings = {scope: _settings(given, scopes[scope], errors) for scope, given in values.items()}
    if errors:
        raise ConfigError(list(dict.fromkeys(errors)))
    common = values[""]
    return Policy(
        actions={name: name.encode("ascii") for name in common["actions"]},
        settings=settings.pop(""),
        projects=settings,
        origins=scopes,
        **{name: common[name] for name in Policy._fields if name in common and name != "actions"},
    )


def _all_given(paste: Mapping[str, str], place: str, errors: list[str]) -> Iterable[Given]:
    try:
        given = list(in_files(paste))
    except ValueError as error:
        errors.append(str(error))
        given = []
    return [*given, *in_paste(paste, place)]


def _scope_of(given: Given, errors: list[str]) -> str | None:
    """The project that an option is given for, "" for all."""
    if given.section in ("", GROUP):
        return ""
    project_id = given.section[len(PROJECT_SECTION) :] if given.section.startswith(PROJECT_SECTION) else ""
    if _PROJECT_ID.fullmatch(project_id):
        return project_id
    reason = f"'{project_id}' is no project id, which is of 0-9, a-f and -" if project_id else "unknown section"
    errors.append(f"{given.place}: {reason}")
    return None


def _option_of(given: Given, scope: str | None, errors: list[str]) -> cfg.Opt | None:
    option = _BY_NAME.get(given.name)
    if option is None:
        close = difflib.get_close_matches(given.name, _BY_NAME)
        hint = f" (is it {close[0]}?)" if close else ""
        errors.append(f"unknown option '{given.name}' in {given.place}{hint}")
    elif scope and option.name not in PROJECT_OPTIONS:
        errors.append(f"{given.name} in {given.place}: it holds for all projects, so it belongs into [{GROUP}]")
        return None
    return option


def _values(given: Mapping[str, Given], errors: list[str]) -> dict[str, Any]:
    values = {option.name: option.default for option in OPTIONS}
    for name, each in given.items():
        option = _BY_NAME[name]
        if not each.text.strip():  # an empty value unsets
            values[name] = [] if isinstance(option, cfg.ListOpt) else option.default
            continue
        try:
            values[name] = option.type(each.text)
        except ValueError as error:
            errors.append(f"{each.name} = {each.text} in {each.place}: {error}")
    return values


def _settings(values: Mapping[str, Any], given: Mapping[str, Given], errors: list[str]) -> Settings:
    """Resolve the values of one project, compiled for judging."""
    reserved = [key.strip() for key in values["metadata_reserved"]]
    modes = _modes(values, given.get("rule_modes"), errors)
    return Settings(
        snapshots_enabled=values["snapshots_enabled"],
        metadata_items=values["metadata_items"],
        quota_of_compute=values["metadata_items_source"] == "compute",
        name_pattern=values["name_pattern"],
        name_matches=_pattern(values["name_pattern"], given.get("name_pattern"), errors),
        metadata_required=tuple(values["metadata_required"]),
        metadata_reserved=frozenset(reserved),
        metadata_reserved_prefixes=tuple(key[:-1] for key in reserved if key.endswith("*")),
        modes=modes,
        mode=values["mode"],
        judging=any(mode != "off" for rule, mode in modes.items() if rule not in ALWAYS_ENFORCED),
        exempt_roles=frozenset(role.lower() for role in values["exempt_roles"]),
    )


def _pattern(pattern: str | None, given: Given | None, errors: list[str]) -> Matches | None:
    try:
        return compile_pattern(pattern) if pattern else None
    except ValueError as error:
        if given:  # else it is the pattern of [imagefilter], and was named there
            errors.append(f"name_pattern = {pattern} in {given.place}: {error}")
        return None


def _modes(values: Mapping[str, Any], given: Given | None, errors: list[str]) -> dict[str, str]:
    for rule in values["rule_modes"]:
        if given and (rule not in RULES or rule in ALWAYS_ENFORCED):
            reason = "refuses in every mode" if rule in ALWAYS_ENFORCED else "is no rule"
            errors.append(f"rule_modes in {given.place}: {rule} {reason}; rules are {', '.join(RULES[3:])}")
    modes = {rule: values["rule_modes"].get(rule, values["mode"]) for rule in RULES}
    return {**modes, **dict.fromkeys(ALWAYS_ENFORCED, "enforce")}

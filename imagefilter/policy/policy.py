"""The policy: the options of one filter, read once and resolved into values that never change.

Precedence: default < section ``[imagefilter]`` of the config file < section of the paste file < section
``[imagefilter:project:<id>]`` of the config file. No option is read from the environment, and nothing is shared with
the ``CONF`` of the process: Nova builds every filter twice, and two filters with different paste sections must not
interfere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, NamedTuple

from imagefilter.policy.config import ConfigError, RawOption, convert, names_of, read_paste, select
from imagefilter.policy.files import ConfigFiles, find_files, is_misspelt
from imagefilter.policy.loaded import Loaded, compute_digest
from imagefilter.policy.options import GROUP, OPTIONS, PROJECT_OPTIONS, PROJECT_SECTION, SECRETS
from imagefilter.policy.own_rules import OWN_RULE_OPTIONS, OwnRuleOptions, is_rule_section, read_own_rules
from imagefilter.policy.settings import RuleFacts, Settings, build_settings

_OPTION_NAMES = names_of(OPTIONS)
_PROJECT_ID = re.compile(r"[0-9a-f-]{1,64}")


#: Returns the table of rules, with the operator's own in it; gets a list for errors.
BuildRules = Callable[[Sequence[OwnRuleOptions], list[str]], Sequence[RuleFacts]]


class ImageAPIOptions(NamedTuple):
    """Whom to ask for images, and for limits on them."""

    url: str | None
    interface: str
    region: str | None
    ca_file: str | None
    timeout: float  # seconds, for all questions of a request
    identity_url: str | None = None


class Policy(NamedTuple):
    """Everything the filter needs to know, immutable: a request sees one whole policy."""

    actions: Mapping[str, bytes]  # the name of each judged action, and its bytes
    max_body_bytes: int
    www_authenticate_uri: str | None
    lookup_on_error: str
    lookup_ttl: int
    reload_interval: int
    audit_journal: str | None
    audit_on_error: str
    audit_metadata: str
    coordination_url: str | None
    lock_wait: float
    lock_lease: int
    image_api: ImageAPIOptions
    settings: Settings
    projects: Mapping[str, Settings]
    rules: tuple[Any, ...]  # the table of rules, in judging order
    own_rules: tuple[OwnRuleOptions, ...]
    origins: Mapping[str, Mapping[str, RawOption]]  # by project ("" for all), by option: where it was given
    names_given: Mapping[str, Mapping[tuple[str, str], str]]  # by file: the text of each option, by section and name
    loaded: Loaded
    counts_images: bool  # in some project
    needs_locks: bool  # in some project
    errors: tuple[str, ...] = ()  # that were ignored: see refuses_without_record() and load()

    def for_project(self, project_id: str | None) -> Settings:
        """Return the settings of a project (None: nobody knows which)."""
        if not project_id:
            return self.settings
        return self.projects.get(project_id, self.settings)


def load(paste: Mapping[str, str], location: str, build_rules: BuildRules) -> Policy:
    """Read the options of one filter.

    :param paste: the keys of the filter's section in the paste file.
    :param location: how to name that section in an error.
    :param build_rules: returns the table of rules, in judging order.
    :raises ConfigError: for every error, in one message.
    """
    errors: list[str] = []
    files = ConfigFiles(find_files(paste), errors)
    origins = _read_origins(files, read_paste(paste, location), errors)
    own_rules = read_own_rules(files.options(is_rule_section, errors), errors)
    rules = build_rules(own_rules, errors)
    for rule in own_rules:
        for project_id in rule.projects:  # its images are counted, say, though others' are not
            origins.setdefault(project_id, {})
    values = _convert_all(origins, errors)
    settings = {}
    for project_id, given in origins.items():
        settings[project_id] = build_settings(project_id, values[project_id], given, rules, errors)
    errors += _find_keystone_without_url(values, origins)
    errors = list(dict.fromkeys(errors))
    # The switch for emergencies: no other mistake keeps an operator from using it.
    if errors and values[""]["mode"] != "off":
        raise ConfigError(errors)
    visible = {name: text for name, text in paste.items() if name not in SECRETS}
    loaded = Loaded(location, visible, find_files(paste), compute_digest(values, SECRETS, _describe(own_rules)))
    policy = _policy(values[""], settings, origins, files.names_given(_is_own_section), loaded)
    return policy._replace(errors=tuple(errors), rules=tuple(rules), own_rules=tuple(own_rules))


def _read_origins(
    files: ConfigFiles, from_paste: Sequence[RawOption], errors: list[str]
) -> dict[str, dict[str, RawOption]]:
    """Return the options that are given, by the project that they are given for ("" for all) and by name."""
    raw_options = [*files.options(_is_filter_section, errors), *from_paste]
    if not any(_is_own_section(section) for _, section in files.sections()):
        errors += _misplaced(files.options(_is_default_section, errors))
    select(files.options(is_misspelt, errors), (*OPTIONS, *OWN_RULE_OPTIONS), errors)  # only for the errors in it
    return _by_project(raw_options, errors)


def _convert_all(origins: Mapping[str, Mapping[str, RawOption]], errors: list[str]) -> dict[str, dict[str, Any]]:
    """Return the values of all options, by project ("" for all that have none of their own)."""
    values = {}
    for project_id, given in origins.items():
        values[project_id] = convert({**origins[""], **given}, OPTIONS, errors)
    common = values[""]
    if not common["actions"]:
        errors.append("actions is empty, so nothing would be judged: remove the filter from the pipeline instead")
    if common["coordination_url"] is None and common["audit_journal"] is not None:
        common["coordination_url"] = _default_coordination(common["audit_journal"])
    return values


def _describe(own_rules: Sequence[OwnRuleOptions]) -> list[Any]:
    return [(rule.name, rule.values) for rule in own_rules]


def _is_own_section(section: str) -> bool:
    return _is_filter_section(section) or is_rule_section(section)


def _is_filter_section(section: str) -> bool:
    return section == GROUP or section.startswith(PROJECT_SECTION)


def _is_default_section(section: str) -> bool:
    return section == "DEFAULT"


def _misplaced(raw_options: Sequence[RawOption]) -> Iterator[str]:
    """Report options of the filter in ``[DEFAULT]`` of a file that has no section of its own for them."""
    for raw in raw_options:
        if any(raw.name == option.name for option in OPTIONS):
            yield f"{raw.name} in {raw.location}: it has no effect there: set it in [{GROUP}]"


def _by_project(raw_options: Sequence[RawOption], errors: list[str]) -> dict[str, dict[str, RawOption]]:
    """Sort options by the project that they are given for ("" for all) and by name."""
    origins: dict[str, dict[str, RawOption]] = {"": {}}
    for raw in raw_options:  # one by one: errors come in the order in which the options are given
        project_id = _project_in(raw, errors)
        given = select([raw], OPTIONS, errors)
        if project_id is not None and _is_allowed(raw, project_id, errors):
            origins.setdefault(project_id, {}).update(given)
    return origins


def _project_in(raw: RawOption, errors: list[str]) -> str | None:
    """Return the project that an option is given for: "" for all, None if the section does not name one."""
    if raw.section in ("", GROUP):
        return ""
    project_id = raw.section[len(PROJECT_SECTION) :]
    if _PROJECT_ID.fullmatch(project_id):
        return project_id
    errors.append(f"{raw.location}: '{project_id}' is not a project id (digits, a to f, hyphens)")
    return None


def _is_allowed(raw: RawOption, project_id: str, errors: list[str]) -> bool:
    """Return whether an option may be given for one project; unknown ones are for somebody else to report."""
    option = _OPTION_NAMES.get(raw.name)
    if not project_id or option is None or option.name in PROJECT_OPTIONS:
        return True
    errors.append(f"{raw.name} in {raw.location}: it applies to all projects: set it in [{GROUP}]")
    return False


def _find_keystone_without_url(
    values: Mapping[str, Mapping[str, Any]], origins: Mapping[str, Mapping[str, RawOption]]
) -> Iterator[str]:
    """Report limits from a Keystone that nobody names: Nova's context has no catalog entry of it."""
    if values[""]["identity_api_url"] is not None:
        return
    for project_id, given in origins.items():
        raw = given.get("limits_source")
        if raw and values[project_id]["limits_source"] == "keystone":
            yield f"limits_source = keystone in {raw.location}: it needs identity_api_url in [{GROUP}]"


def _default_coordination(journal: str) -> str:
    """Return the URL of locks for the processes of this host alone."""
    return f"file://{os.path.join(os.path.dirname(journal), 'locks')}"


def _policy(
    common: Mapping[str, Any],
    settings: dict[str, Settings],
    origins: Mapping[str, Mapping[str, RawOption]],
    names_given: Mapping[str, Mapping[tuple[str, str], str]],
    loaded: Loaded,
) -> Policy:
    limits = [own.limits for own in settings.values()]
    counts_images = any(own.count_images for own in limits)
    return Policy(
        actions={name: name.encode("ascii") for name in common["actions"]},
        max_body_bytes=common["max_body_bytes"],
        www_authenticate_uri=common["www_authenticate_uri"],
        lookup_on_error=common["lookup_on_error"],
        lookup_ttl=common["lookup_ttl"],
        reload_interval=common["reload_interval"],
        audit_journal=common["audit_journal"],
        audit_on_error=common["audit_on_error"],
        audit_metadata=common["audit_metadata"],
        coordination_url=common["coordination_url"],
        lock_wait=common["lock_wait"],
        lock_lease=common["lock_lease"],
        image_api=_image_api(common),
        settings=settings.pop(""),
        projects=settings,
        rules=(),
        own_rules=(),
        origins=origins,
        names_given=names_given,
        loaded=loaded,
        counts_images=counts_images,
        needs_locks=counts_images or any(own.one_at_a_time for own in limits),
    )


def _image_api(common: Mapping[str, Any]) -> ImageAPIOptions:
    return ImageAPIOptions(
        url=common["image_api_url"],
        interface=common["api_interface"],
        region=common["api_region"],
        ca_file=common["api_ca_file"],
        timeout=common["api_timeout"],
        identity_url=common["identity_api_url"],
    )

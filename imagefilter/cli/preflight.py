"""Check what a process would load: sections of a paste file, the policy, the journal. Nothing is created."""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from imagefilter.cli import pastechain, pipelines
from imagefilter.cli._output import describe_missing
from imagefilter.cli.api_warnings import find_ca_errors, find_keystone_warnings
from imagefilter.cli.authtoken_warnings import find_cache_warnings
from imagefilter.cli.distribution import find_wrong_eggs
from imagefilter.cli.nova_warnings import find_nova_warnings
from imagefilter.cli.pastefile import APPS, FILTERS, PasteFile, Section, name_of
from imagefilter.cli.policy_warnings import NO_OPTIONS, find_warnings
from imagefilter.coordination.backend import BackendFailed
from imagefilter.coordination.url import describe, load_backend
from imagefilter.gateway import options as gateway_options
from imagefilter.policy import options as filter_options
from imagefilter.policy.config import ConfigError, names_of
from imagefilter.policy.files import ConfigFiles, find_files
from imagefilter.policy.policy import Policy
from imagefilter.policy.store import coordination_errors, journal_errors, refuses_without_record
from imagefilter.policy.summary import summarise
from imagefilter.relay import options as relay_options
from imagefilter.rules.table import load_policy

Row = tuple[str, str, str]

# Any name of a lock.
_CHECKED_KEY = "0" * 32


class Result(NamedTuple):
    """What a check found."""

    rows: list[Row]  # what was checked, its verdict, and what would be in force
    findings: list[str]  # lines that begin with "error: " or "warning: "

    @property
    def has_errors(self) -> bool:
        return any(finding.startswith("error: ") for finding in self.findings)

    @property
    def has_warnings(self) -> bool:
        return any(finding.startswith("warning: ") for finding in self.findings)

    def summary(self) -> str:
        warnings = sum(finding.startswith("warning: ") for finding in self.findings)
        if warnings:
            return f"OK, warnings: {warnings}"
        return "OK"


def check_config(path: str) -> Result:
    """Check a config file: the filter's options, and the relay's if it has a section of theirs."""
    findings = _check_policy({"oslo_config_file": path}, "")[1]
    errors: list[str] = []
    sections = {section for _, section in ConfigFiles([path], errors).sections()}
    if filter_options.RELAY_GROUP in sections and not errors:
        findings = [finding for finding in findings if NO_OPTIONS not in finding]
        try:
            relay_options.load(path)
        except ConfigError as error:
            findings += [f"error: {text}" for text in error.errors if f"error: {text}" not in findings]
    return Result([], findings)


def check_paste(name: str) -> Result:
    """Check the place of the filter in each pipeline, and load the sections of the filter and of the gateway.

    :param name: a path; what follows a ``#``, the app to load, is ignored: IMAGEFILTER_PASTE may have it.
    """
    path = name.partition("#")[0]
    try:  # another file that a section leads to has to be read as well
        file = PasteFile(path)
        own_sections = list(_find_own_sections(file))
        cache_warnings = find_cache_warnings(file)
    except ValueError as error:
        return Result([(path, "error", "")], [f"error: {error}"])
    result = _check_pipelines(path)
    result.findings.extend(f"error: {error}" for error in find_wrong_eggs(file))
    result.findings.extend(f"warning: {warning}" for warning in cache_warnings)
    for section, is_gateway in own_sections:
        summary, findings = _check_section(path, section, is_gateway)
        state = "loads"
        if Result([], findings).has_errors:
            state = "error"
        result.rows.append((f"[{section.name}]", state, summary))
        result.findings.extend(findings)
        if is_gateway and not pastechain.has_body_reader(file):
            result.findings.append(
                f"warning: [{section.name}]: no filter of {path} is egg:nova-imagefilter#read_body: a front takes an"
                " answer before the body was read for a failure of the gateway"
            )
    return result


def _check_pipelines(path: str) -> Result:
    try:
        checked = pipelines.read(path)
    except ValueError as error:
        return Result([(path, "error", "")], [f"error: {error}"])
    result = Result([], list(pipelines.describe(checked)))
    for name, key, verdict, names in pipelines.rows_of(checked):
        result.rows.append((f"[{name}] {key}".rstrip(), verdict, names))
    return result


def _find_own_sections(file: PasteFile) -> Iterator[tuple[Section, bool]]:
    """Yield each section of ours, and whether it is a gateway."""
    for section in file.sections(FILTERS):
        if pastechain.is_ours(file, name_of(section)):
            yield section, False
    for section in file.sections(APPS):
        if pastechain.is_gateway(file, name_of(section)):
            yield section, True


def _check_section(path: str, section: Section, is_gateway: bool) -> tuple[str, list[str]]:
    """Resolve a section as PasteDeploy does, and read its options; return what would be in force, and findings."""
    location = f"section [{section.name}] of {path}"
    try:
        own, inherited = _resolve(path, section, is_gateway)
    except configparser.InterpolationError as error:  # its own message contains the value, which may be a password
        return "", [f"error: {error.option} in {location} can't be read: a % must be written as %%"]
    except ImportError as error:
        return "", [f"error: {location}: {describe_missing(error, 'gateway,tools')}"]
    except (LookupError, ValueError, configparser.Error) as error:
        return "", [f"error: {location}: {' '.join(str(error).split())}"]
    options = filter_options.OPTIONS
    if is_gateway:
        options = gateway_options.OPTIONS
    findings = []
    for name in sorted(names_of(options).keys() & inherited.keys()):
        findings.append(f"warning: {name} in section [DEFAULT] of {path} has no effect: write it in {location}")
    check = _check_policy
    if is_gateway:
        check = _check_gateway
    summary, more = check(own, location)
    return summary, findings + more


def _resolve(path: str, section: Section, is_gateway: bool) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the keys that PasteDeploy hands to a section's factory: the section's own, and those of [DEFAULT]."""
    from paste.deploy import loadwsgi  # noqa: PLC0415  # an extra

    kind = loadwsgi.FILTER
    if is_gateway:
        kind = loadwsgi.APP
    context = loadwsgi.loadcontext(kind, f"config:{os.path.abspath(path)}", name=name_of(section))
    return context.local_conf, context.global_conf


def _check_policy(paste: Mapping[str, str], location: str) -> tuple[str, list[str]]:
    try:
        policy = load_policy(paste, location)
    except ConfigError as error:
        return "", [f"error: {text}" for text in error.errors]
    errors = journal_errors(policy)
    findings = []
    for text in errors:
        level = "warning"
        if refuses_without_record(policy):
            level = "error"
        findings.append(f"{level}: {text}")
    findings += _check_coordination(policy)
    findings += [f"error: {error}" for error in find_ca_errors(policy)]
    findings += [f"warning: {warning}" for warning in find_keystone_warnings(policy)]
    findings += [f"warning: {warning}" for warning in find_warnings(policy)]
    findings += _find_leftovers(find_files(paste))
    findings += [f"warning: {warning}" for warning in find_nova_warnings(find_files(paste), policy)]
    return summarise(policy), findings


def _check_coordination(policy: Policy) -> Iterator[str]:
    """Get a lock and give it back, as the process that judges would.

    If etcd or Redis can't be used, that is a warning: the gateway's unit runs the check before a start, and may start
    before they do. Until they respond, only the image actions that need a lock are refused.
    """
    if not policy.needs_locks:
        return
    for error in coordination_errors(policy):
        yield f"error: {error}"
        return
    url = policy.coordination_url or ""
    if url.startswith("file:"):
        yield f"warning: limits hold for the processes of this host alone: they share {describe(url)}"
        path = url.removeprefix("file://")
        if not os.path.exists(path):  # made here, it would be of another user than the API's
            if not os.access(os.path.dirname(path), os.W_OK | os.X_OK):
                yield f"error: coordination_url {describe(url)} can't be used: the file can't be made in its directory"
            return
    try:
        lease = load_backend(url, policy.image_api.timeout).acquire(_CHECKED_KEY, policy.lock_lease)
        if lease:
            lease.release()
    except BackendFailed as error:
        level = "warning"
        if url.startswith("file:"):
            level = "error"
        yield f"{level}: coordination_url {describe(url)} can't be used: {error}"


def _check_gateway(paste: Mapping[str, str], location: str) -> tuple[str, list[str]]:
    from imagefilter.gateway import upstream  # noqa: PLC0415  # needs an extra

    try:
        endpoint: Any = upstream.load(paste, location)
    except ConfigError as error:
        return "", [f"error: {text}" for text in error.errors]
    return f"the compute API at {endpoint.host}, port {endpoint.port}", []


def _find_leftovers(paths: Iterable[str]) -> Iterator[str]:
    """Yield options of an old Nova that the same file still has, and that nobody reads."""
    errors: list[str] = []
    for raw in ConfigFiles(paths, errors).options(lambda section: section in ("DEFAULT", "api"), errors):
        if raw.name == "allow_instance_snapshots":
            yield f"warning: {raw.name} in {raw.location} has no effect: Nova dropped it; set snapshots_enabled"

"""The policy in force: loaded at start, and again when its files change."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Callable, NamedTuple, Optional

from imagefilter.coordination.url import load_backend
from imagefilter.journal import writer
from imagefilter.policy.changes import describe_lost_options, find_accidents
from imagefilter.policy.config import ConfigError
from imagefilter.policy.files import find_files
from imagefilter.policy.policy import Policy
from imagefilter.policy.summary import describe_what_stays_on, summarise

LOG = logging.getLogger(__name__)

# A file that was written less than this many seconds ago may be half a file, which may well be a valid one.
_SETTLING_SECONDS = 1


class _FileStatus(NamedTuple):
    inode: int
    mtime_ns: int
    size: int


_Fingerprint = dict[str, Optional[_FileStatus]]  # by path


class PolicyStore:
    """Holds the policy in force, and reloads it when its files have changed.

    Only an image action asks for a check of the files, and then at most every ``reload_interval`` seconds. If a new
    file is bad, or a file that set options sets none any more, the previous policy stays.
    """

    def __init__(self, paste: Mapping[str, str], location: str, load: Callable[[Mapping[str, str], str], Policy]):
        """Load the policy.

        :param paste: the keys of the filter's section in the paste file.
        :param location: how to name that section in an error.
        :param load: reads a policy; raises :class:`ConfigError`.
        :raises ConfigError: if the policy can't be loaded.
        """
        self._paste = dict(paste)
        self._location = location
        self._read = load
        self._lock = threading.Lock()
        self._fingerprint = self._take_fingerprint()  # before reading: a change meanwhile is seen at the next check
        self._checked_at = time.monotonic()
        self._serial = 0
        self.policy = self._load()

    def current(self) -> Policy:
        """Return the policy in force now, after a check of the files if one is due."""
        is_due = time.monotonic() - self._checked_at >= self.policy.reload_interval
        if not is_due or not self._lock.acquire(blocking=False):
            return self.policy  # nobody waits for the thread that checks
        try:
            self._checked_at = time.monotonic()
            fingerprint = self._take_fingerprint()
            if fingerprint != self._fingerprint and not _is_settling(fingerprint):
                self._reload(fingerprint)
        finally:
            self._lock.release()
        return self.policy

    def log(self) -> None:
        """Log what is in force."""
        files = find_files(self._paste)
        if files and not _has_file_options(self.policy):
            LOG.warning("%s sets no option of imagefilter: every option has its default", ", ".join(files))
        log_policy(self.policy)

    def _load(self) -> Policy:
        policy = self._read(self._paste, self._location)
        errors = journal_errors(policy)
        if errors and refuses_without_record(policy):
            raise ConfigError(errors)
        lock_errors = coordination_errors(policy)
        if lock_errors and policy.settings.mode == "enforce":
            raise ConfigError(lock_errors)
        errors += lock_errors
        loaded = policy.loaded._replace(serial=self._next_serial(), time=time.time())
        return policy._replace(errors=(*policy.errors, *errors), loaded=loaded)

    def _reload(self, fingerprint: _Fingerprint) -> None:
        try:
            policy = self._load()
            accidents = find_accidents(self.policy, policy)
            if accidents:
                raise ConfigError(accidents)
        except ConfigError as error:
            LOG.error("reload failed, keeping the previous configuration: %s", error)
            loaded = self.policy.loaded._replace(serial=self._next_serial(), failure=str(error))
            self.policy = self.policy._replace(loaded=loaded)
        else:
            if self._take_fingerprint() != fingerprint:
                return  # it changed while it was read: the next check tries again
            lost = list(describe_lost_options(self.policy, policy))
            self.policy = policy
            LOG.warning("the configuration was reloaded")
            for option in lost:
                LOG.warning("%s is gone", option)
            self.log()
        self._fingerprint = fingerprint

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def _take_fingerprint(self) -> _Fingerprint:
        """Return what changes when a file does; symbolic links are followed."""
        return {path: _status(path) for path in find_files(self._paste)}


def journal_errors(policy: Policy) -> list[str]:
    """Return why this process can't write the policy's journal: at most one error, worded as an option's."""
    raw = policy.origins[""].get("audit_journal")
    if policy.audit_journal is None or raw is None:
        return []
    reason = writer.why_unusable(policy.audit_journal)
    if reason is None:
        return []
    return [f"audit_journal = {policy.audit_journal} in {raw.location}: {reason}"]


def coordination_errors(policy: Policy) -> list[str]:
    """Return why limits can't be exact, worded as an option's error: at most one."""
    if not policy.needs_locks:
        return []
    if policy.coordination_url is None:
        return [
            "coordination_url is not set, and there is no audit_journal beside which locks could be: limits need it"
        ]
    raw = policy.origins[""].get("coordination_url")
    try:
        load_backend(policy.coordination_url, policy.image_api.timeout)
    except ValueError as error:
        location = "its default"
        if raw:
            location = raw.location
        return [f"coordination_url = *** in {location}: {error}"]
    return []


def refuses_without_record(policy: Policy) -> bool:
    """Return whether requests are refused if the journal can't be written.

    By the mode of ``[imagefilter]`` alone: a single project in ``enforce`` is no reason to keep the API from starting.
    """
    return policy.audit_on_error == "deny" and policy.settings.mode == "enforce"


def log_policy(policy: Policy) -> None:
    """Log what is in force, in one line, and which errors were ignored."""
    for error in policy.errors:
        LOG.error(
            "ignored, since mode is %s and audit_on_error %s: %s", policy.settings.mode, policy.audit_on_error, error
        )
    if policy.audit_journal is None:
        LOG.warning("audit_journal is not set: records go to the logger imagefilter.audit, and are as durable as it is")
    if policy.needs_locks and (policy.coordination_url or "").startswith("file:"):
        LOG.warning(
            "the limits hold for the processes of this host alone, which share %s: with several hosts, set"
            " coordination_url",
            policy.coordination_url,
        )
    level = logging.INFO
    if _is_lenient(policy):
        level = logging.WARNING
    LOG.log(level, "imagefilter judges %s", summarise(policy))


def _is_lenient(policy: Policy) -> bool:
    """Return whether some rule of some project is not enforced, or stays on though all are off."""
    for settings in (policy.settings, *policy.projects.values()):
        if any(mode != "enforce" for mode in settings.modes.values()):
            return True
    return any(describe_what_stays_on(policy))


def _has_file_options(policy: Policy) -> bool:
    return bool(policy.own_rules) or any(raw.section for given in policy.origins.values() for raw in given.values())


def _is_settling(fingerprint: _Fingerprint) -> bool:
    now = time.time()
    return any(abs(now - status.mtime_ns / 1e9) < _SETTLING_SECONDS for status in fingerprint.values() if status)


def _status(path: str) -> _FileStatus | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return _FileStatus(status.st_ino, status.st_mtime_ns, status.st_size)

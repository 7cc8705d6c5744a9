"""The policy in force: loaded at start, and again when its files change."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple, Optional

from imagefilter import journal
from imagefilter.policy import ConfigError, Policy, load
from imagefilter.sources import files

LOG = logging.getLogger(__name__)


class Status(NamedTuple):
    inode: int
    mtime_ns: int
    size: int


Fingerprint = tuple[Optional[Status], ...]


class PolicySource:
    """The policy in force: reloaded when its files change, the last good one else.

    Not before an image action asks for it is anything looked at, and then at most every ``reload_interval`` seconds.
    """

    def __init__(self, paste: Mapping[str, str], place: str = "the paste section") -> None:
        """Load the policy.

        :raises ConfigError: if it can't be.
        """
        self._paste = dict(paste)
        self._place = place
        self._lock = threading.Lock()
        self._state = self._fingerprint()  # before reading: a change meanwhile is seen next time
        self._looked = time.monotonic()
        self.policy = self._load()

    def current(self) -> Policy:
        """The policy in force now, after a look at the files if it is time for one."""
        if time.monotonic() - self._looked < self.policy.reload_interval or not self._lock.acquire(blocking=False):
            return self.policy  # nobody waits for the one who looks
        try:
            self._looked = time.monotonic()
            state = self._fingerprint()
            if state != self._state and not _is_fresh(state):
                self._reload(state)
        finally:
            self._lock.release()
        return self.policy

    def _load(self) -> Policy:
        policy = load(self._paste, self._place)
        errors = journal_errors(policy)
        if errors:
            raise ConfigError(errors)
        return policy

    def _reload(self, state: Fingerprint) -> None:
        try:
            policy = self._load()
            if _is_from_file(self.policy) and not _is_from_file(policy):
                # A full disk and a dying editor leave an empty file behind, which would be all defaults.
                raise ConfigError([f"{', '.join(files(self._paste))} sets no option any more, taken for an accident"])
        except ConfigError as error:
            LOG.error("the options are bad, so the last good ones stay in force: %s", error)
        else:
            if None in state or self._fingerprint() != state:  # changed while it was read: looked at again
                return
            self.policy = policy
            LOG.warning("the options were reloaded")
            log_policy(policy)
        self._state = state

    def _fingerprint(self) -> Fingerprint:
        """What changes when a file does; symbolic links are followed."""
        return tuple(_stat(path) for path in files(self._paste))


def journal_errors(policy: Policy) -> list[str]:
    """Why this process can't keep the policy's journal, if it can't; one error at most, as of an option."""
    reason = journal.unusable(policy.audit_journal) if policy.audit_journal else None
    given = policy.origins[""].get("audit_journal")
    return [f"audit_journal = {policy.audit_journal} in {given.place}: {reason}"] if reason and given else []


def log_policy(policy: Policy) -> None:
    """Say loudly what is in force."""
    if policy.audit_journal is None:
        LOG.warning("audit_journal is not set: records go to the logger imagefilter.audit, and are as durable as it is")
    for scope, settings in (("all projects", policy.settings), *policy.projects.items()):
        softened = ", ".join(f"{rule}:{mode}" for rule, mode in settings.modes.items() if mode != "enforce")
        log = LOG.warning if softened else LOG.info
        log(
            "imagefilter judges %s of %s: snapshots_enabled is %s, metadata_items is %s, not enforced: %s",
            ", ".join(policy.actions),
            scope if scope == "all projects" else f"project {scope}",
            settings.snapshots_enabled,
            "the compute API's" if settings.quota_of_compute else settings.metadata_items,
            softened or "nothing",
        )


def _is_from_file(policy: Policy) -> bool:
    return any(given.section for scope in policy.origins.values() for given in scope.values())


def _is_fresh(state: Fingerprint) -> bool:
    """Whether a file was written to less than a second ago: it may be half a file, which may well be a valid one."""
    return any(abs(time.time() - each.mtime_ns / 1e9) < 1 for each in state if each)


def _stat(path: str) -> Status | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return Status(status.st_ino, status.st_mtime_ns, status.st_size)

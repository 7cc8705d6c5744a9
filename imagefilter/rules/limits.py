"""Limits on the number of images, on how many are made at once, and on the rotation of backups.

A lock, a count, and then the compute API: its image is in Glance before it answers 202, so whoever gets the lock next
counts it.
"""

from __future__ import annotations

import logging
from typing import Callable

from imagefilter.fault import excerpt
from imagefilter.policy.limits import Limits
from imagefilter.policy.reserved import fold
from imagefilter.request.codec import read_rotation
from imagefilter.rules.case import Case, LockState, LookupFailed, Refusal, Usage
from imagefilter.rules.contract import refuse_without_room

LOG = logging.getLogger(__name__)

#: Seconds after which a client may try again.
RETRY_AFTER = 1

_LARGEST_NUMBER = 2**63 - 1  # that a record can hold


def describe_usage(limits: Limits, usage: Usage, more: int) -> str:
    """Return the counts beside their limits for a client, as ``server=2/3, project=9/10``; empty without a count.

    :param more: how many images the request adds.
    """
    if usage.server is None:  # nobody counted
        return ""
    counts = {
        "server": (usage.server, limits.per_server),
        "project": (usage.project, limits.per_project),
        "in_progress": (usage.in_progress, limits.in_progress),
    }
    parts = []
    for name, (count, limit) in counts.items():
        if count is not None and limit >= 0:
            parts.append(f"{name}={count + more}/{limit}")
    return ", ".join(parts)


def backup_rotation(case: Case) -> Refusal | None:
    """Refuse a createBackup that keeps more backups than ``backup_rotation_max``, or fewer than the minimum."""
    limits, action = case.settings.limits, case.action
    if action.name != "createBackup" or type(action.entity) is not dict:
        return None
    rotation = read_rotation(action.entity.get("rotation"))
    if rotation is None:  # Nova refuses it
        return None
    if 0 <= limits.rotation_max < rotation:
        message = f"Backup rotation too large (maximum {limits.rotation_max}, requested {excerpt(str(rotation))})"
        return Refusal(message, limit=limits.rotation_max, usage=min(rotation, _LARGEST_NUMBER))
    if rotation < limits.rotation_min:
        message = f"Backup rotation too small (minimum {limits.rotation_min}, requested {rotation})"
        return Refusal(message, limit=limits.rotation_min, usage=rotation)
    return None


def one_at_a_time(case: Case) -> Refusal | None:
    """Refuse an image action of a server while another one is processed: Nova makes orphans of such races.

    (``UnexpectedTaskStateError``: 500, and an image that stays ``queued`` for ever.)
    """
    if not case.settings.limits.one_at_a_time:
        return None
    return _check(case, _refuse_busy_server)


def limit_busy(case: Case) -> Refusal | None:
    """Refuse a request whose limit can't be counted now, since another one of the project is processed."""
    if not case.settings.limits.count_images:
        return None
    return _check(case, _refuse_busy_project)


def server_limit(case: Case) -> Refusal | None:
    """Refuse one image of a server too many."""
    return _check_limit(case, "per_server", _refuse_over_server_limit)


def project_limit(case: Case) -> Refusal | None:
    """Refuse one image of the project's servers too many."""
    return _check_limit(case, "per_project", _refuse_over_project_limit)


def progress_limit(case: Case) -> Refusal | None:
    """Refuse one unfinished image too many."""
    return _check_limit(case, "in_progress", _refuse_over_progress_limit)


def image_quota(case: Case) -> Refusal | None:
    """Refuse an image for which the image API has no room: Nova would respond 500, or the image vanish later.

    The image API exempts nobody, so nobody is exempt here.
    """
    if not case.settings.image_quota_check:
        return None
    return _check(case, _refuse_over_image_quota)


def refuse_busy(case: Case) -> Refusal | None:
    """Refuse what an own rule can't count now, in the name of the rule that is about it.

    :raises LookupFailed: if the lock can't be had.
    """
    refusal = _refuse_busy_server(case)
    if refusal:
        return refusal._replace(status=409, rule="one-at-a-time")
    refusal = _refuse_busy_project(case)
    if refusal:
        return refusal._replace(rule="limit-busy")
    return None


def _check_limit(case: Case, name: str, refuse: Callable[[Case], Refusal | None]) -> Refusal | None:
    """Return the refusal of a limit, if there is such a limit."""

    def refuse_over_limit(case: Case) -> Refusal | None:
        if getattr(case.find_limits(), name) < 0:
            return None
        # A count without its lock is none, also where ``limit-busy`` is switched off. Nor is one that an image without
        # its stamp escapes, also where ``metadata-type`` is not enforced.
        return refuse_without_room(case) or _refuse_busy_project(case) or refuse(case)

    return _check(case, refuse_over_limit)


def _check(case: Case, refuse: Callable[[Case], Refusal | None]) -> Refusal | None:
    """Return a refusal, also where what it needs can't be looked up."""
    try:
        return refuse(case)
    except LookupFailed as error:
        on_error = case.policy.lookup_on_error
        LOG.error("the snapshot limit could not be checked: %s; lookup_on_error is %s", error, on_error)
        if on_error == "deny":
            return Refusal("The snapshot limit could not be checked.", 503)
    return None


def _refuse_busy_server(case: Case) -> Refusal | None:
    if case.lookups.lock() is not LockState.SERVER_BUSY:
        return None
    return Refusal("Another image action of this server is being processed, try again", retry_after=RETRY_AFTER)


def _refuse_busy_project(case: Case) -> Refusal | None:
    if case.lookups.lock() is LockState.HELD:
        return None
    return Refusal("Another image action of this project is being processed, try again", 429, retry_after=RETRY_AFTER)


def _refuse_over_server_limit(case: Case) -> Refusal | None:
    return _refuse_over(case, "Server", case.find_limits().per_server, case.lookups.usage().server)


def _refuse_over_project_limit(case: Case) -> Refusal | None:
    return _refuse_over(case, "Project", case.find_limits().per_project, case.lookups.usage().project)


def _refuse_over_progress_limit(case: Case) -> Refusal | None:
    limit, usage = case.find_limits().in_progress, case.lookups.usage().in_progress
    if usage is None or usage < limit:
        return None
    message = f"Too many snapshots in progress (limit {limit}, in progress {usage})"
    return Refusal(message, limit=limit, usage=usage)


def _refuse_over_image_quota(case: Case) -> Refusal | None:
    for name, (limit, usage) in case.lookups.image_quota().items():
        if 0 <= limit <= usage:
            message = f"Image quota exceeded ({name}: limit {limit}, in use {usage})"
            return Refusal(message, limit=limit, usage=usage)
    return None


def _refuse_over(case: Case, whose: str, limit: int, usage: int | None) -> Refusal | None:
    if usage is None or usage < limit:
        return None
    if usage == limit and _makes_room(case):
        return None
    return Refusal(f"{whose} snapshot limit exceeded (limit {limit}, in use {usage})", limit=limit, usage=usage)


def _makes_room(case: Case) -> bool:
    """Return whether a createBackup at the limit makes room by its rotation: otherwise nightly backups stop for ever.

    Until the host has rotated there is one image more than the limit, and then no other one gets through.
    """
    if case.action.name != "createBackup":
        return False
    for key in case.metadata:  # a client's own would win over those that Nova's rotation looks for
        if not {"instance_uuid", "image_type", "backup_type"}.isdisjoint(fold(key)):
            return False
    rotated_out = case.lookups.count_rotated_out()
    return rotated_out is not None and rotated_out > 0

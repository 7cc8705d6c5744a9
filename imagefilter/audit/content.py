"""Write imagefilter's own part of a record: what CADF has no place for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from imagefilter.audit.bounds import METADATA_BYTES, Bounds, replace_surrogates
from imagefilter.lookup.request import Measured
from imagefilter.policy.context import RequestContext
from imagefilter.request.action import ImageAction
from imagefilter.request.codec import decode_latin1, read_rotation, type_name
from imagefilter.rules.case import ServerFacts
from imagefilter.rules.document import TENANTS_METADATA
from imagefilter.rules.engine import Verdict

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# Readers' integers have 64 bits.
_LARGEST_NUMBER = 2**63 - 1


def describe_verdict(
    environ: WSGIEnvironment, context: RequestContext, verdict: Verdict, bounds: Bounds
) -> dict[str, Any]:
    """Build imagefilter's own part of the record of a verdict."""
    action, settings = context.action, context.settings
    content: dict[str, Any] = {
        "verdict": verdict.decision.value,
        "policy_digest": context.policy.loaded.digest,
        "pid": os.getpid(),
        "action": action.name,
        "project_id": None,
        "rule": None,
        "status": verdict.status,
        "message": None,
        "mode": settings.mode,
        "limit": verdict.limit,
        "usage": verdict.usage,
        "method": bounds.text("method", decode_latin1(environ["REQUEST_METHOD"])),
        "path": bounds.text("path", decode_latin1(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))),
        "media_type": bounds.text("media_type", decode_latin1(action.media_type)),
    }
    if context.project_id is not None:
        content["project_id"] = bounds.text("project_id", decode_latin1(context.project_id))
    if verdict.rule:
        content["rule"] = verdict.rule
        content["message"] = replace_surrogates(verdict.message)
        content["mode"] = verdict.mode or settings.modes[verdict.rule]
    if verdict.is_own:
        content["own_rule"] = True
    if verdict.reason:
        content["reason"] = bounds.text("reason", verdict.reason)
    content.update(_name_content(action.image_name, bounds))
    content.update(_backup_content(action, bounds))
    content.update(_metadata_content(action.metadata, context.policy.audit_metadata, bounds))
    return content


def describe_measured(measured: Measured, context: RequestContext, bounds: Bounds) -> dict[str, Any]:
    """Describe what was looked up for a request, and how long its lock and its lookups took, in seconds."""
    content: dict[str, Any] = {}
    counts = {name: count for name, count in measured.usage._asdict().items() if count is not None}
    if counts:
        content["snapshot_usage"] = counts
    if measured.facts is not None:
        content["facts"] = list(_describe_facts(measured.facts, context, bounds))
    limits = measured.limits
    if limits is not None:  # of the others the policy tells
        content["snapshot_limits"] = {
            "server": limits.per_server,
            "project": limits.per_project,
            "in_progress": limits.in_progress,
        }
    if measured.image_quota is not None:
        content["image_quota"] = {name: quota._asdict() for name, quota in measured.image_quota.items()}
    for name in ("lock_seconds", "lookup_seconds", "server_seconds"):
        seconds = getattr(measured, name)
        if seconds is not None:
            content[name] = round(seconds, 6)
    return content


def _describe_facts(facts: ServerFacts, context: RequestContext, bounds: Bounds) -> Iterator[dict[str, str | None]]:
    """Yield what own rules read of the server: each value as a text of JSON, so that an index takes each record.

    That a field was absent is recorded as well; what is left out is not known to the record.
    """
    room = METADATA_BYTES
    for field in sorted(context.settings.server_fields - facts.failed.keys()):
        text = None
        if field in facts.values:
            text = json.dumps(facts.values[field], default=str)
            room -= len(text)
        if field in TENANTS_METADATA and context.policy.audit_metadata != "full":
            continue
        if room < 0:
            bounds.note(field, len(text or ""))
            return
        yield {"field": field, "value": text}


def _name_content(name: Any, bounds: Bounds) -> dict[str, str | None]:
    if name is None:
        return {"image_name": None}
    if type(name) is str:
        return {"image_name": bounds.text("image_name", name)}
    return {"image_name": None, "image_name_type": type_name(name)}


def _backup_content(action: ImageAction, bounds: Bounds) -> dict[str, Any]:
    """Describe what a backup deletes: all backups of its type but the newest ``rotation``."""
    if action.name != "createBackup" or type(action.entity) is not dict:
        return {}
    content: dict[str, Any] = {"backup_type": None, "rotation": _describe_rotation(action.entity.get("rotation"))}
    backup_type = action.entity.get("backup_type")
    if type(backup_type) is str:
        content["backup_type"] = bounds.text("backup_type", backup_type)
    return content


def _describe_rotation(rotation: Any) -> int | None:
    """Return a rotation as a number that readers can hold; None if Nova refuses it."""
    number = read_rotation(rotation)
    if number is None or number > _LARGEST_NUMBER:
        return None
    return number


def _metadata_content(metadata: Any, allowed: str, bounds: Bounds) -> dict[str, Any]:
    """Describe the metadata as far as the operator allows: ``none`` is their number, ``keys``, or ``full``."""
    if type(metadata) is not dict:
        return {"metadata_type": type_name(metadata)}
    content: dict[str, Any] = {"metadata_count": len(metadata)}
    if allowed == "full":
        items = (_describe_item(key, value, bounds) for key, value in metadata.items())
        content["metadata"] = _take_with_room(items, len(metadata), bounds)
    elif allowed == "keys":
        keys = (bounds.text("metadata_key", key) for key in metadata)
        content["metadata_keys"] = _take_with_room(keys, len(metadata), bounds)
    return content


def _describe_item(key: str, value: Any, bounds: Bounds) -> dict[str, str]:
    """Describe an item as an object whose fields and types no client chooses, so that an index takes each record."""
    item = {"key": bounds.text("metadata_key", key)}
    if type(value) is str:
        item["value"] = bounds.text("metadata_value", value)
    else:
        item["value"] = ""
        item["type"] = type_name(value)
    return item


def _take_with_room(items: Iterable[Any], count: int, bounds: Bounds) -> list[Any]:
    """Return as many of the items as the record has room for."""
    taken: list[Any] = []
    room = METADATA_BYTES
    for item in items:
        room -= len(json.dumps(item))
        if room < 0:
            bounds.note("metadata", count)
            break
        taken.append(item)
    return taken

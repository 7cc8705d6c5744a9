"""Write imagefilter's own part of a record: what CADF has no place for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imagefilter.audit.bounds import METADATA_BYTES, Bounds, replace_surrogates
from imagefilter.policy.context import RequestContext
from imagefilter.request.codec import decode_latin1, type_name
from imagefilter.rules.engine import Verdict

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def describe_verdict(
    environ: WSGIEnvironment, context: RequestContext, verdict: Verdict, bounds: Bounds
) -> dict[str, Any]:
    """Build imagefilter's own part of the record of a verdict."""
    action, settings = context.action, context.settings
    content: dict[str, Any] = {
        "verdict": verdict.decision.value,
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
        content["mode"] = settings.modes[verdict.rule]
    content.update(_name_content(action.image_name, bounds))
    content.update(_metadata_content(action.metadata, context.policy.audit_metadata, bounds))
    return content


def _name_content(name: Any, bounds: Bounds) -> dict[str, str | None]:
    if name is None:
        return {"image_name": None}
    if type(name) is str:
        return {"image_name": bounds.text("image_name", name)}
    return {"image_name": None, "image_name_type": type_name(name)}


def _metadata_content(metadata: Any, allowed: str, bounds: Bounds) -> dict[str, Any]:
    """Describe the metadata as far as the operator allows: ``none`` is their number, ``keys``, or ``full``."""
    if type(metadata) is not dict:
        return {"metadata_type": type_name(metadata)}
    content: dict[str, Any] = {"metadata_count": len(metadata)}
    if allowed == "full":
        content["metadata"] = _bounded_items(metadata, True, bounds)
    elif allowed == "keys":
        content["metadata_keys"] = list(_bounded_items(metadata, False, bounds))
    return content


def _bounded_items(metadata: Mapping[str, Any], with_values: bool, bounds: Bounds) -> dict[str, Any]:
    """Return as many items as the record has room for."""
    items: dict[str, Any] = {}
    room = METADATA_BYTES
    for key, value in metadata.items():
        bounded_key = bounds.text("metadata_key", key)
        bounded_value = None
        if with_values:
            bounded_value = _bounded_value(value, bounds)
        room -= len(json.dumps([bounded_key, bounded_value]))
        if room < 0:
            bounds.note("metadata", len(metadata))
            break
        items[bounded_key] = bounded_value
    return items


def _bounded_value(value: Any, bounds: Bounds) -> Any:
    if type(value) is str:
        return bounds.text("metadata_value", value)
    return {"type": type_name(value)}

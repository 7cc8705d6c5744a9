"""Recorded requests, rebuilt to be judged again.

A record does not hold all of a request: its texts are truncated, and ``audit_metadata`` leaves out metadata.
:mod:`imagefilter.cli._not_recorded` finds the rules that can't be judged again.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from imagefilter.policy.context import RequestContext, build_context
from imagefilter.policy.limits import Limits
from imagefilter.policy.policy import Policy
from imagefilter.policy.settings import Settings
from imagefilter.request.action import ACTIONS, NAMED_ACTIONS, ImageAction, recognise
from imagefilter.request.identity import Identity
from imagefilter.rules.case import Quota, ServerFacts, Usage

#: What is needed of a request, as columns of imagefilter.journal.history.
COLUMNS = (
    "time",
    "request_id",
    "verdict",
    "rule",
    "mode",
    "action",
    "method",
    "path",
    "media_type",
    "image_name",
    "image_name_type",
    "backup_type",
    "rotation",
    "snapshot_usage",
    "facts",
    "snapshot_limits",
    "image_quota",
    "metadata",
    "metadata_keys",
    "metadata_count",
    "metadata_type",
    "truncated",
    "user_id",
    "user_domain_id",
    "user_label",
    "authenticated",
    "caller_project_id",
    "project_id",
    "project_label",
    "roles",
)

Row = Mapping[str, Any]

_ACTIONS = {name: name.encode() for name in ACTIONS}
_UNREADABLE = b"\\"

# Stand in for values of which only the type was recorded.
_EXAMPLES: Mapping[str, Any] = {
    "null": None,
    "text": "",
    "a boolean": True,
    "a number": 0.5,
    "a list": [],
    "an object": {},
}


def rebuild(row: Row, policy: Policy) -> RequestContext | None:
    """Return a recorded request beside a policy; None if the policy does not judge its action."""
    action = _rebuild_action(row)
    if action is None or (action.name is not None and action.name not in policy.actions):
        return None
    return build_context(action, _rebuild_identity(row), policy)


def read_facts(row: Row) -> ServerFacts:
    """Return what was recorded of the server."""
    values: dict[str, Any] = {}
    for fact in row["facts"] or ():
        if fact["value"] is None:
            continue
        value = json.loads(fact["value"])
        if fact["field"] == "server.created":
            value = datetime.datetime.fromisoformat(value)
        values[fact["field"]] = value
    return ServerFacts(values, {})


def read_time(row: Row) -> datetime.datetime:
    """Return when a request was judged."""
    return datetime.datetime.fromisoformat(row["time"])


def read_usage(row: Row) -> Usage:
    """Return the recorded counts of images."""
    return Usage(**(row["snapshot_usage"] or {}))


def read_image_quota(row: Row) -> dict[str, Quota]:
    """Return the recorded quotas of the image API."""
    quotas = {}
    for name, quota in (row["image_quota"] or {}).items():
        if quota is not None:
            quotas[name] = Quota(**quota)
    return quotas


def find_limits(row: Row, settings: Settings) -> Limits | None:
    """Return the limits that apply to a recorded request; None if Keystone has them, and the record does not say which.

    :param settings: of the project, by the policy that judges now.
    """
    if not settings.limits.from_keystone:
        return settings.limits
    recorded = row["snapshot_limits"]
    if recorded is None:
        return None
    return settings.limits._replace(
        per_server=recorded["server"], per_project=recorded["project"], in_progress=recorded["in_progress"]
    )


def _rebuild_action(row: Row) -> ImageAction | None:
    """Recognise the action in a request like the recorded one."""
    environ = {"REQUEST_METHOD": row["method"], "PATH_INFO": row["path"], "CONTENT_TYPE": row["media_type"]}
    body = _UNREADABLE
    if row["action"] is not None:
        body = json.dumps({row["action"]: _rebuild_entity(row)}).encode()
    return recognise(environ, body, _ACTIONS)


def _rebuild_entity(row: Row) -> dict[str, Any] | None:
    if row["action"] not in NAMED_ACTIONS or row["rule"] == "body":  # then it was not an object
        return None
    entity = {"metadata": _rebuild_metadata(row)}
    if row["action"] == "createBackup":
        entity.update(backup_type=row["backup_type"], rotation=row["rotation"])
    if row["image_name_type"]:
        entity["name"] = _EXAMPLES[row["image_name_type"]]
    elif row["image_name"] is not None:
        length = truncated_lengths(row).get("image_name", 0)
        entity["name"] = row["image_name"].ljust(length, "?")
    return entity


def _rebuild_metadata(row: Row) -> Any:
    if row["metadata_type"]:
        return _EXAMPLES[row["metadata_type"]]
    metadata: dict[str, Any] = dict.fromkeys(row["metadata_keys"] or (), "")
    if row["metadata"]:
        for item in row["metadata"]:
            metadata[item["key"]] = item["value"]
            if item["type"] is not None:
                metadata[item["key"]] = _EXAMPLES[item["type"]]
    missing = (row["metadata_count"] or 0) - len(metadata)
    for number in range(missing):
        metadata[f"(not recorded: {number})"] = ""
    return metadata


def _rebuild_identity(row: Row) -> Identity:
    user_id = project_id = None
    roles: frozenset[str] = frozenset()
    if row["authenticated"]:
        user_id, project_id = row["user_id"], row["caller_project_id"]
        roles = frozenset(row["roles"] or ())
    return Identity(
        user_id=user_id,
        project_id=project_id,
        roles=roles,
        authenticated=bool(row["authenticated"]),
        has_token=True,  # a request without one is not recorded
        address="",
        request_id="",
        user_domain_id=row["user_domain_id"],
    )


def truncated_lengths(row: Row) -> dict[str, int]:
    """Return the truncated fields of a record, and how long they were."""
    return {item["field"]: item["length"] for item in row["truncated"] or ()}

"""Describe a record as an event of the Open Cybersecurity Schema Framework: class API Activity (6003).

A verdict that refuses, and an outcome, end an API call, so their status is success or failure. A verdict that admits a
request is an event of its own with the status "Other": the call has not ended yet, and should be counted once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from imagefilter.journal.record import is_configuration, read_content, read_time

#: The version of the schema that events conform to.
VERSION = "1.8.0"

_CATEGORY, _CLASS = 6, 6003

_CREATE, _UPDATE, _UNKNOWN = (1, "Create"), (3, "Update"), (0, "Unknown")

# Of what a request does. An image is created by all of them; shelve is first of all a change of the server.
_ACTIVITIES = {"createImage": _CREATE, "createBackup": _CREATE, "shelve": _UPDATE}

_STATUSES = {"success": (1, "Success"), "failure": (2, "Failure"), "unknown": (0, "Unknown")}
_OTHER_STATUS = 99

_INFORMATIONAL, _LOW = (1, "Informational"), (2, "Low")

# What the filter did: action and disposition.
_DENIED, _ALLOWED, _OBSERVED = (2, "Denied"), (1, "Allowed"), (3, "Observed")
_BLOCKED, _LET_THROUGH, _LOGGED = (2, "Blocked"), (1, "Allowed"), (17, "Logged")
_CONTROLS = {
    "deny": (_DENIED, _BLOCKED),
    "would_deny": (_OBSERVED, _LOGGED),
    "allow": (_ALLOWED, _LET_THROUGH),
    "exempt": (_ALLOWED, _LET_THROUGH),
}

_METHODS = ("POST", "PUT")


def convert(record: dict[str, Any]) -> dict[str, Any] | None:
    """Return a record as an event; None if it is about no request.

    :raises ValueError: if it is not a record of imagefilter, or its fields are of other types.
    """
    if is_configuration(record):
        return None
    content = read_content(record)
    try:
        event = _describe(record, content)
        event.update(_result(record, content))
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"not a record: its fields are of other types ({error})") from None
    return event


def _describe(record: dict[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an event says of an API call, whatever became of it."""
    activity_id, activity = _ACTIVITIES.get(content["action"], _UNKNOWN)
    initiator = record["initiator"]
    host = initiator.get("host") or {}
    return {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": _CATEGORY,
        "category_name": "Application Activity",
        "class_uid": _CLASS,
        "class_name": "API Activity",
        "type_uid": _CLASS * 100 + activity_id,
        "type_name": f"API Activity: {activity}",
        "time": _read_milliseconds(record),
        "metadata": _describe_metadata(record, content),
        "actor": _describe_actor(initiator),
        "api": _describe_api(initiator, content),
        "src_endpoint": _describe_source(host.get("address")),
        "dst_endpoint": {"hostname": record["observer"]["host"]["address"], "svc_name": "nova"},
        "http_request": _describe_http_request(record, initiator, content),
        "resources": _describe_resources(record["target"], content),
        "cloud": _describe_cloud(initiator, content),
        "unmapped": {"cadf": record},
    }


def _result(record: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what became of an API call."""
    if "verdict" in content:
        return _describe_verdict(content)
    return _describe_outcome(record, content)


def _describe_verdict(content: Mapping[str, Any]) -> dict[str, Any]:
    verdict = content["verdict"]
    (action_id, action), (disposition_id, disposition) = _CONTROLS[verdict]
    severity_id, severity = _INFORMATIONAL
    if content.get("rule"):
        severity_id, severity = _LOW
    event = {
        "severity_id": severity_id,
        "severity": severity,
        "status_id": _OTHER_STATUS,
        "status": verdict,
        "action_id": action_id,
        "action": action,
        "disposition_id": disposition_id,
        "disposition": disposition,
        "policy": _present(name=content.get("rule") or "imagefilter", uid=content.get("policy_digest")),
    }
    if verdict == "deny":
        event["status_id"], event["status"] = _STATUSES["failure"]
    event.update(_describe_refusal(content))
    return event


def _describe_refusal(content: Mapping[str, Any]) -> dict[str, Any]:
    event = _present(status_detail=content.get("message"), message=content.get("message"))
    status = content.get("status")
    if content["verdict"] == "deny" and isinstance(status, int):
        event.update(status_code=str(status), http_response={"code": status})
    return event


def _describe_outcome(record: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    status_id, status = _STATUSES[record["outcome"]]
    severity_id, severity = _INFORMATIONAL
    event: dict[str, Any] = {
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
    }
    event.update(_present(status_detail=content.get("error")))
    if isinstance(content.get("status"), int):
        code = content["status"]
        response = {"code": code, "latency": int(content["seconds"] * 1000)}
        event.update(status_code=str(code), http_response=response)
    return event


def _describe_metadata(record: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    profiles, code = ["cloud"], "outcome"
    if "verdict" in content:
        profiles, code = ["cloud", "security_control"], "verdict"
    return {
        "version": VERSION,
        "profiles": profiles,
        "product": {"name": "imagefilter", "vendor_name": "imagefilter"},
        "uid": record["id"],
        "correlation_uid": content.get("verdict_id") or record["id"],
        "event_code": code,
        "log_name": "imagefilter.audit",
        "original_time": record["eventTime"],
    }


def _describe_actor(initiator: Mapping[str, Any]) -> dict[str, Any]:
    credential = initiator.get("application_credential") or {}
    account = _present(uid=initiator.get("project_id"), name=initiator.get("project_name"))
    user = _present(
        uid=initiator["id"],
        name=initiator.get("name"),
        domain=initiator.get("domain"),
        credential_uid=credential.get("id"),
    )
    if account:
        user["account"] = {**account, "type_id": 99, "type": "OpenStack project"}
    actor: dict[str, Any] = {"user": user}
    audit_ids = initiator.get("audit_ids")
    if audit_ids:
        actor["session"] = {"uid": audit_ids[0]}
    service_user = initiator.get("service_user") or {}
    actor.update(_present(invoked_by=service_user.get("name") or service_user.get("id")))
    return actor


def _describe_api(initiator: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    api: dict[str, Any] = {"operation": content["action"] or "unknown", "service": {"name": "nova"}}
    if initiator.get("request_id"):
        api["request"] = {"uid": initiator["request_id"]}
    if content.get("verdict") in ("deny", None):  # otherwise there is no response yet
        api["response"] = _present(
            code=content.get("status"), message=content.get("message"), error=content.get("error")
        )
    return api


def _describe_source(address: Any) -> dict[str, Any]:
    """Describe the peer. Behind a socket of the host it has no address."""
    if _is_address(address):
        return {"ip": address}
    return {"name": address or "unknown"}


def _describe_http_request(
    record: Mapping[str, Any], initiator: Mapping[str, Any], content: Mapping[str, Any]
) -> dict[str, Any]:
    host = initiator.get("host") or {}
    request = _present(user_agent=host.get("agent"))
    if content.get("method") in _METHODS:
        request["http_method"] = content["method"]
    if record.get("requestPath"):
        request["url"] = {"path": record["requestPath"]}
    hops = [hop.strip() for hop in (initiator.get("forwarded_for") or "").split(",")]
    addresses = [hop for hop in hops if _is_address(hop)]
    if addresses:
        request["x_forwarded_for"] = addresses
    return request


def _describe_resources(target: Mapping[str, Any], content: Mapping[str, Any]) -> list[dict[str, Any]]:
    resources = [{"uid": target["id"], "type": "server"}]
    image = _present(uid=content.get("image_id"), name=content.get("image_name"))
    if image:
        resources.append({**image, "type": "image"})
    return resources


def _describe_cloud(initiator: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    project_id = content.get("project_id") or initiator.get("project_id")
    return {"provider": "OpenStack", **_present(project_uid=project_id)}


def _read_milliseconds(record: dict[str, Any]) -> int:
    seconds = read_time(record)
    if seconds is None:
        raise KeyError("eventTime")
    return round(seconds * 1000)


def _is_address(text: Any) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return isinstance(text, str)


def _present(**fields: Any) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value not in (None, "")}

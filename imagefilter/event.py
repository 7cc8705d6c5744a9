"""Records: a verdict, or the compute API's answer, as a CADF event (DMTF DSP0262) built with pycadf.

A verdict is a ``control`` event, an answer an ``activity`` event. What CADF has no place for stands in an attachment
named ``imagefilter``. Never a token; of the metadata only what the option ``audit_metadata`` allows; every text that
a client sent is cut, and the attachment says so under ``cut``, so that no request can write an endless record.
"""

from __future__ import annotations

import datetime
import json
import socket
import uuid
from typing import TYPE_CHECKING, Any

from oslo_utils import uuidutils
from pycadf import attachment, cadftaxonomy, cadftype, host, reason, resource
from pycadf.event import Event

from imagefilter.action import ImageAction
from imagefilter.caller import Caller, claims_of, names_of
from imagefilter.checks import kind_of, project_of
from imagefilter.policy import Policy
from imagefilter.rules import Verdict

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: The name of the attachment that holds what is ours.
ATTACHMENT = "imagefilter"

#: Longest text of a client's in a record, in characters.
TEXT_LENGTH = 255

#: Longest metadata in a record, in bytes of JSON.
METADATA_BYTES = 16384

_ROLES = 50

# What an action is in CADF's words.
_CADF_ACTIONS = {"createImage": "create/image", "createBackup": "backup/image", "shelve": "capture/image"}


class _Resource(resource.Resource):  # type: ignore[misc]
    """A resource with any text as its id.

    pycadf warns of every id that is no UUID, and Python keeps each warning it gave: a leak that clients could drive.
    """

    id = cadftype.ValidatorDescriptor("id", lambda value: isinstance(value, str))


class Observer:
    """Makes the events of one filter on one host."""

    def __init__(self) -> None:
        name = socket.gethostname()
        self._resource = _Resource(
            id=str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
            typeURI=cadftaxonomy.CADF_AUDIT_FILTER,
            name="imagefilter",
            host=host.Host(address=name),
        )

    def verdict(
        self, environ: WSGIEnvironment, action: ImageAction, caller: Caller, verdict: Verdict, policy: Policy
    ) -> Event:
        """The record of a verdict."""
        cut: list[str] = []
        project_id = project_of(action, caller)
        settings = policy.for_project(project_id)
        content: dict[str, Any] = {
            "verdict": verdict.outcome,
            "action": action.kind,
            "project_id": project_id and _cut(project_id, "project_id", cut),
            "rule": verdict.rule or None,
            "status": verdict.status or None,
            "message": verdict.message or None,
            "mode": settings.modes[verdict.rule] if verdict.rule else settings.mode,
            "limit": verdict.limit,
            "usage": verdict.usage,
            "method": _cut(environ["REQUEST_METHOD"], "method", cut),
            "path": _cut(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""), "path", cut),
            "media_type": _cut(action.media_type, "media_type", cut),
            **_name(action, cut),
            **_metadata(action.metadata, policy.audit_metadata, cut),
        }
        event = Event(
            eventType=cadftype.EVENTTYPE_CONTROL,
            id=str(uuid.uuid4()),
            eventTime=_now(),
            action=cadftaxonomy.ACTION_EVALUATE,
            outcome=cadftaxonomy.OUTCOME_FAILURE if verdict.outcome == "deny" else cadftaxonomy.OUTCOME_SUCCESS,
            initiator=_initiator(environ, caller, cut),
            target=_target(action, cut),
            observer=self._resource,
            reason=_policy_reason(verdict),
        )
        return _attach(event, {**content, "cut": cut} if cut else content)

    def answer(self, verdict: Event, status: int | None, image_id: str | None, seconds: float, error: str) -> Event:
        """The record of what the compute API answered to an admitted request.

        :param verdict: the record of its verdict.
        :param status: HTTP status code; None if there was none.
        :param seconds: until the answer began.
        :param error: name of the exception that ended the answer, or empty.
        """
        decided = verdict.attachments[0].content
        event = Event(
            id=str(uuid.uuid4()),
            eventTime=_now(),
            action=_CADF_ACTIONS[decided["action"]],
            outcome=_outcome(status, error),
            initiator=verdict.initiator,
            target=verdict.target,
            observer=self._resource,
            reason=reason.Reason("exception", error) if error else reason.Reason("HTTP", str(status or "none")),
        )
        content = {
            "verdict_id": verdict.id,
            "action": decided["action"],
            "status": status,
            "image_id": image_id and image_id[:TEXT_LENGTH],
            "image_name": decided["image_name"],
            "seconds": round(seconds, 6),
            "error": error or None,
        }
        return _attach(event, content)


def encode(event: Event) -> bytes:
    """An event as one line of ASCII JSON, without its end."""
    line = _encode(event)
    if "\\ud" in line:
        # Perhaps half a surrogate pair in a client's text: strict readers take no such line, and miss its record.
        whole = json.dumps(event, default=vars, ensure_ascii=False)
        line = _encode(json.loads(whole.encode("utf-8", "surrogatepass").decode("utf-8", "replace")))
    return line.encode("ascii")


def _encode(event: Any) -> str:
    return json.dumps(event, default=vars, separators=(",", ":"))


def add(event: Event, **content: Any) -> None:
    """Add to what is ours in an event."""
    event.attachments[0].content.update(content)


def _attach(event: Event, content: dict[str, Any]) -> Event:
    event.add_attachment(attachment.Attachment(typeURI="mime:application/json", content=content, name=ATTACHMENT))
    return event


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")


def _initiator(environ: WSGIEnvironment, caller: Caller, cut: list[str]) -> _Resource:
    """Who asked: with keystonemiddleware's names for what CADF has no place for."""
    names = {name: _cut(value, name, cut) for name, value in names_of(environ, caller).items()}
    initiator = _Resource(
        id=_identifier(caller.user_id, "user_id", cut),
        typeURI=cadftaxonomy.ACCOUNT_USER,
        name=names.get("user_name"),
        domain=names.get("user_domain_name") or names.get("user_domain_id"),
        host=host.Host(
            address=_cut(caller.address, "address", cut),
            agent=_cut(environ.get("HTTP_USER_AGENT", ""), "agent", cut),
        ),
    )
    more = {
        "vouched": caller.vouched,
        "project_id": caller.project_id and _cut(caller.project_id, "project_id", cut),
        **{name: value for name, value in names.items() if name != "user_name"},
        "roles": _roles(caller, cut),
        "request_id": _cut(caller.request_id, "request_id", cut),
        "global_request_id": _cut(environ.get("openstack.global_request_id") or "", "global_request_id", cut),
        "forwarded_for": _cut(environ.get("HTTP_X_FORWARDED_FOR", ""), "forwarded_for", cut),
        "claims": {name: _cut(value, f"claimed {name}", cut) for name, value in claims_of(environ, caller).items()},
    }
    initiator.__dict__.update((name, value) for name, value in more.items() if value not in (None, "", [], {}))
    return initiator


def _roles(caller: Caller, cut: list[str]) -> list[str]:
    if len(caller.roles) > _ROLES:
        cut.append(f"roles: {len(caller.roles)}")
    return [_cut(role, "role", cut) for role in sorted(caller.roles)[:_ROLES]]


def _target(action: ImageAction, cut: list[str]) -> _Resource:
    target = _Resource(id=_identifier(_server_id(action), "server_id", cut), typeURI="compute/server")
    if action.target and action.target.project_id:
        target.project_id = _cut(action.target.project_id, "the URL's project_id", cut)
    return target


def _server_id(action: ImageAction) -> str | None:
    """The server's id in the one way that Nova itself writes it, so that a search finds each of its records."""
    server_id = action.target and action.target.server_id
    return str(uuid.UUID(server_id)) if server_id and uuidutils.is_uuid_like(server_id) else server_id


def _identifier(value: str | None, what: str, cut: list[str]) -> str:
    # To pycadf these two words stand for an event's own resources, so it takes no event in which they are ids.
    return _cut(value, what, cut) if value and value not in ("initiator", "target") else "unknown"


def _policy_reason(verdict: Verdict) -> reason.Reason:
    """The rule that spoke; CADF wants a reason in every control event."""
    code = {"reasonType": "HTTP", "reasonCode": str(verdict.status)} if verdict.status else {}
    return reason.Reason(policyType="imagefilter", policyId=verdict.rule or verdict.outcome, **code)


def _outcome(status: int | None, error: str) -> str:
    if error or (status and status >= 400):
        return str(cadftaxonomy.OUTCOME_FAILURE)
    return str(cadftaxonomy.OUTCOME_SUCCESS if status else cadftaxonomy.UNKNOWN)


def _name(action: ImageAction, cut: list[str]) -> dict[str, str | None]:
    if action.name is None or type(action.name) is str:
        return {"image_name": action.name and _cut(action.name, "image_name", cut)}
    return {"image_name": None, "image_name_type": kind_of(action.name)}


def _metadata(metadata: Any, allowed: str, cut: list[str]) -> dict[str, Any]:
    """Of the metadata what the operator allows: ``none`` is their number, ``keys``, or ``full``."""
    if type(metadata) is not dict:
        return {"metadata_type": kind_of(metadata)}
    count = {"metadata_count": len(metadata)}
    if allowed == "none":
        return count
    kept: dict[str, Any] = {}
    room = METADATA_BYTES
    for key, value in metadata.items():
        shown = _cut(key, "a metadata key", cut)
        item = _value(value, cut) if allowed == "full" else None
        room -= len(json.dumps([shown, item]))
        if room < 0:
            cut.append(f"metadata: {len(metadata)} items")
            break
        kept[shown] = item
    return {**count, "metadata": kept} if allowed == "full" else {**count, "metadata_keys": list(kept)}


def _value(value: Any, cut: list[str]) -> Any:
    return _cut(value, "a metadata value", cut) if type(value) is str else {"type": kind_of(value)}


def _cut(text: str, what: str, cut: list[str]) -> str:
    if len(text) <= TEXT_LENGTH:
        return text
    note = f"{what}: {len(text)} characters"
    if note not in cut:
        cut.append(note)
    return text[:TEXT_LENGTH]

"""The records of deletions, in a journal of the reaper's own: CADF events in the shape that the filter's have.

A deletion has a ``control`` event before it happens, which is on disk by then, and an ``activity`` event for its
outcome. The initiator is the user who reaps, the target the server whose image it was.
"""

from __future__ import annotations

import datetime
import socket
import uuid
from typing import Any, NamedTuple

from pycadf import attachment, cadftaxonomy, cadftype, host, reason, tag
from pycadf.event import Event

from imagefilter.audit.bounds import Bounds
from imagefilter.audit.event import encode
from imagefilter.audit.resources import Resource
from imagefilter.housekeeping.image import Image
from imagefilter.journal import writer
from imagefilter.journal.record import ATTACHMENT

_CADF_ACTIONS = {"deleteImage": "delete/image", "deleteVolumeSnapshot": "delete/snapshot"}


class Deletion(NamedTuple):
    """One deletion: of an image, or of a volume snapshot that it named."""

    action: str  # deleteImage or deleteVolumeSnapshot
    path: str  # of the API
    cause: str  # expired or orphan
    image: Image
    volume_snapshot: str = ""


class Journal:
    """Writes the records.

    :param path: of the journal.
    :param access: whose token deletes, as keystoneauth1 describes it.
    """

    def __init__(self, path: str, access: Any) -> None:
        self.path = path
        name = socket.gethostname()
        self._observer = Resource(
            id=str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
            typeURI=cadftaxonomy.CADF_AUDIT_FILTER,
            name="imagefilter",
            host=host.Host(address=name),
        )
        self._initiator = _describe_user(access, name)

    def write_verdict(self, deletion: Deletion) -> str:
        """Record what is about to be deleted; return the record's id once it is on disk.

        :raises OSError: if it can't be written.
        """
        content = {
            "verdict": "allow",
            "rule": None,
            "status": None,
            "message": None,
            "mode": "enforce",
            "limit": None,
            "usage": None,
            "method": "DELETE",
            "path": deletion.path,
            "media_type": "",
        }
        event = self._build(deletion, content)
        event.eventType = cadftype.EVENTTYPE_CONTROL
        event.action, event.outcome = cadftaxonomy.ACTION_EVALUATE, cadftaxonomy.OUTCOME_SUCCESS
        event.reason = reason.Reason(policyType="imagefilter", policyId=deletion.cause)
        return self._write(event, str(event.id))

    def write_outcome(self, deletion: Deletion, verdict_id: str, status: int | None, error: str = "") -> None:
        """Record what became of a deletion.

        :param status: of the response; None if there was none.
        :raises OSError: if it can't be written.
        """
        content = {"verdict_id": verdict_id, "status": status, "seconds": None, "error": error or None}
        event = self._build(deletion, content)
        event.action, event.outcome = _CADF_ACTIONS[deletion.action], _outcome(status)
        event.reason = reason.Reason("HTTP", str(status or "none"))
        self._write(event, verdict_id)

    def _build(self, deletion: Deletion, content: dict[str, Any]) -> Event:
        event = Event(
            id=str(uuid.uuid4()),
            eventTime=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds"),
            initiator=self._initiator,
            target=_describe_server(deletion.image),
            observer=self._observer,
        )
        event.requestPath = deletion.path
        content = {**_describe_image(deletion), **content}
        event.add_attachment(attachment.Attachment(typeURI="mime:application/json", content=content, name=ATTACHMENT))
        return event

    def _write(self, event: Event, verdict_id: str) -> str:
        event.add_tag(tag.generate_name_value_tag("correlation_id", verdict_id))
        writer.append(self.path, encode(event))
        return verdict_id


def _describe_image(deletion: Deletion) -> dict[str, Any]:
    bounds = Bounds()
    image = deletion.image
    expires = None
    if image.expires:
        expires = image.expires.isoformat()
    content: dict[str, Any] = {
        "action": deletion.action,
        "project_id": bounds.text("project_id", image.owner),
        "image_id": image.id,
        "image_name": bounds.text("image_name", image.name),
        "image_expires": expires,
        "image_record": bounds.text("image_record", image.record) or None,
        "volume_snapshot": deletion.volume_snapshot or None,
    }
    if bounds.truncated:
        content["truncated"] = bounds.truncated
    return content


def _describe_server(image: Image) -> Resource:
    target = Resource(id=image.counts_for or "unknown", typeURI="compute/server")
    target.project_id = image.owner or "unknown"
    return target


def _describe_user(access: Any, address: str) -> Resource:
    initiator = Resource(
        id=access.user_id or "unknown",
        typeURI=cadftaxonomy.ACCOUNT_USER,
        name=access.username,
        domain=access.user_domain_name or access.user_domain_id,
        host=host.Host(address=address, agent="imagefilter reap"),
    )
    initiator.authenticated = True
    for name in ("project_id", "project_name", "user_domain_id", "user_domain_name"):
        value = getattr(access, name)
        if value:
            setattr(initiator, name, value)
    initiator.roles = sorted(access.role_names)
    return initiator


def _outcome(status: int | None) -> str:
    outcome: str = cadftaxonomy.UNKNOWN
    if status is not None and status < 400:
        outcome = cadftaxonomy.OUTCOME_SUCCESS
    elif status is not None:
        outcome = cadftaxonomy.OUTCOME_FAILURE
    return outcome

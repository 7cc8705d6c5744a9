"""Records: a verdict, or the outcome of a request, as a CADF event (DMTF DSP0262) built with pycadf.

A verdict is a ``control`` event, an outcome an ``activity`` event, and that a process judges by a policy from now on is
a ``control`` event of the action ``configure``. An attachment named ``imagefilter`` holds what CADF
has no place for. A record never holds a token; of the metadata it holds only what the option ``audit_metadata`` allows.
Every text that a client sent is bounded, so that no request can write an endless record; the attachment lists what was
truncated.
"""

from __future__ import annotations

import datetime
import json
import os
import socket
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pycadf import attachment, cadftaxonomy, cadftype, host, reason, tag
from pycadf.event import Event

from imagefilter.audit.bounds import TEXT_LENGTH, Bounds, replace_surrogates
from imagefilter.audit.configuration import describe_configuration
from imagefilter.audit.content import describe_measured, describe_verdict
from imagefilter.audit.resources import Resource, describe_initiator, describe_target
from imagefilter.journal.record import ATTACHMENT, CONFIGURE
from imagefilter.lookup.request import Measured
from imagefilter.policy.context import RequestContext
from imagefilter.policy.policy import Policy
from imagefilter.response import ObservedResponse
from imagefilter.rules.engine import Decision, Verdict

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# What RFC 3986 lets stand in a path as it is, beside letters and digits.
_PATH_CHARACTERS = "/~!$&'()*+,;=:@"

# The names of actions in CADF's taxonomy.
_CADF_ACTIONS = {
    "createImage": "create/image",
    "createBackup": "backup/image",
    "shelve": "capture/image",
    None: cadftaxonomy.UNKNOWN,  # a body that can't be read, forwarded in mode off
}


class EventFactory:
    """Builds the events of one filter on one host."""

    def __init__(self) -> None:
        name = socket.gethostname()
        self._observer = Resource(  # also the initiator of what it does by itself
            id=str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
            typeURI=cadftaxonomy.CADF_AUDIT_FILTER,
            name="imagefilter",
            host=host.Host(address=name),
        )

    def build_verdict(
        self, environ: WSGIEnvironment, context: RequestContext, verdict: Verdict, measured: Measured
    ) -> Event:
        """Build the record of a verdict."""
        bounds = Bounds()
        outcome = cadftaxonomy.OUTCOME_SUCCESS
        if verdict.decision is Decision.DENY:
            outcome = cadftaxonomy.OUTCOME_FAILURE
        content = {
            **describe_verdict(environ, context, verdict, bounds),
            **describe_measured(measured, context, bounds),
        }
        event = Event(
            eventType=cadftype.EVENTTYPE_CONTROL,
            id=context.record_id,
            eventTime=_now(),
            action=cadftaxonomy.ACTION_EVALUATE,
            outcome=outcome,
            initiator=describe_initiator(environ, context.identity, bounds),
            target=describe_target(context, bounds),
            observer=self._observer,
            reason=_policy_reason(verdict),
        )
        # Without the query: Nova reads nothing there but ?_method=, and a client may send a token.
        event.requestPath = quote(content["path"], safe=_PATH_CHARACTERS)
        if bounds.truncated:
            content["truncated"] = bounds.truncated
        return _attach(event, content, event.id)

    def build_configuration(self, policy: Policy) -> Event:
        """Build the record of the policy that this process judges by, or of a reload that failed."""
        outcome = cadftaxonomy.OUTCOME_SUCCESS
        why = reason.Reason(policyType="imagefilter", policyId=CONFIGURE)
        if policy.loaded.failure:
            outcome = cadftaxonomy.OUTCOME_FAILURE
            why = reason.Reason("exception", "ConfigError", policyType="imagefilter", policyId=CONFIGURE)
        event = Event(
            eventType=cadftype.EVENTTYPE_CONTROL,
            id=str(uuid.uuid4()),
            eventTime=_now(),
            action=CONFIGURE,
            outcome=outcome,
            initiator=self._observer,
            target=Resource(id=policy.loaded.digest, typeURI="data/security/policy"),
            observer=self._observer,
            reason=why,
        )
        return _attach(event, describe_configuration(policy), event.id)

    def build_outcome(self, verdict: Event, response: ObservedResponse) -> Event:
        """Build the record of what the compute API responded to an admitted request.

        :param verdict: the record of its verdict.
        """
        decided = verdict.attachments[0].content
        image_id = response.image_id
        if image_id:
            image_id = replace_surrogates(image_id[:TEXT_LENGTH])
        event = Event(
            id=str(uuid.uuid4()),
            eventTime=_now(),
            action=_CADF_ACTIONS[decided["action"]],
            outcome=_cadf_outcome(response),
            initiator=verdict.initiator,
            target=verdict.target,
            observer=self._observer,
            reason=_response_reason(response),
        )
        content = {
            "verdict_id": verdict.id,
            "pid": os.getpid(),
            "action": decided["action"],
            "status": response.status,
            "image_id": image_id,
            "image_name": decided["image_name"],
            "seconds": round(response.seconds, 6),
            "error": response.error or None,
        }
        event.requestPath = verdict.requestPath
        return _attach(event, content, verdict.id)


def encode(event: Event) -> bytes:
    """Encode an event as one line of ASCII JSON, without its end."""
    return json.dumps(event, default=vars, separators=(",", ":")).encode("ascii")


def add_content(event: Event, **content: Any) -> None:
    """Add to imagefilter's own part of an event."""
    event.attachments[0].content.update(content)


def _attach(event: Event, content: dict[str, Any], verdict_id: str) -> Event:
    """Add imagefilter's own part, and the tag by which a verdict and its outcome belong together."""
    event.add_tag(tag.generate_name_value_tag("correlation_id", verdict_id))
    event.add_attachment(attachment.Attachment(typeURI="mime:application/json", content=content, name=ATTACHMENT))
    return event


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")


def _policy_reason(verdict: Verdict) -> reason.Reason:
    """Name the rule that decided; CADF wants a reason in every control event."""
    rule = verdict.rule or verdict.decision.value
    if verdict.status is None:
        return reason.Reason(policyType="imagefilter", policyId=rule)
    return reason.Reason("HTTP", str(verdict.status), policyType="imagefilter", policyId=rule)


def _response_reason(response: ObservedResponse) -> reason.Reason:
    if response.error:
        return reason.Reason("exception", response.error)
    return reason.Reason("HTTP", str(response.status or "none"))


def _cadf_outcome(response: ObservedResponse) -> Any:
    if response.error or (response.status and response.status >= 400):
        return cadftaxonomy.OUTCOME_FAILURE
    if response.status:
        return cadftaxonomy.OUTCOME_SUCCESS
    return cadftaxonomy.UNKNOWN

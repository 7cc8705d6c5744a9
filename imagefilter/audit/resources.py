"""Describe who asked, and which server, as resources of CADF."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oslo_utils import uuidutils
from pycadf import cadftaxonomy, cadftype, host, resource

from imagefilter.audit.bounds import Bounds
from imagefilter.policy.context import RequestContext
from imagefilter.request.codec import decode_latin1
from imagefilter.request.identity import Identity, read_claims, read_delegation, read_names

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_MAX_ROLES = 50

# The token's own, and that of the one from which it and all between were made.
_MAX_AUDIT_IDS = 2

# pycadf reads these two words as an event's own resources, so it accepts no event that has them as ids.
_CADF_WORDS = ("initiator", "target")


class Resource(resource.Resource):  # type: ignore[misc]
    """A resource with any text as its id.

    pycadf warns of every id that is not a UUID, and Python keeps each warning: a leak that clients could drive.
    """

    id = cadftype.ValidatorDescriptor("id", lambda value: isinstance(value, str))


def describe_initiator(environ: WSGIEnvironment, identity: Identity, bounds: Bounds) -> Resource:
    """Describe who asked, with keystonemiddleware's names for what CADF has no place for."""
    names = {}
    for name, text in read_names(environ, identity).items():
        names[name] = bounds.text(name, text)
    user_name = names.pop("user_name", None)
    initiator = Resource(
        id=_identifier("user_id", identity.user_id, bounds),
        typeURI=cadftaxonomy.ACCOUNT_USER,
        name=user_name,
        domain=names.get("user_domain_name") or names.get("user_domain_id"),
        host=host.Host(
            address=bounds.text("address", identity.address),
            agent=bounds.text("agent", decode_latin1(environ.get("HTTP_USER_AGENT", ""))),
        ),
    )
    for name, value in _initiator_extras(environ, identity, names, bounds).items():
        if value not in (None, "", [], {}):
            setattr(initiator, name, value)
    return initiator


def describe_target(context: RequestContext, bounds: Bounds) -> Resource:
    """Describe the server of an action, and its project: the one of the URL, where it names one, else the caller's."""
    server_id = project_id = None
    if context.action.target:
        server_id, project_id = decode_latin1(context.action.target.server_id), context.action.target.project_id
    if server_id and uuidutils.is_uuid_like(server_id):
        server_id = str(uuid.UUID(server_id))  # the one way in which Nova writes it, so that a search finds it
    target = Resource(id=_identifier("server_id", server_id, bounds), typeURI="compute/server")
    target.project_id = bounds.text("target.project_id", decode_latin1(project_id or context.project_id or "unknown"))
    return target


def _initiator_extras(
    environ: WSGIEnvironment, identity: Identity, names: Mapping[str, str], bounds: Bounds
) -> dict[str, Any]:
    claims = {}
    for name, text in read_claims(environ, identity).items():
        claims[name] = bounds.text(f"claims.{name}", decode_latin1(text))
    extras = {
        "authenticated": identity.authenticated,
        "project_id": bounds.text("project_id", identity.project_id or ""),
        **names,
        "roles": _roles(identity, bounds),
        "request_id": bounds.text("request_id", identity.request_id),
        "global_request_id": bounds.text("global_request_id", environ.get("openstack.global_request_id") or ""),
        "forwarded_for": bounds.text("forwarded_for", decode_latin1(environ.get("HTTP_X_FORWARDED_FOR", ""))),
        "claims": claims,
    }
    extras.update(_describe_delegation(environ, identity, bounds))
    return extras


def _describe_delegation(environ: WSGIEnvironment, identity: Identity, bounds: Bounds) -> dict[str, Any]:
    """Describe by what right somebody acts as the user, in texts that are bounded."""
    delegation = read_delegation(environ, identity)
    described: dict[str, Any] = {}
    audit_ids = delegation.pop("audit_ids", None)
    if audit_ids:
        described["audit_ids"] = [bounds.text("audit_ids", text) for text in audit_ids[:_MAX_AUDIT_IDS]]
    for name, fields in delegation.items():
        described[name] = {field: bounds.text(f"{name}.{field}", text) for field, text in fields.items()}
    return described


def _roles(identity: Identity, bounds: Bounds) -> list[str]:
    if len(identity.roles) > _MAX_ROLES:
        bounds.note("roles", len(identity.roles))
    return [bounds.text("role", role) for role in sorted(identity.roles)[:_MAX_ROLES]]


def _identifier(field: str, value: str | None, bounds: Bounds) -> str:
    if not value or value in _CADF_WORDS:
        return "unknown"
    return bounds.text(field, value)

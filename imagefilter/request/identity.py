"""Who asks: the identity behind a request, and who vouches for it.

A client can send any header, so identity headers are believed only behind keystonemiddleware's ``auth_token`` or
``external_oauth2_token``, which remove the client's own copies. Their marks are environ keys without ``HTTP_``: no
client can send those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_ID_HEADERS = {
    "user_id": "HTTP_X_USER_ID",
    "project_id": "HTTP_X_PROJECT_ID",
    "roles": "HTTP_X_ROLES",
}
_NAME_HEADERS = {
    "user_name": "HTTP_X_USER_NAME",
    "user_domain_id": "HTTP_X_USER_DOMAIN_ID",
    "user_domain_name": "HTTP_X_USER_DOMAIN_NAME",
    "project_name": "HTTP_X_PROJECT_NAME",
    "project_domain_id": "HTTP_X_PROJECT_DOMAIN_ID",
    "project_domain_name": "HTTP_X_PROJECT_DOMAIN_NAME",
}
# auth_token leaves the first two behind, external_oauth2_token the third.
_MARKS = ("keystone.token_auth", "keystone.token_info", "external.token_info")
_DOMAIN_IDS = ("user_domain_id", "project_domain_id")
_SERVICE_HEADERS = {
    "id": "HTTP_X_SERVICE_USER_ID",
    "name": "HTTP_X_SERVICE_USER_NAME",
}


class Identity(NamedTuple):
    """The identity behind a request.

    ``authenticated``: somebody other than the client vouches for it (Nova's context, or one of keystonemiddleware's
    filters). Otherwise user, project and roles are empty: the client's own headers count for nothing.
    ``has_token``: authenticated, or the client sent a token for somebody behind the filter to validate.
    """

    user_id: str | None
    project_id: str | None
    roles: frozenset[str]  # in lower case, as oslo.policy compares them
    authenticated: bool
    has_token: bool
    address: str
    request_id: str
    user_domain_id: str | None = None


def identify(environ: WSGIEnvironment) -> Identity:
    """Read the identity behind a request out of its WSGI environ."""
    # auth_token sets this with delay_auth_decision: a token was sent, and it is invalid.
    is_invalid = environ.get("HTTP_X_IDENTITY_STATUS") == "Invalid"
    context = environ.get("nova.context")
    if context is not None:
        return _of_context(environ, context, not is_invalid)
    if _is_vouched_for(environ) and not is_invalid:
        return _of_headers(environ)
    return Identity(
        user_id=None,
        project_id=None,
        roles=frozenset(),
        authenticated=False,
        has_token=_sends_token(environ) and not is_invalid,
        address=environ.get("REMOTE_ADDR", ""),
        request_id=environ.get("openstack.request_id", ""),
    )


def read_names(environ: WSGIEnvironment, identity: Identity) -> dict[str, str]:
    """Return the names and domains of an authenticated identity, for its records. Nothing is judged by them."""
    if not identity.authenticated:
        return {}
    names: dict[str, str] = {}
    if _are_own_headers(environ, identity):
        names = _read_headers(environ, _NAME_HEADERS)
    context = environ.get("nova.context")
    for name in _DOMAIN_IDS:
        domain_id = getattr(context, name, None)
        if domain_id:
            names[name] = domain_id
    return names


def read_delegation(environ: WSGIEnvironment, identity: Identity) -> dict[str, Any]:
    """Return by what right somebody acts as the user of an authenticated identity. Nothing is judged by it.

    A token of a trust names the trustor as its user: only what Keystone says of the token names who really asked.

    :returns: ``trust`` (``id``, ``trustee_id``, ``trustor_id``), ``application_credential`` (``id``, ``name``),
        ``service_user`` (``id``, ``name``), each with only what is known, and ``audit_ids``, a list.
    """
    if not _are_own_headers(environ, identity):
        return {}
    token = _object(environ.get("keystone.token_info"), "token")
    trust = _object(token, "OS-TRUST:trust")
    credential = _object(token, "application_credential")
    delegation: dict[str, Any] = {
        "trust": {
            "id": trust.get("id"),
            "trustee_id": _object(trust, "trustee_user").get("id"),
            "trustor_id": _object(trust, "trustor_user").get("id"),
        },
        "application_credential": {"id": credential.get("id"), "name": credential.get("name")},
        "service_user": _read_service(environ),
    }
    known: dict[str, Any] = {name: _known_texts(fields) for name, fields in delegation.items()}
    known["audit_ids"] = _texts(token.get("audit_ids"))
    return {name: value for name, value in known.items() if value}


def read_claims(environ: WSGIEnvironment, identity: Identity) -> dict[str, str]:
    """Return what an unauthenticated client claims about itself in headers, for the record alone."""
    if identity.authenticated:
        return {}
    return _read_headers(environ, {**_ID_HEADERS, **_NAME_HEADERS})


def _of_context(environ: WSGIEnvironment, context: Any, has_token: bool) -> Identity:
    return Identity(
        user_id=context.user_id,
        project_id=context.project_id,
        roles=frozenset(map(str.lower, context.roles or ())),
        authenticated=True,
        has_token=has_token,
        address=environ.get("REMOTE_ADDR", ""),
        request_id=environ.get("openstack.request_id", ""),
        user_domain_id=getattr(context, "user_domain_id", None),
    )


def _of_headers(environ: WSGIEnvironment) -> Identity:
    roles = {role.strip().lower() for role in (environ.get("HTTP_X_ROLES") or "").split(",")}
    return Identity(
        user_id=environ["HTTP_X_USER_ID"],
        project_id=environ.get("HTTP_X_PROJECT_ID"),
        roles=frozenset(roles - {""}),
        authenticated=True,
        has_token=True,
        address=environ.get("REMOTE_ADDR", ""),
        request_id=environ.get("openstack.request_id", ""),
        user_domain_id=environ.get("HTTP_X_USER_DOMAIN_ID"),
    )


def _is_vouched_for(environ: WSGIEnvironment) -> bool:
    """Return whether one of keystonemiddleware's filters saw a user: auth_token leaves its mark without a token too."""
    return any(mark in environ for mark in _MARKS) and bool(environ.get("HTTP_X_USER_ID"))


def _are_own_headers(environ: WSGIEnvironment, identity: Identity) -> bool:
    """Return whether the headers tell of an identity.

    Without one of keystonemiddleware's filters, or for another user than its own, they may be the client's.
    """
    return identity.authenticated and _is_vouched_for(environ) and environ["HTTP_X_USER_ID"] == identity.user_id


def _read_service(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the service that sent its token beside the user's, if auth_token validated that."""
    # auth_token removes the client's own copies of these headers; another filter may not.
    if not getattr(environ.get("keystone.token_auth"), "has_service_token", False):
        return {}
    return _read_headers(environ, _SERVICE_HEADERS)


def _object(parent: Any, name: str) -> Mapping[str, Any]:
    """Return an object in what Keystone said of a token; empty if there is none."""
    if isinstance(parent, dict) and isinstance(parent.get(name), dict):
        return dict(parent[name])
    return {}


def _known_texts(fields: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _texts(values: Any) -> list[str]:
    if not isinstance(values, list):
        return []
    return [value for value in values if isinstance(value, str)]


def _sends_token(environ: WSGIEnvironment) -> bool:
    """Return whether the client sends a token: auth_token reads the first two headers, OAuth 2.0 filters the third."""
    if environ.get("HTTP_X_AUTH_TOKEN") or environ.get("HTTP_X_STORAGE_TOKEN"):
        return True
    authorization: str = environ.get("HTTP_AUTHORIZATION", "")
    return authorization.lower().startswith("bearer ")


def _read_headers(environ: WSGIEnvironment, headers: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[key] for name, key in headers.items() if environ.get(key)}

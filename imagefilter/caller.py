"""Who asks: the identity behind a request, and who vouches for it.

A client can send any header, so identity headers are believed only behind keystonemiddleware's ``auth_token``,
which removes the client's own copies. Its mark is an environ key without ``HTTP_``: no client can send that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class Caller(NamedTuple):
    """The identity behind a request.

    ``vouched``: somebody other than the client says so (Nova's context or ``auth_token``). For an unvouched caller
    user, project and roles are empty: what its headers claim counts for nothing.
    ``authenticated``: vouched, or at least a token was sent for somebody behind us to judge.
    """

    user_id: str | None
    project_id: str | None
    roles: frozenset[str]
    vouched: bool
    authenticated: bool
    address: str
    request_id: str


def caller_of(environ: WSGIEnvironment) -> Caller:
    """Read the caller out of a WSGI environ."""
    address = environ.get("REMOTE_ADDR", "")
    request_id = environ.get("openstack.request_id", "")
    # Set by auth_token with delay_auth_decision: a token was sent and it is no good.
    invalid = environ.get("HTTP_X_IDENTITY_STATUS") == "Invalid"
    context = environ.get("nova.context")
    if context is not None:
        roles = frozenset(map(str.lower, context.roles or ()))  # as oslo.policy compares them
        return Caller(context.user_id, context.project_id, roles, True, not invalid, address, request_id)
    if _auth_token_vouches(environ) and not invalid:
        roles = frozenset(role.strip().lower() for role in environ.get("HTTP_X_ROLES", "").split(",")) - {""}
        project_id = environ.get("HTTP_X_PROJECT_ID")
        return Caller(environ["HTTP_X_USER_ID"], project_id, roles, True, True, address, request_id)
    # auth_token itself takes a token out of either header.
    token = environ.get("HTTP_X_AUTH_TOKEN") or environ.get("HTTP_X_STORAGE_TOKEN")
    return Caller(None, None, frozenset(), False, bool(token) and not invalid, address, request_id)


def names_of(environ: WSGIEnvironment, caller: Caller) -> dict[str, str]:
    """What a record adds to the ids of a vouched caller: names and domains. Nothing is judged by them."""
    if not caller.vouched:
        return {}
    # Without auth_token, or for another user than its, the names in the headers may be the client's own.
    theirs = _auth_token_vouches(environ) and environ["HTTP_X_USER_ID"] == caller.user_id
    context = environ.get("nova.context")
    domains = {name: getattr(context, name, None) for name in ("user_domain_id", "project_domain_id")}
    return {**(_given(environ, _NAMES) if theirs else {}), **{name: text for name, text in domains.items() if text}}


def claims_of(environ: WSGIEnvironment, caller: Caller) -> dict[str, str]:
    """What the headers of an unvouched caller say of him, for the record alone."""
    return {} if caller.vouched else _given(environ, {**_IDS, **_NAMES})


_IDS = {"user_id": "HTTP_X_USER_ID", "project_id": "HTTP_X_PROJECT_ID", "roles": "HTTP_X_ROLES"}
_NAMES = {
    "user_name": "HTTP_X_USER_NAME",
    "user_domain_id": "HTTP_X_USER_DOMAIN_ID",
    "user_domain_name": "HTTP_X_USER_DOMAIN_NAME",
    "project_name": "HTTP_X_PROJECT_NAME",
    "project_domain_id": "HTTP_X_PROJECT_DOMAIN_ID",
    "project_domain_name": "HTTP_X_PROJECT_DOMAIN_NAME",
}


def _given(environ: WSGIEnvironment, headers: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[key] for name, key in headers.items() if environ.get(key)}


def _auth_token_vouches(environ: WSGIEnvironment) -> bool:
    """Whether auth_token saw a user: it leaves ``keystone.token_auth`` behind even when no token was sent."""
    seen = "keystone.token_auth" in environ or "keystone.token_info" in environ
    return seen and bool(environ.get("HTTP_X_USER_ID"))

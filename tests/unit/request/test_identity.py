"""An identity is believed only if somebody other than the client vouches for it."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest

from imagefilter.request.identity import Identity, identify, read_delegation, read_names
from tests.unit.fakes import CONTEXT, PATH, Guarded, Journalled

CLAIMS = {"HTTP_X_USER_ID": "root", "HTTP_X_PROJECT_ID": "p", "HTTP_X_ROLES": "admin,member"}
PATH_OF_PROJECT = PATH.replace("/servers", "/abc/servers")


def test_believes_novas_context_before_any_header() -> None:
    identity = identify({"nova.context": CONTEXT, **CLAIMS})
    assert (identity.user_id, identity.project_id) == (CONTEXT.user_id, CONTEXT.project_id)
    assert (identity.roles, identity.authenticated, identity.has_token) == ({"member"}, True, True)


REQUEST = {"REMOTE_ADDR": "192.0.2.1", "openstack.request_id": "req-1"}


def test_the_whole_identity_of_novas_context() -> None:
    context = types.SimpleNamespace(user_id="u", project_id="p", roles=["R"], user_domain_id="d")
    expected = Identity("u", "p", frozenset({"r"}), True, True, "192.0.2.1", "req-1", "d")
    assert identify({"nova.context": context, **REQUEST}) == expected
    nowhere = expected._replace(address="", request_id="")
    assert identify({"nova.context": context}) == nowhere


def test_the_whole_identity_behind_auth_token() -> None:
    environ = {"keystone.token_auth": object(), "HTTP_X_USER_DOMAIN_ID": "d", **CLAIMS}
    expected = Identity("root", "p", frozenset({"admin", "member"}), True, True, "192.0.2.1", "req-1", "d")
    assert identify({**environ, **REQUEST}) == expected
    assert identify(environ) == expected._replace(address="", request_id="")


def test_the_whole_identity_of_a_stranger() -> None:
    expected = Identity(None, None, frozenset(), False, False, "192.0.2.1", "req-1")
    assert identify({**CLAIMS, "HTTP_X_USER_DOMAIN_ID": "d", **REQUEST}) == expected


def test_a_strangers_headers_name_nobody_in_a_record() -> None:
    """Neither without auth_token, nor behind one that vouches for somebody else than Nova's context."""
    token = {"token": {"audit_ids": ["a"], "OS-TRUST:trust": {"id": "t"}}}
    environ = {**CLAIMS, "HTTP_X_USER_NAME": "Root", "keystone.token_info": token}
    for asking in (environ, {**environ, "nova.context": CONTEXT}):
        identity = identify(asking)
        assert read_delegation(asking, identity._replace(authenticated=False)) == {}
        assert read_names(asking, identity._replace(authenticated=False)) == {}
    other = identify({**environ, "nova.context": CONTEXT})
    assert read_delegation(environ, other) == {}
    assert read_delegation(environ, identify(environ)) == {"trust": {"id": "t"}, "audit_ids": ["a"]}


@pytest.mark.parametrize("mark", ["keystone.token_auth", "keystone.token_info"])
def test_believes_headers_behind_auth_token(mark: str) -> None:
    identity = identify({mark: object(), **CLAIMS})
    assert (identity.user_id, identity.project_id, identity.roles) == ("root", "p", {"admin", "member"})
    assert identity.authenticated


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HTTP_X_IDENTITY_STATUS": "Confirmed"},
        {"HTTP_KEYSTONE_TOKEN_AUTH": "x"},
        {"HTTP_NOVA_CONTEXT": "x"},
        {"keystone.token_auth": object(), "HTTP_X_IDENTITY_STATUS": "Invalid"},
    ],
)
def test_ignores_a_clients_identity_headers(environ: dict[str, Any]) -> None:
    identity = identify({**CLAIMS, **environ})
    assert (identity.user_id, identity.project_id, identity.roles) == (None, None, set())
    assert (identity.authenticated, identity.has_token) == (False, False)


def test_missing_values_are_empty() -> None:
    identity = identify({})
    assert (identity.address, identity.request_id) == ("", "")
    behind_auth_token = {"keystone.token_auth": object(), "HTTP_X_USER_ID": "u"}
    assert identify(behind_auth_token).roles == set()
    assert identify({**behind_auth_token, "HTTP_X_ROLES": " , ,Member "}).roles == {"member"}
    assert identify(behind_auth_token).project_id is None


def test_auth_token_without_a_user_vouches_for_nobody() -> None:
    """With delay_auth_decision it leaves its mark although no token was sent."""
    assert not identify({"keystone.token_auth": object(), "HTTP_X_IDENTITY_STATUS": "Invalid"}).has_token
    assert not identify({"keystone.token_auth": object()}).has_token


@pytest.mark.parametrize("header", ["HTTP_X_AUTH_TOKEN", "HTTP_X_STORAGE_TOKEN"])
def test_leaves_a_token_to_the_compute_api(header: str) -> None:
    identity = identify({header: "t"})
    assert identity.has_token
    assert not identity.authenticated
    assert not identify({header: "t", "HTTP_X_IDENTITY_STATUS": "Invalid"}).has_token
    assert not identify({header: ""}).has_token


@pytest.mark.parametrize(
    ("options", "challenge"),
    [({}, "Keystone"), ({"www_authenticate_uri": "https://id.example/v3"}, 'Keystone uri="https://id.example/v3"')],
)
def test_responds_401_without_a_token(options: dict[str, str], challenge: str) -> None:
    guarded = Guarded(**options)
    response = guarded.post(b'{"createImage": {}}', **{"nova.context": None})
    assert response.status_int == 401
    assert response.headers["WWW-Authenticate"] == challenge
    message = "The request you have made requires authentication."
    assert response.json == {"error": {"code": 401, "title": "Unauthorized", "message": message}}
    assert guarded.bodies == []


def test_leaves_the_project_of_an_unauthenticated_caller_to_the_compute_api() -> None:
    document = {"createImage": {"name": "x"}}
    response = Guarded().post(document, PATH_OF_PROJECT, **{"nova.context": None}, HTTP_X_AUTH_TOKEN="t")
    assert response.status_int == 202


def test_a_context_without_a_project() -> None:
    """A system-scoped token has none; a project in the path is then another one, as it is to Nova."""
    context = types.SimpleNamespace(user_id="root", project_id=None, roles=None)
    guarded = Guarded()
    document = {"createImage": {"name": "x"}}
    assert guarded.post(document, **{"nova.context": context}).status_int == 202
    assert guarded.post(document, PATH_OF_PROJECT, **{"nova.context": context}).status_int == 400


# --- external_oauth2_token


def test_believes_headers_behind_external_oauth2_token() -> None:
    environ = {"external.token_info": {}, "HTTP_X_IDENTITY_STATUS": "Confirmed", **CLAIMS}
    identity = identify(environ)
    assert (identity.user_id, identity.project_id, identity.roles) == ("root", "p", {"admin", "member"})
    assert (identity.authenticated, identity.has_token) == (True, True)


def test_external_oauth2_token_may_have_no_roles_and_no_project() -> None:
    """It sets a header to None where its mapping found nothing."""
    environ = {"external.token_info": {}, "HTTP_X_USER_ID": "u", "HTTP_X_ROLES": None, "HTTP_X_PROJECT_ID": None}
    identity = identify(environ)
    assert (identity.roles, identity.project_id, identity.authenticated) == (set(), None, True)


@pytest.mark.parametrize("authorization", ["Bearer abc", "bearer abc"])
def test_a_bearer_token_is_a_token(authorization: str) -> None:
    identity = identify({"HTTP_AUTHORIZATION": authorization})
    assert (identity.authenticated, identity.has_token) == (False, True)


@pytest.mark.parametrize("authorization", ["", "Basic abc", "Bearer", "Bearerabc"])
def test_other_credentials_are_none(authorization: str) -> None:
    assert not identify({"HTTP_AUTHORIZATION": authorization}).has_token


def test_names_of_external_oauth2_token_are_recorded_beside_novas_context(tmp_path: Path) -> None:
    guarded = Journalled(tmp_path)
    context = types.SimpleNamespace(user_id="root", project_id="p", roles=["member"])
    environ = {"external.token_info": {}, **CLAIMS, "HTTP_X_USER_NAME": "alice", "nova.context": context}
    guarded.post({"createImage": {"name": "x"}}, **environ)
    assert guarded.records()[0]["initiator"]["name"] == "alice"

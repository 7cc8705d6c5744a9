from __future__ import annotations

import types
from typing import Any

import pytest

from imagefilter.caller import caller_of
from tests.unit.small import CONTEXT, PATH, Guarded

CLAIMS = {"HTTP_X_USER_ID": "root", "HTTP_X_PROJECT_ID": "p", "HTTP_X_ROLES": "admin,member"}


def test_novas_context_is_believed_before_any_header() -> None:
    caller = caller_of({"nova.context": CONTEXT, **CLAIMS})
    assert (caller.user_id, caller.project_id) == (CONTEXT.user_id, CONTEXT.project_id)
    assert (caller.roles, caller.vouched, caller.authenticated) == ({"member"}, True, True)


@pytest.mark.parametrize("mark", ["keystone.token_auth", "keystone.token_info"])
def test_headers_are_believed_behind_auth_token(mark: str) -> None:
    caller = caller_of({mark: object(), **CLAIMS})
    assert (caller.user_id, caller.project_id, caller.roles) == ("root", "p", {"admin", "member"})
    assert caller.vouched


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
def test_otherwise_headers_count_for_nothing(environ: dict[str, Any]) -> None:
    caller = caller_of({**CLAIMS, **environ})
    assert (caller.user_id, caller.project_id, caller.roles, caller.vouched) == (None, None, set(), False)
    assert not caller.authenticated


def test_what_is_not_there_is_empty() -> None:
    caller = caller_of({})
    assert (caller.address, caller.request_id) == ("", "")
    behind_auth_token = {"keystone.token_auth": object(), "HTTP_X_USER_ID": "u"}
    assert caller_of(behind_auth_token).roles == set()
    assert caller_of({**behind_auth_token, "HTTP_X_ROLES": " , ,Member "}).roles == {"member"}
    assert caller_of(behind_auth_token).project_id is None


def test_auth_token_without_a_user_vouches_for_nobody() -> None:
    """With delay_auth_decision its mark is there although no token was."""
    assert not caller_of({"keystone.token_auth": object(), "HTTP_X_IDENTITY_STATUS": "Invalid"}).authenticated
    assert not caller_of({"keystone.token_auth": object()}).authenticated


@pytest.mark.parametrize("header", ["HTTP_X_AUTH_TOKEN", "HTTP_X_STORAGE_TOKEN"])
def test_a_token_is_for_the_compute_api_to_judge(header: str) -> None:
    caller = caller_of({header: "t"})
    assert caller.authenticated
    assert not caller.vouched
    assert not caller_of({header: "t", "HTTP_X_IDENTITY_STATUS": "Invalid"}).authenticated
    assert not caller_of({header: ""}).authenticated


@pytest.mark.parametrize(
    ("environ", "challenge"),
    [({}, "Keystone"), ({"www_authenticate_uri": "https://id.example/v3"}, 'Keystone uri="https://id.example/v3"')],
)
def test_the_401(environ: dict[str, str], challenge: str) -> None:
    guarded = Guarded(**environ)
    response = guarded.post(b'{"createImage": {}}', **{"nova.context": None})
    assert response.status_int == 401
    assert response.headers["WWW-Authenticate"] == challenge
    message = "The request you have made requires authentication."
    assert response.json == {"error": {"code": 401, "title": "Unauthorized", "message": message}}
    assert guarded.bodies == []


def test_an_unvouched_callers_project_is_for_the_compute_api_to_judge() -> None:
    guarded = Guarded()
    path = PATH.replace("/servers", "/abc/servers")
    response = guarded.post({"createImage": {"name": "x"}}, path, **{"nova.context": None}, HTTP_X_AUTH_TOKEN="t")
    assert response.status_int == 202


def test_a_context_without_a_project() -> None:
    """A system-scoped token has none; a project in the path is another then, as for Nova."""
    context = types.SimpleNamespace(user_id="root", project_id=None, roles=None)
    guarded = Guarded()
    assert guarded.post({"createImage": {"name": "x"}}, **{"nova.context": context}).status_int == 202
    path = PATH.replace("/servers", "/abc/servers")
    assert guarded.post({"createImage": {"name": "x"}}, path, **{"nova.context": context}).status_int == 400

"""A record names who asked, and believes nobody who is not vouched for."""

from __future__ import annotations

import types
from typing import Any

import pytest

from tests.cases import PROJECT, image
from tests.unit.fakes import BEHIND_AUTH_TOKEN, IDENTITY_HEADERS, STRANGER, Journalled


def test_each_record_names_an_authenticated_caller(guarded: Journalled) -> None:
    environ = {**BEHIND_AUTH_TOKEN, "openstack.request_id": "req-1", "openstack.global_request_id": "req-2"}
    guarded.post(image(), **environ, HTTP_USER_AGENT="openstacksdk/4.22", HTTP_X_FORWARDED_FOR="10.0.0.1")
    verdict, outcome = guarded.records()
    assert verdict["initiator"] == outcome["initiator"]
    assert verdict["initiator"] == {
        "id": IDENTITY_HEADERS["HTTP_X_USER_ID"],
        "typeURI": "service/security/account/user",
        "name": "alice",
        "domain": "Default",
        "host": {"address": "203.0.113.7", "agent": "openstacksdk/4.22"},
        "authenticated": True,
        "project_id": PROJECT,
        "user_domain_name": "Default",
        "project_name": "web",
        "project_domain_id": "default",
        "roles": ["member", "reader"],
        "request_id": "req-1",
        "global_request_id": "req-2",
        "forwarded_for": "10.0.0.1",
    }


def test_a_caller_of_whom_little_is_known(guarded: Journalled) -> None:
    guarded.post(image(), **STRANGER, REMOTE_ADDR=None)
    for record in guarded.records():
        assert record["initiator"] == {
            "id": "unknown",
            "typeURI": "service/security/account/user",
            "host": {"address": "", "agent": ""},
            "authenticated": False,
        }


def test_names_beside_novas_context_are_not_believed(guarded: Journalled) -> None:
    guarded.post(image(), **IDENTITY_HEADERS)
    initiator = guarded.records()[0]["initiator"]
    assert "name" not in initiator
    assert "claims" not in initiator
    assert (initiator["id"], initiator["authenticated"]) == ("alice", True)


def test_what_a_stranger_says_of_itself_is_a_claim(guarded: Journalled) -> None:
    guarded.post(image(), **IDENTITY_HEADERS, **STRANGER)
    initiator = guarded.records()[0]["initiator"]
    assert (initiator["id"], initiator["authenticated"]) == ("unknown", False)
    assert initiator["claims"] == {
        "user_id": IDENTITY_HEADERS["HTTP_X_USER_ID"],
        "project_id": PROJECT,
        "roles": "Member,reader",
        "user_name": "alice",
        "user_domain_name": "Default",
        "project_name": "web",
        "project_domain_id": "default",
    }
    assert "roles" not in initiator


def test_of_two_identities_the_judged_one_is_named(guarded: Journalled) -> None:
    context = types.SimpleNamespace(user_id="bob", project_id="1", roles=[])
    guarded.post(image(), **{**BEHIND_AUTH_TOKEN, "nova.context": context})
    initiator = guarded.records()[0]["initiator"]
    assert initiator["id"] == "bob"
    assert "name" not in initiator


def test_domains_of_novas_context(guarded: Journalled) -> None:
    context = types.SimpleNamespace(
        user_id="bob", project_id="1", roles=[], user_domain_id="d1", project_domain_id="d2"
    )
    guarded.post(image(), **{"nova.context": context})
    initiator = guarded.records()[0]["initiator"]
    assert (initiator["domain"], initiator["project_domain_id"]) == ("d1", "d2")


def test_an_unscoped_token_has_no_project(guarded: Journalled) -> None:
    guarded.post(image(), **{**BEHIND_AUTH_TOKEN, "HTTP_X_PROJECT_ID": ""})
    assert "project_id" not in guarded.records()[0]["initiator"]
    assert guarded.contents()[0]["project_id"] == ""


# --- who acts for whom

TOKEN = {
    "audit_ids": ["own", "first"],
    "OS-TRUST:trust": {
        "id": "trust-1",
        "impersonation": True,
        "trustee_user": {"id": "heat"},
        "trustor_user": {"id": "alice"},
    },
    "application_credential": {"id": "credential-1", "name": "ci", "restricted": True},
}
SERVICE_HEADERS = {"HTTP_X_SERVICE_USER_ID": "cinder-id", "HTTP_X_SERVICE_USER_NAME": "cinder"}
DELEGATION = ("trust", "application_credential", "service_user", "audit_ids")


def delegation(guarded: Journalled, environ: dict[str, Any]) -> dict[str, Any]:
    """Send a request and return what both of its records say of a delegation."""
    guarded.post(image(), **environ)
    verdict, outcome = guarded.records()
    assert verdict["initiator"] == outcome["initiator"]
    return {name: verdict["initiator"][name] for name in DELEGATION if name in verdict["initiator"]}


def test_a_delegate_is_named(guarded: Journalled) -> None:
    environ = {**BEHIND_AUTH_TOKEN, "keystone.token_info": {"token": TOKEN}}
    assert delegation(guarded, environ) == {
        "trust": {"id": "trust-1", "trustee_id": "heat", "trustor_id": "alice"},
        "application_credential": {"id": "credential-1", "name": "ci"},
        "audit_ids": ["own", "first"],
    }


def test_a_service_that_auth_token_knows_is_named(guarded: Journalled) -> None:
    plugin = types.SimpleNamespace(has_service_token=True)
    environ = {**BEHIND_AUTH_TOKEN, **SERVICE_HEADERS, "keystone.token_auth": plugin}
    assert delegation(guarded, environ) == {"service_user": {"id": "cinder-id", "name": "cinder"}}


@pytest.mark.parametrize("mark", [{}, {"external.token_info": {}}, {"keystone.token_info": {}}])
def test_a_service_that_a_client_made_up_is_not_named(guarded: Journalled, mark: dict[str, Any]) -> None:
    assert delegation(guarded, {**BEHIND_AUTH_TOKEN, **SERVICE_HEADERS, **mark}) == {}


def test_a_delegate_of_another_user_is_not_named(guarded: Journalled) -> None:
    context = types.SimpleNamespace(user_id="bob", project_id="1", roles=[])
    environ = {**BEHIND_AUTH_TOKEN, "nova.context": context, "keystone.token_info": {"token": TOKEN}}
    assert delegation(guarded, environ) == {}


@pytest.mark.parametrize(
    "info",
    [
        None,
        [],
        {"token": None},
        {"token": {"audit_ids": 5, "OS-TRUST:trust": None}},
        {"token": {}},
        {"access": {}},
        {"token": {"OS-TRUST:trust": "t", "application_credential": ["c"]}},
        {"token": {"OS-TRUST:trust": {"id": 5, "trustee_user": "heat", "trustor_user": [None]}}},
    ],
)
def test_a_token_of_another_form_names_nobody(guarded: Journalled, info: Any) -> None:
    assert delegation(guarded, {**BEHIND_AUTH_TOKEN, "keystone.token_info": info}) == {}

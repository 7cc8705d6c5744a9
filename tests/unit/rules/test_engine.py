"""What is decided where a role exempts the caller, or where a question has no answer for them."""

from __future__ import annotations

import types
from typing import Any

import pytest

from imagefilter.rules.case import NotAuthenticated
from imagefilter.rules.engine import Decision, Verdict, judge
from tests.cases import image
from tests.unit.fakes import Guarded
from tests.unit.rules.test_limits import FakeLookups, build

CLAIMS = {"HTTP_X_AUTH_TOKEN": "t", "HTTP_X_ROLES": "backup", "HTTP_X_USER_ID": "u"}


def caller(*roles: str) -> dict[str, Any]:
    """Return the environ of a caller with roles, authenticated by Nova's context."""
    return {"nova.context": types.SimpleNamespace(user_id="u", project_id="abc", roles=list(roles))}


@pytest.mark.parametrize(
    ("roles", "status"), [(("member", "Backup"), 202), (("service",), 202), (("member",), 400), ((), 400)]
)
def test_exempt_roles_pass_the_switch_the_quota_and_the_operators_rules(roles: tuple[str, ...], status: int) -> None:
    options = {"snapshots_enabled": "false", "metadata_items": "0", "name_pattern": "x", "metadata_required": "y"}
    guarded = Guarded(exempt_roles="backup,Service", **options)
    assert guarded.post(image("anything", {"id": "v"}), **caller(*roles)).status_int == status


def test_nobody_is_exempt_from_the_contract() -> None:
    guarded = Guarded(exempt_roles="backup")
    assert guarded.post(image("x", {"": "v"}), **caller("backup")).status_int == 400


@pytest.mark.parametrize(
    "headers",
    [{}, {"HTTP_X_IDENTITY_STATUS": "Confirmed"}, {"HTTP_X_SERVICE_ROLES": "backup"}, {"HTTP_X_ROLE": "backup"}],
)
@pytest.mark.parametrize("identity", [{"nova.context": None}, caller("member")])
def test_no_client_exempts_itself(headers: dict[str, str], identity: dict[str, Any]) -> None:
    guarded = Guarded(snapshots_enabled="false", exempt_roles="backup")
    assert guarded.post(image(), **{**CLAIMS, **headers, **identity}).status_int == 400


def test_auth_token_exempts() -> None:
    guarded = Guarded(snapshots_enabled="false", exempt_roles="backup")
    auth_token = {"keystone.token_auth": object(), "HTTP_X_IDENTITY_STATUS": "Confirmed", "nova.context": None}
    assert guarded.post(image(), **CLAIMS, **auth_token).status_int == 202


class RejectedToken(FakeLookups):
    """A compute API that responds 401 to each question."""

    def metadata_items(self) -> int:
        raise NotAuthenticated


@pytest.mark.parametrize("mode", ["enforce", "warn"])
def test_a_token_that_the_compute_api_rejects_is_refused_in_every_mode(mode: str) -> None:
    context = build(image(metadata={"k": "v"}), metadata_items_source="compute", mode=mode)
    message = "The request you have made requires authentication."
    assert judge(context, RejectedToken()) == Verdict(Decision.DENY, rule="token", status=401, message=message)

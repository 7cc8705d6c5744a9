"""A request is put beside the policy that applies to it."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from imagefilter.policy.context import build_context
from imagefilter.policy.policy import Policy
from imagefilter.request.action import ImageAction, Target
from imagefilter.request.identity import Identity
from imagefilter.rules.table import load_policy

IDENTITY = Identity(
    user_id="u",
    project_id="a",
    roles=frozenset({"backup"}),
    authenticated=True,
    has_token=True,
    address="",
    request_id="",
)
STRANGER = IDENTITY._replace(project_id=None, roles=frozenset(), authenticated=False)
NOBODY = Target("x", None, True)


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    """A policy with sections for two projects."""
    path = tmp_path / "imagefilter.conf"
    path.write_text("[imagefilter:project:a]\nmetadata_items = 1\n[imagefilter:project:b]\nmetadata_items = 2\n")
    return load_policy({"oslo_config_file": str(path), "exempt_roles": "backup"})


@pytest.mark.parametrize(
    ("identity", "target", "project_id", "metadata_items"),
    [
        (IDENTITY, Target("x", "b", True), "a", 1),
        (IDENTITY, NOBODY, "a", 1),
        (IDENTITY, None, "a", 1),
        (IDENTITY._replace(project_id="c"), NOBODY, "c", 128),
        (IDENTITY._replace(project_id=None), Target("x", "b", True), None, 128),
        (STRANGER, Target("x", "b", True), "b", 2),
        (STRANGER, NOBODY, None, 128),
        (STRANGER, None, None, 128),
    ],
)
def test_finds_the_settings_of_the_project(
    policy: Policy, identity: Identity, target: Target | None, project_id: str | None, metadata_items: int
) -> None:
    action = ImageAction("createImage", {}, None, "", target)
    context = build_context(action, identity, policy)
    assert (context.action, context.identity, context.policy) == (action, identity, policy)
    assert (context.project_id, context.settings.metadata_items) == (project_id, metadata_items)


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (IDENTITY, True),
        (IDENTITY._replace(roles=frozenset({"member"})), False),
        (IDENTITY._replace(authenticated=False), False),
    ],
)
def test_only_the_roles_of_an_authenticated_caller_exempt(policy: Policy, identity: Identity, expected: bool) -> None:
    context = build_context(ImageAction("createImage", {}, None, "", None), identity, policy)
    assert context.is_exempt is expected


def test_each_request_has_a_record_id_of_its_own(policy: Policy) -> None:
    action = ImageAction("createImage", {}, None, "", None)
    record_ids = {build_context(action, IDENTITY, policy).record_id for _ in range(2)}
    assert len(record_ids) == 2
    assert {str(uuid.UUID(record_id)) for record_id in record_ids} == record_ids

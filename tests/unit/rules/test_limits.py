"""Limits in every mode, with fixed counts: what each rule refuses, and what it asks for."""

from __future__ import annotations

from typing import Any

import pytest

from imagefilter.policy.context import RequestContext, build_context
from imagefilter.policy.limits import LockKeys
from imagefilter.request.action import ACTIONS, recognise
from imagefilter.request.identity import Identity
from imagefilter.rules.case import LockState, LookupFailed, Usage
from imagefilter.rules.engine import judge
from imagefilter.rules.table import load_policy
from tests.cases import PROJECT, SERVER, backup, image
from tests.wsgi import build_environ


class FakeLookups:
    """Answers as a test says, and notes what it was asked."""

    def __init__(
        self, usage: Usage | None = None, lock: LockState | None = LockState.HELD, rotated_out: int | None = 0
    ) -> None:
        self.asked: list[str] = []
        self._usage, self._lock, self._rotated_out = usage, lock, rotated_out

    def metadata_items(self) -> int:
        raise AssertionError

    def lock(self) -> LockState:
        self.asked.append("lock")
        if self._lock is None:
            raise LookupFailed("down")
        return self._lock

    def usage(self) -> Usage:
        self.asked.append("usage")
        if self._usage is None:
            raise LookupFailed("down")
        return self._usage

    def count_rotated_out(self) -> int | None:
        return self._rotated_out


def build(document: Any, *roles: str, authenticated: bool = True, **options: str) -> RequestContext:
    policy = load_policy({"audit_journal": "/journal", **options})
    environ = build_environ("POST", f"/v2.1/servers/{SERVER}/action", document)
    action = recognise(environ, environ["wsgi.input"].read(), {name: name.encode() for name in ACTIONS})
    assert action
    project = PROJECT
    identity = Identity("alice", project, frozenset(roles), authenticated, True, "", "")
    return build_context(action, identity, policy)


LIMITS = {"snapshots_per_server": "2", "snapshots_per_project": "5", "snapshots_in_progress": "3"}


@pytest.mark.parametrize(
    ("usage", "verdict"),
    [
        (Usage(1, 4, 2), ("allow", "", None)),
        (Usage(2, 4, 2), ("deny", "server-limit", 403)),
        (Usage(1, 5, 2), ("deny", "project-limit", 403)),
        (Usage(1, 4, 3), ("deny", "progress-limit", 403)),
        (Usage(9, 9, 9), ("deny", "server-limit", 403)),
        (None, ("deny", "server-limit", 503)),
    ],
)
def test_each_limit(usage: Usage | None, verdict: tuple[str, str, int | None]) -> None:
    found = judge(build(image(), **LIMITS), FakeLookups(usage))
    assert (found.decision, found.rule, found.status) == verdict


@pytest.mark.parametrize(
    ("lock", "rule", "status"),
    [
        (LockState.PROJECT_BUSY, "limit-busy", 429),
        (LockState.SERVER_BUSY, "one-at-a-time", 409),
        (None, "one-at-a-time", 503),
    ],
)
def test_a_lock_that_is_not_to_be_had(lock: LockState | None, rule: str, status: int) -> None:
    found = judge(build(image(), one_at_a_time="true", **LIMITS), FakeLookups(Usage(0, 0, 0), lock))
    assert (found.rule, found.status) == (rule, status)
    assert found.retry_after == (None if status == 503 else 1)  # noqa: RUF100


@pytest.mark.parametrize("mode", ["off", "warn"])
def test_no_limit_is_counted_without_its_lock(mode: str) -> None:
    """Whatever the mode of limit-busy: an enforced limit holds."""
    context = build(image(), snapshots_per_server="2", rule_modes=f"limit-busy:{mode}")
    found = judge(context, FakeLookups(Usage(0), LockState.PROJECT_BUSY))
    assert (found.decision, found.rule, found.status, found.retry_after) == ("deny", "server-limit", 429, 1)
    lookups = FakeLookups(Usage(0))
    assert judge(context, lookups).decision == "allow"
    assert lookups.asked.index("lock") < lookups.asked.index("usage")


def test_lookup_on_error_allows_what_nobody_knows() -> None:
    context = build(image(), lookup_on_error="allow", one_at_a_time="true", **LIMITS)
    assert judge(context, FakeLookups(None, None)).decision == "allow"


def test_cheap_rules_come_first() -> None:
    lookups = FakeLookups(Usage(0, 0, 0))
    assert judge(build(image(""), **LIMITS), lookups).rule == "name-required"
    assert lookups.asked == []


def test_without_limits_nobody_is_asked() -> None:
    lookups = FakeLookups(None, None)
    assert judge(build(image()), lookups).decision == "allow"
    assert lookups.asked == []


@pytest.mark.parametrize(
    ("usage", "rotated_out", "metadata", "decision"),
    [
        (Usage(2), 1, {}, "allow"),
        (Usage(2), 0, {}, "deny"),
        (Usage(2), None, {}, "deny"),
        (Usage(3), 1, {}, "deny"),  # one is being rotated
        (Usage(2), 1, {"image_type": "x"}, "deny"),
        (Usage(2), 1, {"Instance_UUID ": "x"}, "deny"),
        (Usage(2), 1, {"backup_typé": "x"}, "deny"),
    ],
)
def test_a_backup_at_the_limit(usage: Usage, rotated_out: int | None, metadata: dict[str, str], decision: str) -> None:
    options = {"snapshots_per_server": "2", "rule_modes": "metadata-reserved:off"}
    context = build(backup(metadata=metadata), **options)
    assert judge(context, FakeLookups(usage, rotated_out=rotated_out)).decision == decision


def test_an_image_at_the_limit_has_no_rotation() -> None:
    context = build(image(), snapshots_per_server="2")
    assert judge(context, FakeLookups(Usage(2), rotated_out=1)).decision == "deny"


# --- who is bound


@pytest.mark.parametrize(
    ("options", "roles", "decision", "asked"),
    [
        ({"mode": "off"}, (), "allow", set()),
        ({"mode": "warn"}, (), "would_deny", {"lock", "usage"}),
        ({"rule_modes": "server-limit:warn"}, (), "would_deny", {"lock", "usage"}),
        ({"rule_modes": "server-limit:off,limit-busy:off"}, (), "allow", set()),
        ({"exempt_roles": "backup"}, ("backup",), "exempt", set()),
    ],
)
def test_modes_and_exemptions(options: dict[str, str], roles: tuple[str, ...], decision: str, asked: set[str]) -> None:
    lookups = FakeLookups(Usage(2))
    assert judge(build(image(), *roles, snapshots_per_server="2", **options), lookups).decision == decision
    assert set(lookups.asked) == asked


@pytest.mark.parametrize(
    ("options", "roles", "has_server", "has_project", "waits"),
    [
        ({}, (), False, False, True),
        ({"snapshots_per_server": "1"}, (), True, False, True),
        ({"snapshots_per_project": "1"}, (), False, True, True),
        ({"snapshots_in_progress": "1"}, (), False, True, True),
        ({"snapshots_per_server": "1", "snapshots_per_project": "1"}, (), False, True, True),
        ({"one_at_a_time": "true"}, (), True, False, False),
        ({"one_at_a_time": "true", "snapshots_per_project": "1"}, (), True, True, False),
        ({"snapshots_per_server": "1", "mode": "warn"}, (), False, False, True),
        ({"one_at_a_time": "true", "mode": "warn"}, (), False, False, True),
        ({"snapshots_per_server": "1", "rule_modes": "server-limit:warn"}, (), False, False, True),
        ({"snapshots_per_server": "1", "exempt_roles": "backup"}, ("backup",), False, False, True),
        ({"one_at_a_time": "true", "exempt_roles": "backup"}, ("backup",), True, False, False),
    ],
)
def test_which_locks_are_needed(
    options: dict[str, str], roles: tuple[str, ...], has_server: bool, has_project: bool, waits: bool
) -> None:
    keys = build(image(), *roles, **options).find_locks()
    assert (keys.server is not None, keys.project is not None, keys.waits_for_server) == (
        has_server,
        has_project,
        waits,
    )
    assert PROJECT not in repr(keys)
    assert SERVER not in repr(keys)


def test_a_stranger_locks_nobody() -> None:
    assert build(image(), authenticated=False, one_at_a_time="true", **LIMITS).find_locks() == LockKeys()


def test_a_stranger_is_refused_where_images_are_counted() -> None:
    lookups = FakeLookups(Usage(0, 0, 0))
    assert judge(build(image(), authenticated=False, **LIMITS), lookups).rule == "project-unknown"
    assert lookups.asked == []


# --- what loading says


@pytest.mark.parametrize("options", [{"snapshots_per_server": "1"}, {"one_at_a_time": "true"}])
def test_limits_need_locks(options: dict[str, str]) -> None:
    from imagefilter import filter_factory
    from imagefilter.policy.config import ConfigError

    with pytest.raises(ConfigError, match="coordination_url is not set"):
        filter_factory({}, **options)
    filter_factory({}, mode="warn", **options)
    with pytest.raises(ConfigError, match=r"coordination_url = \*\*\* in the paste section: its scheme is none of"):
        filter_factory({}, coordination_url="zookeeper://user:s3cr3t@host", **options)


def test_locks_of_this_host_alone_are_told(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    from imagefilter import filter_factory

    filter_factory({}, snapshots_per_server="1", audit_journal=str(tmp_path / "audit.jsonl"))
    assert f"hold for the processes of this host alone, which share file://{tmp_path}/locks" in caplog.text


def test_secret_options_are_known_by_name() -> None:
    from imagefilter.policy.options import OPTIONS, SECRETS
    from imagefilter.relay.options import OPTIONS as RELAY_OPTIONS

    secret = {option.name for option in (*OPTIONS, *RELAY_OPTIONS) if option.secret}
    assert secret == SECRETS

"""Limits in every mode, with fixed counts: what each rule refuses, and what it asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagefilter.policy.config import ConfigError
from imagefilter.policy.context import RequestContext, build_context
from imagefilter.policy.limits import Limits, LockKeys, apply_keystone
from imagefilter.request.action import ACTIONS, Target, recognise
from imagefilter.request.identity import Identity
from imagefilter.rules.case import LockState, LookupFailed, Quota, Usage
from imagefilter.rules.engine import judge
from imagefilter.rules.limits import describe_usage
from imagefilter.rules.table import load_policy
from tests.cases import PROJECT, SERVER, backup, image
from tests.wsgi import build_environ


class FakeLookups:
    """Answers as a test says, and notes what it was asked."""

    def __init__(
        self,
        usage: Usage | None = None,
        lock: LockState | None = LockState.HELD,
        rotated_out: int | None = 0,
        quotas: dict[str, Quota] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.asked: list[str] = []
        self._quotas, self._limits = quotas, limits
        self._usage, self._lock, self._rotated_out = usage, lock, rotated_out

    def metadata_items(self) -> int:
        raise AssertionError

    def limits(self) -> Limits:
        self.asked.append("limits")
        if self._limits is None:
            raise LookupFailed("down")
        return self._limits

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

    def image_quota(self) -> dict[str, Quota]:
        self.asked.append("image_quota")
        if self._quotas is None:
            raise LookupFailed("down")
        return self._quotas


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
    ("counts", "message", "limit", "usage"),
    [
        (Usage(2, 4, 2), "Server snapshot limit exceeded (limit 2, in use 2)", 2, 2),
        (Usage(1, 6, 2), "Project snapshot limit exceeded (limit 5, in use 6)", 5, 6),
        (Usage(1, 4, 3), "Too many snapshots in progress (limit 3, in progress 3)", 3, 3),
    ],
)
def test_a_refusal_names_the_limit_and_the_usage(counts: Usage, message: str, limit: int, usage: int) -> None:
    found = judge(build(image(), **LIMITS), FakeLookups(counts))
    assert (found.message, found.limit, found.usage) == (message, limit, usage)


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


@pytest.mark.parametrize(("lock", "whose"), [(LockState.PROJECT_BUSY, "project"), (LockState.SERVER_BUSY, "server")])
def test_a_client_is_told_to_try_again(lock: LockState, whose: str) -> None:
    found = judge(build(image(), one_at_a_time="true", **LIMITS), FakeLookups(Usage(0, 0, 0), lock))
    assert found.message == f"Another image action of this {whose} is being processed, try again"


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


@pytest.mark.parametrize("on_error", ["deny", "allow"])
def test_what_could_not_be_checked_is_logged(on_error: str, caplog: pytest.LogCaptureFixture) -> None:
    judge(build(image(), lookup_on_error=on_error, snapshots_per_server="2"), FakeLookups(None))
    assert caplog.messages == [f"the snapshot limit could not be checked: down; lookup_on_error is {on_error}"]


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


@pytest.mark.parametrize(
    ("options", "usage", "more", "expected"),
    [
        ({}, Usage(1, 2, 3), 0, ""),
        (LIMITS, Usage(), 1, ""),
        (LIMITS, Usage(1, 2, 3), 1, "server=2/2, project=3/5, in_progress=4/3"),
        (LIMITS, Usage(1), 0, "server=1/2"),
        ({"snapshots_per_project": "0"}, Usage(1, 0, 0), 0, "project=0/0"),
        ({"snapshots_per_server": "2"}, Usage(0, 2, 3), 0, "server=0/2"),
    ],
)
def test_the_usage_that_a_client_is_told(options: dict[str, str], usage: Usage, more: int, expected: str) -> None:
    assert describe_usage(build(image(), **options).settings.limits, usage, more) == expected


# --- the rotation of backups

ROTATION = {"backup_rotation_min": "2", "backup_rotation_max": "7"}


@pytest.mark.parametrize("rotation", [2, "2", 7, "7", "007", 2.0, 7.0])
def test_a_rotation_within_its_bounds(rotation: Any) -> None:
    assert judge(build(backup(rotation=rotation), **ROTATION), FakeLookups()).decision == "allow"


@pytest.mark.parametrize(
    ("rotation", "message", "limit", "usage"),
    [
        (8, "Backup rotation too large (maximum 7, requested 8)", 7, 8),
        ("8", "Backup rotation too large (maximum 7, requested 8)", 7, 8),
        (10**100, f"Backup rotation too large (maximum 7, requested 1{'0' * 76}...)", 7, 2**63 - 1),
        (8.0, "Backup rotation too large (maximum 7, requested 8)", 7, 8),
        (1e300, f"Backup rotation too large (maximum 7, requested {str(int(1e300))[:77]}...)", 7, 2**63 - 1),
        (1, "Backup rotation too small (minimum 2, requested 1)", 2, 1),
        (1.0, "Backup rotation too small (minimum 2, requested 1)", 2, 1),
        (-0.0, "Backup rotation too small (minimum 2, requested 0)", 2, 0),
        (0, "Backup rotation too small (minimum 2, requested 0)", 2, 0),
    ],
)
def test_a_rotation_out_of_its_bounds(rotation: Any, message: str, limit: int, usage: int) -> None:
    """A record can hold no larger number than 2**63 - 1."""
    found = judge(build(backup(rotation=rotation), **ROTATION), FakeLookups())
    assert (found.decision, found.rule, found.status) == ("deny", "backup-rotation", 403)
    assert (found.message, found.limit, found.usage) == (message, limit, usage)


@pytest.mark.parametrize(("rotation", "decision"), [(0, "allow"), (1, "deny")])
def test_a_largest_rotation_of_0_is_a_limit(rotation: int, decision: str) -> None:
    context = build(backup(rotation=rotation), backup_rotation_min="0", backup_rotation_max="0")
    assert judge(context, FakeLookups()).decision == decision


@pytest.mark.parametrize(
    "document",
    [image(rotation=8), backup(rotation="x"), backup(rotation=None), backup(rotation=2.5), backup(rotation=-1.0)],
)
def test_a_rotation_that_nova_does_not_read(document: Any) -> None:
    """Nova itself refuses a createBackup without a number, and reads none of a createImage."""
    assert judge(build(document, **ROTATION), FakeLookups()).decision == "allow"


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


@pytest.mark.parametrize("options", [{"mode": "warn"}, {"rule_modes": "metadata-type:warn,server-limit:enforce"}])
@pytest.mark.parametrize(("count", "decision"), [(114, "allow"), (115, "deny")])
def test_a_limit_in_force_needs_room_for_the_stamps(options: dict[str, str], count: int, decision: str) -> None:
    """Without that room Nova would respond 500, or the image would not count."""
    document = image(metadata={f"key{number}": "v" for number in range(count)})
    context = build(document, **{"snapshots_per_server": "5", "rule_modes": "server-limit:enforce", **options})
    found = judge(context, FakeLookups(Usage(0, 0, 0)))
    assert found.decision == decision
    if decision == "deny":
        assert (found.rule, found.status, found.limit, found.usage) == ("metadata-quota", 403, 114, 115)


@pytest.mark.parametrize(
    ("options", "roles", "has_server", "has_project", "waits"),
    [
        ({}, (), False, False, True),
        ({"snapshots_per_server": "1"}, (), True, False, True),
        ({"snapshots_per_project": "1"}, (), False, True, True),
        ({"snapshots_in_progress": "1"}, (), False, True, True),
        ({"snapshots_per_server": "0"}, (), True, False, True),
        ({"snapshots_per_project": "0"}, (), False, True, True),
        ({"snapshots_in_progress": "0"}, (), False, True, True),
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
    context = build(image(), *roles, **options)
    keys = context.find_locks(context.settings.limits)
    assert (keys.server is not None, keys.project is not None, keys.waits_for_server) == (
        has_server,
        has_project,
        waits,
    )
    assert PROJECT not in repr(keys)
    assert SERVER not in repr(keys)


@pytest.mark.parametrize(("authenticated", "project"), [(False, None), (False, PROJECT), (True, None), (True, "")])
def test_a_stranger_locks_nobody(authenticated: bool, project: str | None) -> None:
    context = build(image(), authenticated=authenticated, one_at_a_time="true", **LIMITS)._replace(project_id=project)
    assert context.find_locks(context.settings.limits) == LockKeys()


def find_server_lock(project: str, server: str) -> str | None:
    context = build(image(), one_at_a_time="true")
    action = context.action._replace(target=Target(server, None, True))
    context = context._replace(action=action, project_id=project)
    return context.find_locks(context.settings.limits).server


def test_nobody_locks_the_server_of_another_project_by_naming_it() -> None:
    other_project, other_server = "f" * 32, SERVER[::-1]
    assert find_server_lock(PROJECT, SERVER) == find_server_lock(PROJECT, SERVER.upper())
    pairs = [(PROJECT, SERVER), (PROJECT, other_server), (other_project, SERVER), (other_project, other_server)]
    assert len({find_server_lock(*pair) for pair in pairs}) == len(pairs)


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


# --- the image API's own quota

QUOTA = {"image_quota_check": "true"}
FREE = Quota(limit=5, usage=4)


@pytest.mark.parametrize(
    ("quotas", "name"),
    [
        ({}, ""),
        ({"image_count_total": FREE, "image_size_total": FREE, "image_count_uploading": FREE}, ""),
        ({"image_count_total": Quota(5, 5)}, "image_count_total"),
        ({"image_count_total": Quota(5, 6)}, "image_count_total"),
        ({"image_count_total": Quota(0, 0)}, "image_count_total"),
        ({"image_count_total": Quota(-1, 999)}, ""),
        ({"image_size_total": Quota(1000, 999)}, ""),
        ({"image_size_total": Quota(1000, 1000)}, "image_size_total"),
        ({"image_count_uploading": Quota(2, 2)}, "image_count_uploading"),
        ({"image_count_total": FREE, "image_size_total": Quota(7, 8)}, "image_size_total"),
    ],
)
def test_the_image_apis_quota(quotas: dict[str, Quota], name: str) -> None:
    found = judge(build(image(), **QUOTA), FakeLookups(quotas=quotas))
    if not name:
        assert found.decision == "allow"
        return
    limit, usage = quotas[name]
    assert (found.decision, found.rule, found.status) == ("deny", "image-quota", 403)
    assert found.message == f"Image quota exceeded ({name}: limit {limit}, in use {usage})"
    assert (found.limit, found.usage) == (limit, usage)


def test_the_image_apis_quota_that_is_not_known() -> None:
    found = judge(build(image(), **QUOTA), FakeLookups())
    assert (found.decision, found.rule, found.status) == ("deny", "image-quota", 503)
    assert found.message == "The snapshot limit could not be checked."
    assert judge(build(image(), lookup_on_error="allow", **QUOTA), FakeLookups()).decision == "allow"
    assert judge(build(image(), mode="warn", **QUOTA), FakeLookups()).decision == "would_deny"


@pytest.mark.parametrize("options", [{}, {"mode": "off", **QUOTA}, {"rule_modes": "image-quota:off", **QUOTA}])
def test_a_quota_that_nobody_wants_checked_is_not_asked(options: dict[str, str]) -> None:
    lookups = FakeLookups()
    assert judge(build(image(), **options), lookups).decision == "allow"
    assert not lookups.asked


def test_a_quota_takes_no_lock_and_counts_nothing() -> None:
    lookups = FakeLookups(quotas={})
    judge(build(image(), **QUOTA), lookups)
    assert lookups.asked == ["image_quota"]


@pytest.mark.parametrize("document", [image(), backup(), {"shelve": None}])
def test_the_image_api_exempts_nobody(document: Any) -> None:
    context = build(document, "admin", exempt_roles="admin", actions="createImage,createBackup,shelve", **QUOTA)
    assert judge(context, FakeLookups(quotas={"image_count_total": Quota(1, 1)})).rule == "image-quota"


def test_nobody_is_asked_for_a_caller_that_nobody_vouches_for() -> None:
    lookups = FakeLookups(quotas={})
    found = judge(build(image(), authenticated=False, **QUOTA), lookups)
    assert (found.rule, found.status, lookups.asked) == ("project-unknown", 403, [])


# --- limits from Keystone

KEYSTONE = {"limits_source": "keystone", "identity_api_url": "http://keystone.example/v3"}


def keystone_limits(context: RequestContext, **registered: int) -> Limits:
    return apply_keystone(context.settings.limits, {f"snapshots_{name}": number for name, number in registered.items()})


@pytest.mark.parametrize(
    ("registered", "usage", "rule"),
    [
        ({}, Usage(9, 9, 9), ""),
        ({"per_server": 2}, Usage(1, 9, 9), ""),
        ({"per_server": 2}, Usage(2, 9, 9), "server-limit"),
        ({"per_project": 5}, Usage(9, 5, 9), "project-limit"),
        ({"in_progress": 3}, Usage(9, 9, 3), "progress-limit"),
        ({"per_server": -1, "per_project": 5}, Usage(9, 4, 9), ""),
        ({"per_server": 0}, Usage(0, 0, 0), "server-limit"),
    ],
)
def test_limits_from_keystone(registered: dict[str, int], usage: Usage, rule: str) -> None:
    context = build(image(), **KEYSTONE)
    found = judge(context, FakeLookups(usage, limits=keystone_limits(context, **registered)))
    assert found.rule == rule


@pytest.mark.parametrize(
    ("registered", "usage", "rule"),
    [
        ({}, Usage(2), "server-limit"),  # not registered: the config's
        ({"per_server": 5}, Usage(4), ""),
        ({"per_server": -1}, Usage(99), ""),
        ({"per_server": 1}, Usage(1), "server-limit"),
        ({"per_project": 9}, Usage(2, 2), "server-limit"),
    ],
)
def test_keystone_wins_over_the_config(registered: dict[str, int], usage: Usage, rule: str) -> None:
    context = build(image(), snapshots_per_server="2", **KEYSTONE)
    assert judge(context, FakeLookups(usage, limits=keystone_limits(context, **registered))).rule == rule


def test_a_keystone_that_does_not_tell() -> None:
    found = judge(build(image(), **KEYSTONE), FakeLookups(Usage(0, 0, 0)))
    assert (found.decision, found.rule, found.status) == ("deny", "server-limit", 503)
    allowed = build(image(), lookup_on_error="allow", snapshots_per_server="1", **KEYSTONE)
    assert judge(allowed, FakeLookups(Usage(9))).decision == "allow"
    assert judge(build(image(), mode="warn", **KEYSTONE), FakeLookups(Usage())).decision == "would_deny"


@pytest.mark.parametrize(
    ("options", "roles"),
    [({"mode": "off"}, ()), ({"exempt_roles": "backup"}, ("backup",)), ({"snapshots_enabled": "false"}, ())],
)
def test_keystone_is_not_asked_in_vain(options: dict[str, str], roles: tuple[str, ...]) -> None:
    lookups = FakeLookups()
    judge(build(image(), *roles, **KEYSTONE, **options), lookups)
    assert not lookups.asked


def test_images_are_stamped_where_keystone_may_have_a_limit() -> None:
    """Its limits are known per request; an image that is not stamped would never count for a server on volumes."""
    assert build(image(), **KEYSTONE).settings.stamps
    for key in ("imagefilter_server", "instance_uuid"):
        assert judge(build(image(metadata={key: "x"}), **KEYSTONE), FakeLookups()).rule == "metadata-reserved"


def test_strangers_are_refused_where_keystone_may_have_a_limit() -> None:
    lookups = FakeLookups()
    assert judge(build(image(), authenticated=False, **KEYSTONE), lookups).rule == "project-unknown"
    assert not lookups.asked


@pytest.mark.parametrize(
    ("registered", "options", "has_server", "has_project"),
    [
        ({}, {}, False, False),
        ({"per_server": 5}, {}, False, True),  # another process may still remember a limit of the project
        ({"per_project": 5}, {}, False, True),
        ({"in_progress": 5}, {"one_at_a_time": "true"}, True, True),
        ({}, {"one_at_a_time": "true"}, True, False),
        ({"per_server": 5}, {"mode": "warn"}, False, False),
        ({"per_server": 5}, {"rule_modes": "server-limit:warn"}, False, False),
    ],
)
def test_which_locks_limits_from_keystone_need(
    registered: dict[str, int], options: dict[str, str], has_server: bool, has_project: bool
) -> None:
    context = build(image(), **KEYSTONE, **options)
    keys = context.find_locks(keystone_limits(context, **registered))
    assert (keys.server is not None, keys.project is not None) == (has_server, has_project)


def test_keystone_needs_a_url(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"limits_source = keystone in the paste section: it needs identity_api_url"):
        load_policy({"limits_source": "keystone"})
    path = tmp_path / "imagefilter.conf"
    path.write_text(f"[imagefilter]\n[imagefilter:project:{PROJECT}]\nlimits_source = keystone\n")
    with pytest.raises(ConfigError, match=f"limits_source = keystone in section .imagefilter:project:{PROJECT}"):
        load_policy({"oslo_config_file": str(path)})
    path.write_text(path.read_text().replace("]\n[", "]\nidentity_api_url = ftp://keystone\n["))
    with pytest.raises(ConfigError, match="identity_api_url = ftp://keystone in section"):
        load_policy({"oslo_config_file": str(path)})


def test_one_project_may_have_its_limits_in_the_config(tmp_path: Path) -> None:
    path = tmp_path / "imagefilter.conf"
    path.write_text(
        "[imagefilter]\nlimits_source = keystone\nidentity_api_url = http://keystone.example\n"
        f"[imagefilter:project:{PROJECT}]\nlimits_source = config\nsnapshots_per_server = 1\n"
    )
    lookups = FakeLookups(Usage(1))
    assert judge(build(image(), oslo_config_file=str(path)), lookups).rule == "server-limit"
    assert "limits" not in lookups.asked

"""The operator's own rules: how a file with them is loaded, and what becomes of requests."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from imagefilter.policy.config import ConfigError
from imagefilter.policy.context import RequestContext, build_context
from imagefilter.policy.limits import LockKeys
from imagefilter.policy.policy import Policy
from imagefilter.request.action import ACTIONS, recognise
from imagefilter.request.identity import Identity
from imagefilter.rules.case import LockState, LookupFailed, ServerFacts, ServerNotFound, Usage
from imagefilter.rules.engine import Verdict, judge
from imagefilter.rules.table import load_policy
from tests.cases import PROJECT, SERVER, backup, image, items
from tests.paths import ROOT
from tests.wsgi import build_environ

pytest.importorskip("cel_expr_python")

OTHER = "0" * 32
USED = Usage(1, 2, 3)


def load(folder: Path, text: str, **paste: str) -> Policy:
    path = folder / "imagefilter.conf"
    path.write_text(text)
    return load_policy({"oslo_config_file": str(path), "audit_journal": "/journal", **paste})


def section(name: str = "r", **options: str) -> str:
    lines = [f"{key} = {text}" for key, text in {"deny": "true", **options}.items()]
    return "\n".join([f"[imagefilter:rule:{name}]", *lines, ""])


class FakeLookups:
    """Answers as a test says, and notes what it was asked."""

    def __init__(self, server: Any = None, usage: Usage | None = USED, lock: Any = LockState.HELD) -> None:
        self.asked: list[str] = []
        self._server, self._usage, self._lock = server, usage, lock

    def metadata_items(self) -> int:
        raise AssertionError

    def lock(self) -> LockState:
        self.asked.append("lock")
        if isinstance(self._lock, Exception):
            raise self._lock
        return self._lock

    def usage(self) -> Usage:
        self.asked.append("usage")
        if self._usage is None:
            raise LookupFailed("down")
        return self._usage

    def server(self) -> ServerFacts:
        self.asked.append("server")
        if isinstance(self._server, Exception):
            raise self._server
        return ServerFacts(self._server or {}, {})

    def now(self) -> datetime.datetime:
        return datetime.datetime(2026, 11, 27, 12, tzinfo=datetime.timezone.utc)

    def count_rotated_out(self) -> int | None:
        raise AssertionError


def build(
    policy: Policy, document: Any, *roles: str, project: str = PROJECT, authenticated: bool = True
) -> RequestContext:
    environ = build_environ("POST", f"/v2.1/servers/{SERVER}/action", document)
    action = recognise(environ, environ["wsgi.input"].read(), {name: name.encode() for name in ACTIONS})
    assert action
    identity = Identity("alice", project, frozenset(roles), authenticated, True, "", "", "default")
    return build_context(action, identity, policy)


def decide(verdict: Verdict) -> tuple[str, str, int | None, str]:
    return str(verdict.decision), verdict.rule, verdict.status, verdict.message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (section(deny="tru"), "deny in section [imagefilter:rule:r] of {path}: line 1, column 1: unknown name"),
        (section(deny="true\n  && 1"), "deny in section [imagefilter:rule:r] of {path}: line 2, column 1: found no"),
        (section(deny=""), "section [imagefilter:rule:r] of {path}: deny is not set, so the rule would refuse nothing"),
        ("[rule:r]\ndeny = true\n", "section [rule:r] of {path}: unknown section (is it [imagefilter:rule:NAME]?)"),
        ("[imagefilter:rule:r]\nmode = warn\n", "section [imagefilter:rule:r] of {path}: deny is not set"),
        (section(mode="loud"), "mode = loud in section [imagefilter:rule:r] of {path}"),
        (section(denny="true"), "unknown option 'denny' in section [imagefilter:rule:r] of {path} (is it deny?)"),
        (section(actions="reboot"), "actions = reboot in section [imagefilter:rule:r] of {path}"),
        (section(actions=" "), "actions in section [imagefilter:rule:r] of {path}: empty"),
        (section(projects="web"), "projects in section [imagefilter:rule:r] of {path}: 'web' is not a project id"),
        (section(message="m" * 501), "message in section [imagefilter:rule:r] of {path}: not one line of at most 500"),
        (section() + section(deny="false"), "deny in section [imagefilter:rule:r] of {path}: given twice"),
        (section("token"), "section [imagefilter:rule:token] of {path}: 'token' is the name of a built-in rule"),
        (section("server-limit"), "'server-limit' is the name of a built-in rule"),
        (section("R"), "'R' is not a name of a rule"),
        (section(""), "'' is not a name of a rule"),
        (section("a:b"), "'a:b' is not a name of a rule"),
        (section("a" * 65), "is not a name of a rule"),
        (
            section(deny="$foo == 1"),
            "deny in section [imagefilter:rule:r] of {path}: $foo is not set",
        ),
        ("[imagefilter:rules:r]\ndeny = true\n", "unknown section (is it [imagefilter:rule:NAME]?)"),
        ("[imagefilter:rul:r]\ndeny = true\n", "unknown section (is it [imagefilter:rule:NAME]?)"),
        (section() + "[imagefilter]\nrule_modes = q:warn\n", "q is not a rule; rules are"),
    ],
)
def test_an_error_names_section_option_and_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)
    assert reason.format(path=tmp_path / "imagefilter.conf") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["rule:r", "imagefilter:rules:r"])
def test_a_misspelt_section_of_a_rule_is_one_error(tmp_path: Path, name: str) -> None:
    """Its options are a rule's, and none of them is unknown."""
    with pytest.raises(ConfigError) as error:
        load(tmp_path, f"[{name}]\ndeny = true\nmessage = No\nactions = shelve\n")
    assert len(error.value.errors) == 1


def test_all_errors_come_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, section("a", deny="x") + section("b", deny="y") + "[imagefilter]\nmetadata_items = z\n")
    assert len(error.value.errors) == 3


def test_mode_off_starts_in_spite_of_a_bad_rule(tmp_path: Path) -> None:
    policy = load(tmp_path, section(deny="x") + "[imagefilter]\nmode = off\n")
    assert "line 1, column 1" in policy.errors[0]


def test_rules_come_behind_those_on_metadata_in_the_order_of_the_file(tmp_path: Path) -> None:
    policy = load(tmp_path, section("z") + section("a"))
    names = [rule.name for rule in policy.rules]
    position = names.index("metadata-reserved")
    assert names[position : position + 4] == ["metadata-reserved", "z", "a", "backup-rotation"]


def test_the_digest_is_that_of_what_is_judged(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        return load(tmp_path, text).loaded.digest

    both = digest(section("a") + section("b"))
    assert both == digest("[imagefilter]\n" + section("a") + "# a comment\n" + section("b"))
    others = [section("b") + section("a"), section("a"), "", section("a", mode="warn") + section("b")]
    assert both not in [digest(text) for text in others]


@pytest.mark.parametrize(
    ("rule", "project", "mode"),
    [
        ({}, "", "enforce"),
        ({"mode": "warn"}, "", "warn"),
        ({"mode": "warn"}, "rule_modes = r:enforce", "enforce"),
        ({"mode": "enforce"}, "mode = warn", "enforce"),
        ({}, "mode = warn", "warn"),
        ({"mode": "enforce"}, "mode = off", "off"),
        ({"mode": "off"}, "", "off"),
    ],
)
def test_the_mode_of_a_rule(tmp_path: Path, rule: dict[str, str], project: str, mode: str) -> None:
    policy = load(tmp_path, section(**rule) + f"[imagefilter:project:{PROJECT}]\n{project}\n")
    assert policy.for_project(PROJECT).modes["r"] == mode


GPU = section("no-gpu", deny='server.flavor.name.startsWith("gpu.") && !("backup" in caller.roles)', message="No.")


def test_a_rule_refuses_with_its_message_and_its_name(tmp_path: Path) -> None:
    policy = load(tmp_path, GPU)
    gpu = {"server.flavor.name": "gpu.1"}
    verdict = judge(build(policy, image()), FakeLookups(gpu))
    assert decide(verdict) == ("deny", "no-gpu", 403, "No. (no-gpu)")
    assert (verdict.mode, verdict.is_own, verdict.reason) == ("enforce", True, "")
    assert judge(build(policy, image()), FakeLookups({"server.flavor.name": "m1"})).decision == "allow"
    assert judge(build(policy, image(), "backup"), FakeLookups(gpu)).decision == "allow"


def test_a_rule_that_warns_refuses_nothing(tmp_path: Path) -> None:
    verdict = judge(build(load(tmp_path, GPU, rule_modes="no-gpu:warn"), image()), FakeLookups({}))
    assert decide(verdict)[:2] == ("would_deny", "no-gpu")
    assert verdict.mode == "warn"


@pytest.mark.parametrize(
    ("deny", "document", "server", "reason"),
    [
        ("image.metadata['cost'] == ''", image(), {}, "Key not found in map: cost"),
        ("image.name == 'x'", {"shelve": None}, {}, "image.name is absent: the client gives the image no name"),
        ("backup.rotation > 7", image(), {}, "backup.rotation is absent: the action is no createBackup"),
        ("backup.rotation > 7", backup(rotation=2**64), {}, "backup.rotation is absent: its number has more than 64"),
        ("backup.rotation > 7", backup(rotation=-1), {}, "backup.rotation is absent: it is no whole number"),
        ("backup.type == 'x'", backup(backup_type=None), {}, "backup.type is absent: it is no text"),
        ("server.flavor.ram > 7", image(), {"server.flavor.ram": 2**63}, "its number has more than 64 bits"),
        ("server.flavor.name == ''", image(), {}, "server.flavor.name is absent: the compute API does not say"),
        ("server.name == 'x'", image(), {"server.name": "a\0"}, "server.name is absent: its text has a NUL character"),
        ("server.tags == []", image(), {"server.tags": ["\ud800"]}, "server.tags is absent: its text has half a"),
        ("server.metadata == {}", image(), {"server.metadata": {"k": None}}, "server.metadata is absent: it is no"),
        ("image.name == 'x'", image("a\0b"), {}, "image.name is absent: its text has a NUL character"),
        ("image.name == 'x'", json.dumps(image("\ud800")).encode(), {}, "image.name is absent: its text has"),
        ("'k' in image.metadata", json.dumps(image(metadata={"\udfff": "v"})).encode(), {},
         "image.metadata is absent: its text"),
        ("'k' in image.metadata", image(metadata={"k\0": "v"}), {}, "image.metadata is absent: its text has a NUL"),
        ("image.metadata.exists(k, k == image.metadata[k])", image(metadata={"k": "v\0"}), {}, "its text has a NUL"),
        ("image.metadata.exists(a, image.metadata.exists(b, a + b == 'x'))", image(metadata=items(128)), {},
         "Iteration budget exceeded"),
        ("image.name.matches(image.name)", image("("), {}, "invalid regular expression"),
    ],
)  # fmt: skip
def test_a_rule_without_a_result_refuses(
    tmp_path: Path, deny: str, document: Any, server: dict[str, Any], reason: str
) -> None:
    policy = load(tmp_path, section(deny=deny), actions=",".join(ACTIONS))
    verdict = judge(build(policy, document), FakeLookups(server))
    assert decide(verdict) == ("deny", "r", 403, "This cloud does not permit it (r)")
    assert reason in verdict.reason


def test_a_name_is_judged_as_nova_stores_it(tmp_path: Path) -> None:
    policy = load(tmp_path, section(deny='image.name.startsWith("prod-")'))
    assert judge(build(policy, image(" prod-1 ")), FakeLookups()).rule == "r"


@pytest.mark.parametrize(
    "deny",
    ['"cost" in image.metadata && image.metadata.cost != "x"', "'a' in image.metadata || 'b' == 'b'", '"true"'],
)
def test_oslo_config_takes_quotes_away(tmp_path: Path, deny: str) -> None:
    """From a text that begins and ends with one."""
    verdict = judge(build(load(tmp_path, section(deny=deny)), image(metadata={"cost": "y"})), FakeLookups())
    assert decide(verdict)[:3] == ("deny", "r", 403)
    assert verdict.reason == ""


def test_strangers_have_no_identity(tmp_path: Path) -> None:
    policy = load(tmp_path, section(deny="caller.user_id == 'bob'"))
    verdict = judge(build(policy, image(), authenticated=False), FakeLookups())
    assert verdict.reason == "caller.user_id is absent: nobody vouches for the caller"


@pytest.mark.parametrize(
    ("deny", "denied"),
    [
        ("action == 'createBackup' && backup.rotation > 7", False),
        ("caller.user_domain_id == 'default' && caller.project_id.size() == 32", True),
        ("'reader' in caller.roles", True),
        ("now == timestamp('2026-11-27T12:00:00Z')", True),
        ("now.getHours('Europe/Berlin') == 13", True),
        ("image.metadata.size() == 0", True),
    ],
)
def test_a_document(tmp_path: Path, deny: str, denied: bool) -> None:
    verdict = judge(build(load(tmp_path, section(deny=deny)), image(), "reader"), FakeLookups())
    assert bool(verdict.rule) is denied


def test_the_contract_and_the_quota_come_first(tmp_path: Path) -> None:
    policy = load(tmp_path, section(deny="server.locked"))
    for document in (image(""), image(metadata=items(129)), image(metadata={"": "v"}), image(metadata={"id": "v"})):
        lookups = FakeLookups()
        assert judge(build(policy, document), lookups).rule != "r"
        assert lookups.asked == []


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, ["server"]),
        ({"mode": "warn"}, ["server"]),
        ({"mode": "off"}, []),
        ({"actions": "createBackup"}, []),
        ({"projects": OTHER}, []),
        ({"projects": f"{OTHER}, {PROJECT}"}, ["server"]),
    ],
)
def test_the_server_is_asked_for_only_if_the_rule_applies(
    tmp_path: Path, options: dict[str, str], asked: list[str]
) -> None:
    policy = load(tmp_path, section(deny="server.locked", **options))
    lookups = FakeLookups({"server.locked": False})
    judge(build(policy, image()), lookups)
    assert lookups.asked == asked


def test_exempt_callers_are_not_asked_about(tmp_path: Path) -> None:
    lookups = FakeLookups()
    policy = load(tmp_path, section(deny="server.locked"), exempt_roles="backup")
    assert judge(build(policy, image(), "backup"), lookups).decision == "exempt"
    assert lookups.asked == []


def test_nobody_escapes_the_rule_of_a_project_by_hiding_his_own(tmp_path: Path) -> None:
    policy = load(tmp_path, section(projects=OTHER))
    identity = Identity(None, None, frozenset(), False, True, "", "")
    environ = build_environ("POST", f"/v2.1/servers/{SERVER}/action", image())
    action = recognise(environ, environ["wsgi.input"].read(), policy.actions)
    assert action
    assert judge(build_context(action, identity, policy), FakeLookups()).rule == "project-unknown"


NOT_FOUND = f"Instance {SERVER} could not be found."


@pytest.mark.parametrize(
    ("answer", "on_error", "verdict"),
    [
        (ServerNotFound(), "deny", ("deny", "server", 404, NOT_FOUND)),
        (ServerNotFound(), "allow", ("deny", "server", 404, NOT_FOUND)),
        (LookupFailed("x"), "deny", ("deny", "r", 503, "The server could not be looked up.")),
        (LookupFailed("x"), "allow", ("allow", "", None, "")),
    ],
)
def test_a_server_that_can_not_be_looked_up(tmp_path: Path, answer: Any, on_error: str, verdict: Any) -> None:
    policy = load(tmp_path, section(deny="server.locked"), lookup_on_error=on_error)
    assert decide(judge(build(policy, image()), FakeLookups(answer))) == verdict


@pytest.mark.parametrize("on_error", ["deny", "allow"])
@pytest.mark.parametrize(
    ("deny", "what"),
    [
        ("server.locked", "the server could not be looked up"),
        ("usage.project > 1", "the images could not be counted"),
        ("server.locked || usage.project > 1", "the server could not be looked up"),
    ],
)
def test_what_could_not_be_looked_up_is_logged(
    tmp_path: Path, deny: str, what: str, on_error: str, caplog: pytest.LogCaptureFixture
) -> None:
    policy = load(tmp_path, section(deny=deny), lookup_on_error=on_error)
    judge(build(policy, image()), FakeLookups(LookupFailed("down"), usage=None))
    assert caplog.messages == [f"rule r: {what}: down; lookup_on_error is {on_error}"]


@pytest.mark.parametrize(
    ("deny", "message"),
    [
        ("server.locked", "The server could not be looked up."),
        ("usage.project > 1", "The snapshot limit could not be checked."),
        ("server.locked || usage.project > 1", "The server could not be looked up."),
    ],
)
def test_a_client_is_told_what_could_not_be_looked_up(tmp_path: Path, deny: str, message: str) -> None:
    policy = load(tmp_path, section(deny=deny))
    verdict = judge(build(policy, image()), FakeLookups(LookupFailed("down"), usage=None))
    assert decide(verdict) == ("deny", "r", 503, message)


@pytest.mark.parametrize(
    ("deny", "decision"),
    [
        ('server.locked || image.name == "test"', "deny"),
        ('image.name == "test" || usage.project > 1', "deny"),
        ('image.name != "test" || server.locked', "allow"),
        ('image.name == "test" && server.locked', "allow"),
        ('backup.type == "daily" || server.locked', "allow"),
    ],
)
def test_what_needs_no_look_up_is_refused_whatever_fails(tmp_path: Path, deny: str, decision: str) -> None:
    """Also where what can't be looked up is allowed: a token with access rules is enough to make a look-up fail."""
    policy = load(tmp_path, section(deny=deny), lookup_on_error="allow")
    assert judge(build(policy, image("test")), FakeLookups(LookupFailed("x"), usage=None)).decision == decision


def test_a_refusal_in_spite_of_a_failed_look_up_names_the_rule(tmp_path: Path) -> None:
    policy = load(tmp_path, section(deny='server.locked || image.name == "test"'), lookup_on_error="allow")
    verdict = judge(build(policy, image("test")), FakeLookups(LookupFailed("x")))
    assert decide(verdict) == ("deny", "r", 403, "This cloud does not permit it (r)")


def test_a_missing_server_only_warns_where_the_rule_does(tmp_path: Path) -> None:
    policy = load(tmp_path, section(deny="server.locked", mode="warn"))
    verdict = judge(build(policy, image()), FakeLookups(ServerNotFound()))
    assert (str(verdict.decision), verdict.rule, verdict.mode, verdict.is_own) == (
        "would_deny",
        "server",
        "warn",
        False,
    )


USAGE = section(deny="usage.project >= 2", actions="createImage")


@pytest.mark.parametrize(
    ("lookups", "verdict"),
    [
        (FakeLookups(), ("deny", "r", 403)),
        (FakeLookups(usage=Usage(0, 1, 0)), ("allow", "", None)),
        (FakeLookups(usage=None), ("deny", "r", 503)),
        (FakeLookups(lock=LockState.PROJECT_BUSY), ("deny", "limit-busy", 429)),
        (FakeLookups(lock=LockState.SERVER_BUSY), ("deny", "one-at-a-time", 409)),
        (FakeLookups(lock=LookupFailed("down")), ("deny", "r", 503)),
        (FakeLookups(usage=Usage(1)), ("deny", "r", 403)),
    ],
)
def test_a_count(tmp_path: Path, lookups: FakeLookups, verdict: Any) -> None:
    found = judge(build(load(tmp_path, USAGE), image()), lookups)
    assert (str(found.decision), found.rule, found.status) == verdict


@pytest.mark.parametrize(
    ("text", "document", "roles", "is_locked"),
    [
        (USAGE, image(), (), True),
        (USAGE, backup(), (), False),
        (USAGE, image(), ("backup",), False),
        (USAGE + "mode = warn\n", image(), (), False),
        (USAGE + f"projects = {OTHER}\n", image(), (), False),
        (USAGE + f"projects = {PROJECT}\n", image(), (), True),
        (section(), image(), (), False),
    ],
)
def test_a_rule_that_counts_locks_the_project(
    tmp_path: Path, text: str, document: Any, roles: tuple[str, ...], is_locked: bool
) -> None:
    policy = load(tmp_path, text, exempt_roles="backup")
    context = build(policy, document, *roles)
    keys = context.find_locks(context.settings.limits)
    assert (keys.project is not None) is is_locked
    assert (keys == LockKeys()) is not is_locked


def test_each_rule_that_counts_locks_for_its_actions(tmp_path: Path) -> None:
    """Not the last one alone."""
    count = "usage.project >= 2"
    policy = load(
        tmp_path, section("a", deny=count, actions="createImage") + section("b", deny=count, actions="shelve")
    )
    assert policy.settings.own_locks == {"createImage", "shelve"}


@pytest.mark.parametrize("one_at_a_time", ["false", "true"])
def test_actions_that_one_limit_counts_exclude_each_other(tmp_path: Path, one_at_a_time: str) -> None:
    """Also where a rule of one's own is about one of them alone, and counts the whole project for it."""
    policy = load(tmp_path, USAGE, snapshots_per_server="1", one_at_a_time=one_at_a_time)
    locked = []
    for document in (image(), backup()):
        context = build(policy, document)
        keys = context.find_locks(context.settings.limits)
        locked.append({keys.server, keys.project} - {None})
    assert locked[0] & locked[1]


def test_a_rule_that_counts_stamps_images_and_reserves_keys(tmp_path: Path) -> None:
    policy = load(tmp_path, USAGE)
    assert policy.needs_locks
    assert policy.counts_images
    assert "imagefilter_server" in policy.settings.stamps
    assert judge(build(policy, image(metadata={"instance_uuid": "x"})), FakeLookups()).rule == "metadata-reserved"
    assert load(tmp_path, USAGE + "mode = off\n").settings.stamps == ()


def test_without_rules_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    assert len(load(tmp_path, "").rules) == len(load(tmp_path, section()).rules) - 1


def test_the_examples_load_together(tmp_path: Path) -> None:
    text = "\n".join(path.read_text() for path in sorted((ROOT / "etc/imagefilter/rules").glob("*.conf")))
    assert len(load(tmp_path, text).own_rules) == 7

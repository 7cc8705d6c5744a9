"""The stamps of an image: which there are, what they say, and that no client's metadata take their place."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

import pytest

from imagefilter.housekeeping.image import read_time
from imagefilter.policy.config import ConfigError
from imagefilter.policy.context import RequestContext, build_context
from imagefilter.policy.stamps import stamp
from imagefilter.request.action import ACTIONS, recognise
from imagefilter.request.identity import Identity
from imagefilter.rules.engine import judge
from imagefilter.rules.table import load_policy
from tests.cases import PROJECT, SERVER, backup, image
from tests.unit.rules.test_limits import FakeLookups
from tests.wsgi import build_environ

ALICE = Identity("alice", PROJECT, frozenset(), True, True, "", "req-1")
STRANGER = Identity(None, None, frozenset(), False, True, "", "")


def build(document: Any, identity: Identity = ALICE, **options: str) -> RequestContext:
    policy = load_policy({"audit_journal": "/journal", **options})
    environ = build_environ("POST", f"/v2.1/servers/{SERVER}/action", document)
    action = recognise(environ, environ["wsgi.input"].read(), {name: name.encode() for name in ACTIONS})
    assert action
    return build_context(action, identity, policy)


def stamps(document: Any, identity: Identity = ALICE, **options: str) -> dict[str, Any]:
    return stamp(build(document, identity, **options)) or {}


OWN = {"metadata_set": "made-by:{user_id},Source:nova"}
EVERY = "server:{server_id},project:{project_id},user:{user_id},request:{request_id},date:{date}"
NEEDED = {"imagefilter_server", "imagefilter_stamped", "imagefilter_record", "imagefilter_expires"}


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({}, set()),
        (OWN, {"made-by", "Source"}),
        ({"image_expires": "30d"}, NEEDED),
        ({"image_expires": "30d", **OWN}, NEEDED | {"made-by", "Source"}),
        ({"snapshots_per_server": "5", **OWN}, NEEDED | {"made-by", "Source"}),
    ],
)
@pytest.mark.parametrize("document", [image(), backup()])
def test_which_stamps_there_are(document: Any, options: dict[str, str], keys: set[str]) -> None:
    found = stamps(document, **options)
    assert found.keys() == keys
    for mode in ("warn", "off"):
        assert stamp(build(document, mode=mode, **options)) is None


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({"snapshots_per_server": "5", "rule_modes": "server-limit:enforce"}, NEEDED),
        ({"snapshots_per_project": "5", "rule_modes": "project-limit:enforce"}, NEEDED),
        ({"snapshots_in_progress": "5", "rule_modes": "progress-limit:enforce"}, NEEDED),
        ({"limits_source": "keystone", "identity_api_url": "http://k", "rule_modes": "server-limit:enforce"}, NEEDED),
        # not the limit that is set, no limit at all, or not a rule that counts
        ({"snapshots_per_server": "5", "rule_modes": "project-limit:enforce"}, set()),
        ({"rule_modes": "server-limit:enforce"}, set()),
        ({"snapshots_per_server": "5", "rule_modes": "name-format:enforce"}, set()),
        ({"snapshots_per_server": "5", "rule_modes": "limit-busy:enforce"}, set()),
    ],
)
def test_a_trial_stamps_what_a_limit_in_force_counts_by(options: dict[str, str], keys: set[str]) -> None:
    """Otherwise images of servers on volumes would never count, and the limit would refuse nothing of theirs."""
    assert stamps(image(), mode="warn", image_expires="30d", **OWN, **options).keys() == keys
    assert not stamps(image(), mode="off", image_expires="30d", **OWN, **options)


@pytest.mark.parametrize(("mode", "keys"), [("enforce", NEEDED), ("warn", set())])
def test_a_trial_stamps_what_an_own_rule_in_force_counts_by(tmp_path: Path, mode: str, keys: set[str]) -> None:
    pytest.importorskip("cel_expr_python")
    path = tmp_path / "imagefilter.conf"
    path.write_text(
        "[imagefilter]\nmode = warn\n"
        f"[imagefilter:rule:few]\ndeny = usage.project >= 3\nmode = {mode}\nactions = createImage\n"
    )
    assert stamps(image(), oslo_config_file=str(path)).keys() == keys


@pytest.mark.parametrize(
    "options",
    [
        {"snapshots_per_server": "5"},
        {"snapshots_per_server": "5", "mode": "warn", "rule_modes": "server-limit:enforce"},
        {"snapshots_per_server": "5", "image_expires": "1d", "mode": "warn", "rule_modes": "server-limit:enforce"},
    ],
)
def test_without_an_expiry_an_image_says_so(options: dict[str, str]) -> None:
    """Otherwise it has that of the image that its server was booted from, and another tenant may have set that."""
    expires = stamps(image(), **options)["imagefilter_expires"]
    assert expires == "never"
    assert read_time(expires) is None


def test_a_shelve_has_no_metadata() -> None:
    assert not stamps({"shelve": None}, actions="shelve", image_expires="30d", **OWN)


def test_the_fields() -> None:
    context = build(image(), metadata_set=EVERY)
    today = datetime.datetime.now(datetime.timezone.utc)
    found = stamp(context) or {}
    assert found.pop("date") in {day.strftime("%Y-%m-%d") for day in (today, today + datetime.timedelta(minutes=1))}
    assert found == {"server": SERVER, "project": PROJECT, "user": "alice", "request": "req-1"}
    context = build(image(), metadata_set="of:{record_id}")
    assert stamp(context) == {"of": context.record_id}


def test_times_are_in_utc_wherever_the_host_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        stamped = read_time(stamps(image(), image_expires="1d")["imagefilter_stamped"])
    finally:
        monkeypatch.undo()
        time.tzset()
    assert stamped
    assert abs(datetime.datetime.now(datetime.timezone.utc) - stamped) < datetime.timedelta(minutes=1)


def test_a_caller_of_whom_nothing_is_known() -> None:
    assert set(stamps(image(), STRANGER, metadata_set="a:{user_id},b:{request_id}").values()) == {"none"}


def test_an_administrator_in_another_project_is_stamped_as_who_he_is() -> None:
    root = ALICE._replace(user_id="root", project_id="f" * 32)
    assert stamps(image(), root, metadata_set="by:{user_id} of {project_id}") == {"by": f"root of {'f' * 32}"}


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("12h", 43200), ("30d", 2592000), ("4w", 2419200)])
def test_an_expiry_is_what_reap_reads(text: str, seconds: int) -> None:
    found = stamps(image(), image_expires=text)
    made, expires = read_time(found["imagefilter_stamped"]), read_time(found["imagefilter_expires"])
    assert made is not None and expires is not None  # noqa: PT018
    assert (expires - made).total_seconds() == seconds
    assert expires.utcoffset() == datetime.timedelta(0)


@pytest.mark.parametrize("text", ["30", "30 d", "30D", "d", "-1d", "1.5d", "10000d", "30days", "0d", "00h", "٣d", "1y"])
def test_an_expiry_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"image_expires = .* in the paste section: "):
        load_policy({"image_expires": text})


def test_an_expiry_at_once_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"paste section: each image would have expired when it is made$"):
        load_policy({"image_expires": "0d"})


def test_one_project_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "imagefilter.conf"
    path.write_text(
        "[imagefilter]\nimage_expires = 30d\nmetadata_set = a:x\n"
        f"[imagefilter:project:{PROJECT}]\nimage_expires =\nmetadata_set = b:y\n"
    )
    assert stamps(image(), oslo_config_file=str(path)) == {"b": "y"}
    other = ALICE._replace(project_id="f" * 32)
    assert stamps(image(), other, oslo_config_file=str(path)).keys() == NEEDED | {"a"}


# --- a client's own


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("made-by", OWN),
        ("MADE-BY", OWN),
        ("source", OWN),
        ("Söurce", OWN),
        (" Source", OWN),
        ("imagefilter_expires", {"image_expires": "1d"}),
        ("ImageFilter_Expires ", {"image_expires": "1d"}),
        ("imagefilter_stamped", {"image_expires": "1d"}),
        ("instance_uuid", {"image_expires": "1d"}),  # reap keeps an image that says it is of another server
    ],
)
def test_a_client_may_not_set_them(key: str, options: dict[str, str]) -> None:
    document = image(metadata={key: "mine"})
    refused = judge(build(document, **options), FakeLookups())
    assert (refused.decision, refused.rule, refused.status) == ("deny", "metadata-reserved", 403)
    assert judge(build(document), FakeLookups()).decision == "allow", "without the option it is free"
    tried = judge(build(document, mode="warn", **options), FakeLookups())
    assert (tried.decision, tried.rule) == ("would_deny", "metadata-reserved")
    if not key.startswith("instance"):
        found = stamps(document, rule_modes="metadata-reserved:off", **options)
        assert "mine" not in found.values(), "the stamp wins"


def test_the_clients_other_metadata_stay() -> None:
    assert stamps(image(metadata={"team": "blue", "": "x"}), **OWN) == {
        "team": "blue",
        "": "x",
        "made-by": "alice",
        "Source": "nova",
    }


def test_they_do_not_count_against_the_clients_quota() -> None:
    document = image(metadata={"a": "1", "b": "2"})
    options = {"metadata_items": "2", "image_expires": "1d", **OWN}
    assert judge(build(document, **options), FakeLookups()).decision == "allow"


@pytest.mark.parametrize(("count", "decision"), [(112, "allow"), (113, "deny")])
def test_all_of_them_together_are_no_more_than_glance_takes(count: int, decision: str) -> None:
    """Six stamps, and 112 items of the client's: 118."""
    document = image(metadata={f"key{number}": "v" for number in range(count)})
    verdict = judge(build(document, image_expires="1d", **OWN), FakeLookups())
    assert verdict.decision == decision
    if decision == "deny":
        assert (verdict.rule, verdict.limit, verdict.usage) == ("metadata-quota", 112, 113)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"exempt_roles": "backup"},
        {"rule_modes": "metadata-quota:off"},
        {"rule_modes": "metadata-quota:warn"},
    ],
)
@pytest.mark.parametrize(("count", "is_refused"), [(114, False), (115, True)])
def test_all_of_them_together_fit_whatever_the_quota_is(options: dict[str, str], count: int, is_refused: bool) -> None:
    """For nobody does Nova respond 500 because of the stamps."""
    service = ALICE._replace(roles=frozenset(("backup",)))
    document = image(metadata={f"key{number}": "v" for number in range(count)})
    context = build(document, service, image_expires="1d", **{"metadata_items": "-1", **options})
    verdict = judge(context, FakeLookups())
    assert (verdict.decision == "deny") is is_refused
    if is_refused:
        assert (verdict.rule, verdict.status, verdict.limit) == ("metadata-quota", 403, 114)
        assert (verdict.message, verdict.usage) == ("Image metadata limit exceeded", count)


def test_a_quota_that_nobody_knows_makes_no_more_room() -> None:
    document = image(metadata={f"key{number}": "v" for number in range(115)})
    context = build(document, image_expires="1d", metadata_items_source="compute", lookup_on_error="allow")
    assert judge(context, FakeLookups()).rule == "metadata-quota"

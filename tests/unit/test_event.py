"""Records: valid CADF, with all that an auditor asks for, bounded, and without secrets."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import socket
import types
import uuid
import warnings
from pathlib import Path
from typing import Any

import pytest
from pycadf import attachment, event, host, reason, resource

from imagefilter import filter_factory
from imagefilter.event import METADATA_BYTES, TEXT_LENGTH
from tests.cases import CASES, PROJECT, SERVER, Case, backup, image, items
from tests.requests import environ_of, send
from tests.unit.small import PATH, VOUCHED, Guarded

AUTH_TOKEN = {
    "keystone.token_auth": object(),
    "nova.context": None,
    "HTTP_X_USER_ID": "b1946ac92492d2347c6235b4d2611184",
    "HTTP_X_USER_NAME": "alice",
    "HTTP_X_USER_DOMAIN_NAME": "Default",
    "HTTP_X_PROJECT_ID": PROJECT,
    "HTTP_X_PROJECT_NAME": "web",
    "HTTP_X_PROJECT_DOMAIN_ID": "default",
    "HTTP_X_ROLES": "Member,reader",
}


class Journalled(Guarded):
    """The filter in front of a small compute API, with a journal."""

    def __init__(self, folder: Path, **options: str) -> None:
        self.path = folder / "audit.jsonl"
        super().__init__(audit_journal=str(self.path), **options)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []


@pytest.fixture
def guarded(tmp_path: Path) -> Journalled:
    return Journalled(tmp_path)


def ours(record: dict[str, Any]) -> dict[str, Any]:
    [attached] = record["attachments"]
    assert attached["name"] == "imagefilter"
    content: dict[str, Any] = attached["content"]
    return content


def assert_cadf(record: dict[str, Any]) -> None:
    """By DSP0262 1.0.0, tables 4, 8 and 9 (event, reason, resource), and by pycadf's own model."""
    assert record["typeURI"] == "http://schemas.dmtf.org/cloud/audit/1.0/event"
    assert record["eventType"] in ("activity", "control")
    assert record["outcome"] in ("success", "failure", "unknown")
    assert re.match("(evaluate|create|backup|capture)(/|$)", record["action"])
    assert datetime.datetime.fromisoformat(record["eventTime"]).tzinfo is not None
    for role, type_uri in (("initiator", "service/security/account/user"), ("target", "compute/server")):
        assert record[role]["typeURI"] == type_uri
    made = event.Event(
        **{key: record[key] for key in ("eventType", "id", "eventTime", "action", "outcome")},
        **{role: as_resource(record[role]) for role in ("initiator", "target", "observer")},
        reason=reason.Reason(**record["reason"]),
    )
    for each in record["attachments"]:
        made.add_attachment(attachment.Attachment(**each))
    assert made.is_valid()
    assert {**made.as_dict(), "initiator": 0, "target": 0} == {**record, "initiator": 0, "target": 0}


def as_resource(record: dict[str, Any]) -> resource.Resource:
    known = {key: record[key] for key in ("id", "typeURI", "name", "domain") if key in record}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ids that are no UUIDs
        made = resource.Resource(**known, **({"host": host.Host(**record["host"])} if "host" in record else {}))
    assert made.is_valid()
    return made


def test_a_verdict_and_an_answer(guarded: Journalled) -> None:
    environ = {**AUTH_TOKEN, "openstack.request_id": "req-1", "openstack.global_request_id": "req-2"}
    guarded.post(
        image(metadata={"a": "b"}), **environ, HTTP_USER_AGENT="openstacksdk/4.22", HTTP_X_FORWARDED_FOR="10.0.0.1"
    )
    verdict, answer = guarded.records()
    for record in (verdict, answer):
        assert_cadf(record)
        assert record["initiator"] == {
            "id": AUTH_TOKEN["HTTP_X_USER_ID"],
            "typeURI": "service/security/account/user",
            "name": "alice",
            "domain": "Default",
            "host": {"address": "203.0.113.7", "agent": "openstacksdk/4.22"},
            "vouched": True,
            "project_id": PROJECT,
            "user_domain_name": "Default",
            "project_name": "web",
            "project_domain_id": "default",
            "roles": ["member", "reader"],
            "request_id": "req-1",
            "global_request_id": "req-2",
            "forwarded_for": "10.0.0.1",
        }
        assert record["target"]["id"] == SERVER
        assert record["observer"] == {
            "id": str(uuid.uuid5(uuid.NAMESPACE_DNS, socket.gethostname())),
            "typeURI": "service/security/audit/filter",
            "name": "imagefilter",
            "host": {"address": socket.gethostname()},
        }
    assert (verdict["eventType"], verdict["action"], verdict["outcome"]) == ("control", "evaluate", "success")
    assert verdict["reason"] == {"policyType": "imagefilter", "policyId": "allow"}
    assert ours(verdict) == {
        **dict.fromkeys(("rule", "status", "message", "limit", "usage")),
        "verdict": "allow",
        "action": "createImage",
        "project_id": PROJECT,
        "mode": "enforce",
        "method": "POST",
        "path": PATH,
        "media_type": "application/json",
        "image_name": "nightly",
        "metadata_count": 1,
        "metadata_keys": ["a"],
    }
    assert (answer["eventType"], answer["action"], answer["outcome"]) == ("activity", "create/image", "success")
    assert answer["reason"] == {"reasonType": "HTTP", "reasonCode": "202"}
    assert ours(answer)["verdict_id"] == verdict["id"] != answer["id"]
    assert ours(answer)["seconds"] >= 0


def test_a_refusal_says_why(guarded: Journalled) -> None:
    guarded.post(image(metadata=items(129)))
    [record] = guarded.records()
    assert_cadf(record)
    assert record["outcome"] == "failure"
    assert record["reason"] == {
        "reasonType": "HTTP",
        "reasonCode": "403",
        "policyType": "imagefilter",
        "policyId": "metadata-quota",
    }
    content = ours(record)
    assert (content["verdict"], content["rule"], content["status"]) == ("deny", "metadata-quota", 403)
    assert (content["message"], content["limit"], content["usage"]) == ("Image metadata limit exceeded", 128, 129)


@pytest.mark.parametrize(
    ("options", "verdict", "mode"),
    [
        ({"mode": "warn"}, "would deny", "warn"),
        ({"rule_modes": "snapshots-enabled:warn"}, "would deny", "warn"),
        ({"mode": "off"}, "allow", "off"),
        ({"exempt_roles": "member"}, "exempt", "enforce"),
        ({}, "deny", "enforce"),
    ],
)
def test_each_verdict_with_its_mode(tmp_path: Path, options: dict[str, str], verdict: str, mode: str) -> None:
    guarded = Journalled(tmp_path, snapshots_enabled="false", **options)
    guarded.post(image())
    records = guarded.records()
    assert (ours(records[0])["verdict"], ours(records[0])["mode"]) == (verdict, mode)
    assert len(records) == (1 if verdict == "deny" else 2)


@pytest.mark.parametrize(
    ("document", "action"),
    [(image(), "create/image"), (backup(), "backup/image"), ({"shelve": None}, "capture/image")],
)
def test_each_action(tmp_path: Path, document: Any, action: str) -> None:
    guarded = Journalled(tmp_path, actions="createImage,createBackup,shelve")
    guarded.post(document)
    assert [record["action"] for record in guarded.records()] == ["evaluate", action]


def test_what_is_not_judged_is_not_recorded(guarded: Journalled) -> None:
    guarded.post({"shelve": None})
    guarded.post({"reboot": {"type": "HARD"}})
    guarded.send("GET", "/v2.1/servers", b"")
    assert guarded.records() == []


def test_a_bare_401_is_not_recorded(guarded: Journalled) -> None:
    """Or strangers could fill the disk."""
    response = send(guarded.app, "POST", PATH, image())
    assert response.status_int == 401
    assert guarded.records() == []


def test_a_caller_of_whom_little_is_known(guarded: Journalled) -> None:
    guarded.post(image(), **{"nova.context": None, "HTTP_X_AUTH_TOKEN": "secret-token", "REMOTE_ADDR": None})
    for record in guarded.records():
        assert record["initiator"] == {
            "id": "unknown",
            "typeURI": "service/security/account/user",
            "host": {"address": "", "agent": ""},
            "vouched": False,
        }


def test_no_answer_at_all(tmp_path: Path) -> None:
    """A server that gives an answer up before it has begun."""
    path = tmp_path / "audit.jsonl"
    app = filter_factory({}, audit_journal=str(path))(lambda environ, start_response: iter([b""]))
    app(environ_of("POST", PATH, image(), **VOUCHED), None).close()
    answer = json.loads(path.read_text().splitlines()[1])
    assert (answer["outcome"], answer["reason"]["reasonCode"]) == ("unknown", "none")
    content = answer["attachments"][0]["content"]
    assert (content["status"], content["image_id"], content["seconds"], content["error"]) == (None, None, 0, None)


def test_names_are_believed_like_the_ids(guarded: Journalled) -> None:
    forged = {key: value for key, value in AUTH_TOKEN.items() if key.startswith("HTTP_")}
    guarded.post(image(), **forged)  # vouched for by Nova's context alone
    guarded.post(image(), **{**forged, "nova.context": None}, HTTP_X_AUTH_TOKEN="secret-token")
    vouched, _, unvouched, _ = guarded.records()
    assert "name" not in vouched["initiator"]
    assert "claims" not in vouched["initiator"]
    assert (vouched["initiator"]["id"], vouched["initiator"]["vouched"]) == ("alice", True)
    assert (unvouched["initiator"]["id"], unvouched["initiator"]["vouched"]) == ("unknown", False)
    assert unvouched["initiator"]["claims"] == {
        "user_id": AUTH_TOKEN["HTTP_X_USER_ID"],
        "project_id": PROJECT,
        "roles": "Member,reader",
        "user_name": "alice",
        "user_domain_name": "Default",
        "project_name": "web",
        "project_domain_id": "default",
    }
    assert "roles" not in unvouched["initiator"]


def test_of_two_identities_the_one_that_is_judged_is_named(guarded: Journalled) -> None:
    guarded.post(
        image(), **{**AUTH_TOKEN, "nova.context": types.SimpleNamespace(user_id="bob", project_id="1", roles=[])}
    )
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


@pytest.mark.parametrize("server_id", ["target", "initiator", "observer", "default", "a\nb", "%c3%a9"])
def test_no_server_id_can_keep_a_request_out_of_the_journal(guarded: Journalled, server_id: str) -> None:
    """To pycadf "target" and "initiator" are no ids: an event that holds them is none."""
    assert guarded.post(image(), f"/v2.1/servers/{server_id}/action").status_int in (202, 404, 400)
    records = guarded.records()
    assert records
    for record in records:
        assert_cadf(record)


def test_ids_that_are_no_uuids_warn_nobody(guarded: Journalled) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guarded.post(image(), "/v2.1/servers/no-uuid/action")
    assert guarded.records()[0]["target"]["id"] == "no-uuid"


def test_metadata_as_the_operator_wants(tmp_path: Path) -> None:
    document = image(metadata={"a": "secret", "b": 5, "c": None})
    expected = {
        "none": {"metadata_count": 3},
        "keys": {"metadata_count": 3, "metadata_keys": ["a", "b", "c"]},
        "full": {"metadata_count": 3, "metadata": {"a": "secret", "b": {"type": "a number"}, "c": {"type": "null"}}},
    }
    for option, content in expected.items():
        guarded = Journalled(tmp_path, audit_metadata=option)
        guarded.post(document)
        recorded = ours(guarded.records()[-1])
        assert {key: value for key, value in recorded.items() if key.startswith("metadata")} == content


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (image(name=12), {"image_name": "12"}),
        (image(name=-1), {"image_name": None, "image_name_type": "a number"}),
        (image(name=["x"]), {"image_name": None, "image_name_type": "a list"}),
        ({"createImage": {}}, {"image_name": None}),
        (image(metadata=[1]), {"image_name": "nightly", "metadata_type": "a list"}),
        (b"{", {"action": None, "rule": "body"}),
        ({"createImage": None}, {"action": "createImage", "rule": "body"}),
    ],
)
def test_odd_requests(guarded: Journalled, document: Any, expected: dict[str, Any]) -> None:
    guarded.post(document)
    content = ours(guarded.records()[0])
    assert {key: content[key] for key in expected} == expected


HUGE = 65536


ALWAYS, KEYS, FULL = ("none", "keys", "full"), ("keys", "full"), ("full",)
LONG_IDS = {
    name: value if name == "keystone.token_auth" or not value else "\xe9" * HUGE for name, value in AUTH_TOKEN.items()
}
MANY_ROLES = {**AUTH_TOKEN, "HTTP_X_ROLES": ",".join(f"role{n}" * 99 for n in range(999))}


@pytest.mark.parametrize("audit_metadata", ["keys", "full", "none"])
@pytest.mark.parametrize(
    ("cut_with", "document", "more"),
    [
        (ALWAYS, image(name="x" * HUGE), {}),
        (ALWAYS, image(name="\U0001f5bc" * 20000), {}),
        (KEYS, image(metadata={"k" * HUGE: "v"}), {}),
        (FULL, image(metadata={"k": "v" * HUGE}), {}),
        (KEYS, image(metadata={f"key{n:06}": "v" for n in range(7000)}), {}),
        (KEYS, image(metadata={f"{n:0300}": "v" for n in range(300)}), {}),
        ((), image(metadata={"k": ["x" * HUGE]}), {}),
        (ALWAYS, image(), {"HTTP_USER_AGENT": "\xe9" * HUGE, "HTTP_X_FORWARDED_FOR": "1" * HUGE}),
        (ALWAYS, image(), {"REMOTE_ADDR": "r" * HUGE}),
        (ALWAYS, image(), {"CONTENT_TYPE": "x" * HUGE, "openstack.global_request_id": "g" * HUGE}),
        (ALWAYS, image(), {"REQUEST_METHOD": "P" * HUGE, "PATH_INFO": "/p" * HUGE}),
        (ALWAYS, image(), LONG_IDS),
        (ALWAYS, image(), MANY_ROLES),
    ],
)
def test_no_request_writes_an_endless_record(
    tmp_path: Path, cut_with: tuple[str, ...], document: Any, more: dict[str, Any], audit_metadata: str
) -> None:
    guarded = Journalled(tmp_path, audit_metadata=audit_metadata, max_body_bytes="999999")
    guarded.post(document, **more)
    for record in guarded.records():
        assert len(json.dumps(record)) < METADATA_BYTES + 20 * TEXT_LENGTH * len("\\u00e9")
    assert ("cut" in ours(guarded.records()[0])) == (audit_metadata in cut_with), "what was cut is said"


NAMES = {
    "user_name": "HTTP_X_USER_NAME",
    "user_domain_id": "HTTP_X_USER_DOMAIN_ID",
    "user_domain_name": "HTTP_X_USER_DOMAIN_NAME",
    "project_name": "HTTP_X_PROJECT_NAME",
    "project_domain_id": "HTTP_X_PROJECT_DOMAIN_ID",
    "project_domain_name": "HTTP_X_PROJECT_DOMAIN_NAME",
}
IDS = {"user_id": "HTTP_X_USER_ID", "project_id": "HTTP_X_PROJECT_ID", "roles": "HTTP_X_ROLES"}
CONNECTION = {
    "HTTP_USER_AGENT": "agent",
    "HTTP_X_FORWARDED_FOR": "forwarded_for",
    "REMOTE_ADDR": "address",
    "openstack.request_id": "request_id",
    "openstack.global_request_id": "global_request_id",
}


def of_length(length: int, vouched: bool) -> tuple[Any, str, dict[str, str]]:
    """A request in which all that a record may hold has one length: document, target, environ."""
    texts = [*NAMES.values(), *IDS.values(), *CONNECTION]
    environ = {**dict.fromkeys(texts, "x" * length), "REQUEST_METHOD": "P" * length}
    environ["CONTENT_TYPE"] = "application/" + "x" * (length - len("application/"))
    environ["nova.context"] = None
    environ.update({"keystone.token_auth": object()} if vouched else {"HTTP_X_AUTH_TOKEN": "secret"})
    target = "/v2.1/{}/servers/{}/action".format("0" * length, "s" * length)
    return image("n" * length, {"k" * length: "v" * length}), target, environ


@pytest.mark.parametrize("vouched", [True, False])
def test_what_was_cut_is_said_by_its_name(tmp_path: Path, vouched: bool) -> None:
    guarded = Journalled(tmp_path, audit_metadata="full")
    guarded.post(*of_length(TEXT_LENGTH + 1, vouched)[:2], **of_length(TEXT_LENGTH + 1, vouched)[2])
    [record, *_] = guarded.records()
    whose = [*NAMES, "user_id"] if vouched else [f"claimed {name}" for name in (*IDS, *NAMES)]
    expected = [*whose, "role"] if vouched else whose
    what = ["method", "media_type", "image_name", "a metadata key", "a metadata value", "server_id", "project_id"]
    known = [f"{each}: 256 characters" for each in (*what, *expected, *CONNECTION.values(), "the URL's project_id")]
    path = f"path: {len(of_length(TEXT_LENGTH + 1, vouched)[1])} characters"
    assert sorted(ours(record)["cut"]) == sorted([*known, path])
    assert max(map(len, texts_of(record))) == TEXT_LENGTH


def test_what_is_as_long_as_may_be_is_not_cut(tmp_path: Path) -> None:
    guarded = Journalled(tmp_path, audit_metadata="full")
    document, target, environ = of_length(TEXT_LENGTH, vouched=True)
    guarded.post(document, target, **environ)
    record = guarded.records()[0]
    assert ours(record)["cut"] == [f"path: {len(target)} characters"]


def texts_of(record: Any) -> list[str]:
    """All texts in a record, but for what it says of itself."""
    if isinstance(record, dict):
        return [text for key, value in record.items() if key != "cut" for text in (key, *texts_of(value))]
    return [text for item in record for text in texts_of(item)] if isinstance(record, list) else [str(record)]


@pytest.mark.parametrize(("roles", "cut"), [(50, None), (51, ["roles: 51"])])
def test_fifty_roles_are_named(guarded: Journalled, roles: int, cut: list[str] | None) -> None:
    guarded.post(image(), **{**AUTH_TOKEN, "HTTP_X_ROLES": ",".join(f"r{n:02}" for n in range(roles))})
    record = guarded.records()[0]
    assert record["initiator"]["roles"] == [f"r{n:02}" for n in range(50)]
    assert ours(record).get("cut") == cut


@pytest.mark.parametrize(("value", "fits"), [("v" * 62, True), ("v" * 63, False)])
def test_metadata_that_fill_a_record_to_the_last_byte(tmp_path: Path, value: str, fits: bool) -> None:
    """64 items of 256 bytes each as JSON."""
    guarded = Journalled(tmp_path, audit_metadata="full")
    metadata = {f"{n:02}" + "k" * 184: "v" * 62 for n in range(63)}
    assert len(json.dumps(next(iter(metadata.items())))) == METADATA_BYTES // 64
    guarded.post(image(metadata={**metadata, "zz" + "k" * 184: value}))
    content = ours(guarded.records()[0])
    assert len(content["metadata"]) == 63 + fits
    assert content.get("cut") == (None if fits else ["metadata: 64 items"])


def test_a_record_names_the_prefix_of_the_path(guarded: Journalled) -> None:
    guarded.post(image(), SCRIPT_NAME="/compute")
    guarded.post(image(), "/", SCRIPT_NAME=PATH)
    guarded.post(image(), SCRIPT_NAME=None)
    guarded.post(image(), SCRIPT_NAME=PATH, PATH_INFO=None)
    paths = [ours(record)["path"] for record in guarded.records() if record["eventType"] == "control"]
    assert paths == [f"/compute{PATH}", f"{PATH}/", PATH, PATH]


def test_nothing_that_a_client_makes_up_is_recorded_of_a_shelve(tmp_path: Path) -> None:
    guarded = Journalled(tmp_path, actions="shelve")
    guarded.post({"shelve": {"name": "innocent", "metadata": {"forged": "x"}}})
    for record in guarded.records():
        assert "innocent" not in json.dumps(record)
        assert "forged" not in json.dumps(record)


@pytest.mark.parametrize("spelled", [SERVER.upper(), SERVER.replace("-", ""), f"{{{SERVER}}}", f"urn:uuid:{SERVER}"])
def test_a_server_is_named_in_one_way(guarded: Journalled, spelled: str) -> None:
    path = f"/v2.1/servers/{spelled}/action"
    guarded.post(image(), PATH_INFO=path)
    assert [record["target"]["id"] for record in guarded.records()] == [SERVER] * 2
    assert ours(guarded.records()[0])["path"] == path


def test_a_project_of_the_url(guarded: Journalled) -> None:
    guarded.post(image(), f"/v2.1/{PROJECT}/servers/{SERVER}/action")
    assert guarded.records()[0]["target"] == {"id": SERVER, "typeURI": "compute/server", "project_id": PROJECT}


def test_the_mode_is_the_projects(tmp_path: Path) -> None:
    """``verdict`` without a rule: the mode of the project that is judged, not the one of all others."""
    file = tmp_path / "policy.conf"
    file.write_text(f"[imagefilter:project:{PROJECT}]\nmode = warn\n")
    guarded = Journalled(tmp_path, oslo_config_file=str(file))
    guarded.post(image())
    assert ours(guarded.records()[0])["mode"] == "warn"


def test_roles_are_exempt_by_the_projects_section(tmp_path: Path) -> None:
    file = tmp_path / "policy.conf"
    file.write_text(f"[imagefilter:project:{PROJECT}]\nexempt_roles = member\n")
    guarded = Journalled(tmp_path, oslo_config_file=str(file))
    guarded.post(image())
    assert ours(guarded.records()[0])["verdict"] == "exempt"


def test_ids_and_times_are_ours(guarded: Journalled) -> None:
    """Of one form, so that times compare as texts; pycadf's own would differ with its release and its options."""
    guarded.post(image())
    for record in guarded.records():
        assert uuid.UUID(record["id"]).version == 4
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", record["eventTime"])


def test_a_line_is_as_short_as_json_can_be(guarded: Journalled) -> None:
    guarded.post(json.dumps(image(name="half \ud83d")).encode())
    guarded.post(image())
    for line in guarded.path.read_text().splitlines():
        assert line == json.dumps(json.loads(line), separators=(",", ":"))


class Failing:
    """A compute API that answers with a status, or not at all."""

    def __init__(self, status: str) -> None:
        self.status = status

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if not self.status:
            raise LookupError("secret")
        start_response(self.status, [("Content-Length", "0")])
        return [b""]


@pytest.mark.parametrize(
    ("status", "outcome", "code"), [("399 Odd", "success", "399"), ("400 Bad", "failure", "400"), ("", "failure", None)]
)
def test_what_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, outcome: str, code: str | None
) -> None:
    clock = types.SimpleNamespace(monotonic=iter((10.0, 11.23456789)).__next__)
    monkeypatch.setattr("imagefilter.answer.time", clock)
    path = tmp_path / "audit.jsonl"
    app = filter_factory({}, audit_journal=str(path))(Failing(status))
    with contextlib.suppress(LookupError):
        send(app, "POST", PATH, image(), None, **VOUCHED)
    answer = json.loads(path.read_text().splitlines()[1])
    assert answer["outcome"] == outcome
    exception = {"reasonType": "exception", "reasonCode": "LookupError"}
    assert answer["reason"] == (exception if code is None else {"reasonType": "HTTP", "reasonCode": code})
    [attached] = answer["attachments"]
    assert attached["typeURI"] == "mime:application/json"
    content = attached["content"]
    assert (content["action"], content["image_name"]) == ("createImage", "nightly")
    assert content["seconds"] == (1.234568 if status else 0)


@pytest.mark.parametrize("audit_metadata", ["keys", "none"])
def test_no_secret_of_the_whole_case_table_is_recorded(tmp_path: Path, audit_metadata: str) -> None:
    guarded = Journalled(tmp_path, audit_metadata=audit_metadata)
    for case in CASES:
        token = {"HTTP_X_AUTH_TOKEN": "s3cr3t-token", "HTTP_X_SERVICE_TOKEN": "s3cr3t-service", "HTTP_COOKIE": "s3cr3t"}
        guarded.post(secret(case), case.path.format(server=SERVER) + "?token=s3cr3t", **token)
    text = guarded.path.read_text()
    assert len(text.splitlines()) > len(CASES), "nearly all are recorded, many with an answer"
    assert "s3cr3t" not in text


def secret(case: Case) -> Any:
    """The case's document, with every text among the metadata's values made a secret."""
    document = case.document
    if isinstance(document, bytes) or not isinstance(document, dict):
        return document
    entity = next(iter(document.values()), None)
    if not isinstance(entity, dict) or not isinstance(entity.get("metadata"), dict):
        return document
    metadata = {key: hidden(value) for key, value in entity["metadata"].items()}
    return {kind: {**entity, "metadata": metadata} for kind in document}


def hidden(value: Any) -> Any:
    return f"s3cr3t{value}" if isinstance(value, str) else ["s3cr3t", value] if isinstance(value, list) else value


@pytest.mark.parametrize("audit_metadata", ["keys", "full"])
def test_half_a_surrogate_pair_hides_no_record(tmp_path: Path, audit_metadata: str) -> None:
    """Python's JSON reads and writes half a pair; strict readers (DuckDB, jq, …) refuse the whole line."""
    guarded = Journalled(tmp_path, audit_metadata=audit_metadata)
    for name in ("half \ud83d", "\udca5 half", "whole \U0001f4a5", "\\ud83d"):
        guarded.post(json.dumps(image(name, {f"k{name}": f"v{name}"})).encode())
        guarded.post(json.dumps(image(name, {f"k{name}": 5})).encode())
    for line in guarded.path.read_bytes().splitlines():
        json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8")
    names = [ours(record)["image_name"] for record in guarded.records()[::3]]
    assert names == ["half \ufffd\ufffd\ufffd", "\ufffd\ufffd\ufffd half", "whole \U0001f4a5", "\\ud83d"]
    assert len(guarded.records()) == 12

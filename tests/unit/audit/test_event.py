"""Records are valid CADF, with all that an auditor asks for."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
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
from tests.cases import PROJECT, SERVER, backup, image, items
from tests.records import parse_requests
from tests.unit.fakes import AUTHENTICATED, PATH, Journalled, get_content
from tests.wsgi import build_environ, send


def assert_cadf(record: dict[str, Any]) -> None:
    """Check a record by DSP0262 1.0.0, tables 4, 8 and 9 (event, reason, resource), and by pycadf's own model."""
    assert record["typeURI"] == "http://schemas.dmtf.org/cloud/audit/1.0/event"
    assert record["eventType"] in ("activity", "control")
    assert record["outcome"] in ("success", "failure", "unknown")
    assert re.match("(evaluate|create|backup|capture)(/|$)", record["action"])
    assert datetime.datetime.fromisoformat(record["eventTime"]).tzinfo is not None
    assert record["initiator"]["typeURI"] == "service/security/account/user"
    assert record["target"]["typeURI"] == "compute/server"
    rebuilt = event.Event(
        eventType=record["eventType"],
        id=record["id"],
        eventTime=record["eventTime"],
        action=record["action"],
        outcome=record["outcome"],
        initiator=as_resource(record["initiator"]),
        target=as_resource(record["target"]),
        observer=as_resource(record["observer"]),
        reason=reason.Reason(**record["reason"]),
    )
    for attached in record["attachments"]:
        rebuilt.add_attachment(attachment.Attachment(**attached))
    for text in record["tags"]:
        rebuilt.add_tag(text)
    rebuilt.requestPath = record["requestPath"]
    assert rebuilt.is_valid()
    assert {**rebuilt.as_dict(), "initiator": 0, "target": 0} == {**record, "initiator": 0, "target": 0}


def as_resource(record: dict[str, Any]) -> resource.Resource:
    known = {key: record[key] for key in ("id", "typeURI", "name", "domain") if key in record}
    if "host" in record:
        known["host"] = host.Host(**record["host"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ids that are not UUIDs
        rebuilt = resource.Resource(**known)
    assert rebuilt.is_valid()
    return rebuilt


# --- what a record contains


def test_a_verdict(guarded: Journalled) -> None:
    guarded.post(image(metadata={"a": "b"}))
    verdict = guarded.records()[0]
    assert_cadf(verdict)
    assert (verdict["eventType"], verdict["action"], verdict["outcome"]) == ("control", "evaluate", "success")
    assert verdict["reason"] == {"policyType": "imagefilter", "policyId": "allow"}
    content = get_content(verdict)
    assert re.fullmatch("[0-9a-f]{16}", content.pop("policy_digest"))
    assert content == {
        "verdict": "allow",
        "pid": os.getpid(),
        "action": "createImage",
        "project_id": PROJECT,
        "rule": None,
        "status": None,
        "message": None,
        "mode": "enforce",
        "limit": None,
        "usage": None,
        "method": "POST",
        "path": PATH,
        "media_type": "application/json",
        "image_name": "nightly",
        "metadata_count": 1,
        "metadata_keys": ["a"],
    }


def test_an_outcome(guarded: Journalled) -> None:
    guarded.post(image(metadata={"a": "b"}))
    verdict, outcome = guarded.records()
    assert_cadf(outcome)
    assert (outcome["eventType"], outcome["action"], outcome["outcome"]) == ("activity", "create/image", "success")
    assert outcome["reason"] == {"reasonType": "HTTP", "reasonCode": "202"}
    content = get_content(outcome)
    assert content["verdict_id"] == verdict["id"] != outcome["id"]
    assert content.pop("seconds") >= 0
    assert content == {
        "verdict_id": verdict["id"],
        "pid": os.getpid(),
        "action": "createImage",
        "status": 202,
        "image_id": None,
        "image_name": "nightly",
        "error": None,
    }


def test_each_record_names_the_server_and_the_filter(guarded: Journalled) -> None:
    guarded.post(image())
    for record in guarded.records():
        assert record["target"]["id"] == SERVER
        assert record["observer"] == {
            "id": str(uuid.uuid5(uuid.NAMESPACE_DNS, socket.gethostname())),
            "typeURI": "service/security/audit/filter",
            "name": "imagefilter",
            "host": {"address": socket.gethostname()},
        }


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
    content = get_content(record)
    assert (content["verdict"], content["rule"], content["status"]) == ("deny", "metadata-quota", 403)
    assert (content["message"], content["limit"], content["usage"]) == ("Image metadata limit exceeded", 128, 129)


@pytest.mark.parametrize(
    ("options", "verdict", "mode", "records"),
    [
        ({"mode": "warn"}, "would_deny", "warn", 2),
        ({"rule_modes": "snapshots-enabled:warn"}, "would_deny", "warn", 2),
        ({"mode": "off"}, "allow", "off", 2),
        ({"exempt_roles": "member"}, "exempt", "enforce", 2),
        ({}, "deny", "enforce", 1),
    ],
)
def test_each_verdict_with_its_mode(
    tmp_path: Path, options: dict[str, str], verdict: str, mode: str, records: int
) -> None:
    guarded = Journalled(tmp_path, snapshots_enabled="false", **options)
    guarded.post(image())
    contents = guarded.contents()
    assert (contents[0]["verdict"], contents[0]["mode"]) == (verdict, mode)
    assert len(contents) == records


@pytest.mark.parametrize(
    ("document", "action"),
    [(image(), "create/image"), (backup(), "backup/image"), ({"shelve": None}, "capture/image")],
)
def test_each_action(tmp_path: Path, document: Any, action: str) -> None:
    guarded = Journalled(tmp_path, actions="createImage,createBackup,shelve")
    guarded.post(document)
    assert [record["action"] for record in guarded.records()] == ["evaluate", action]


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
    content = guarded.contents()[0]
    assert {key: content[key] for key in expected} == expected


RECORDED_METADATA = [
    {"key": "a", "value": "secret"},
    {"key": "b", "value": "", "type": "a number"},
    {"key": "c", "value": "", "type": "null"},
]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("none", {"metadata_count": 3}),
        ("keys", {"metadata_count": 3, "metadata_keys": ["a", "b", "c"]}),
        ("full", {"metadata_count": 3, "metadata": RECORDED_METADATA}),
    ],
)
def test_a_record_has_the_metadata_that_the_operator_wants(
    tmp_path: Path, option: str, expected: dict[str, Any]
) -> None:
    guarded = Journalled(tmp_path, audit_metadata=option)
    guarded.post(image(metadata={"a": "secret", "b": 5, "c": None}))
    [content] = guarded.contents()
    assert {key: value for key, value in content.items() if key.startswith("metadata")} == expected


def test_a_record_names_the_prefix_of_the_path(guarded: Journalled) -> None:
    guarded.post(image(), SCRIPT_NAME="/compute")
    guarded.post(image(), "/", SCRIPT_NAME=PATH)
    guarded.post(image(), SCRIPT_NAME=None)
    guarded.post(image(), SCRIPT_NAME=PATH, PATH_INFO=None)
    paths = [content["path"] for content in guarded.contents() if "verdict" in content]
    assert paths == [f"/compute{PATH}", f"{PATH}/", PATH, PATH]


@pytest.mark.parametrize("spelled", [SERVER.upper(), SERVER.replace("-", ""), f"{{{SERVER}}}", f"urn:uuid:{SERVER}"])
def test_a_server_is_named_in_one_way(guarded: Journalled, spelled: str) -> None:
    path = f"/v2.1/servers/{spelled}/action"
    guarded.post(image(), PATH_INFO=path)
    assert [record["target"]["id"] for record in guarded.records()] == [SERVER] * 2
    assert guarded.contents()[0]["path"] == path


def test_a_record_names_the_project_of_the_url(guarded: Journalled) -> None:
    guarded.post(image(), f"/v2.1/{PROJECT}/servers/{SERVER}/action")
    assert guarded.records()[0]["target"] == {"id": SERVER, "typeURI": "compute/server", "project_id": PROJECT}


@pytest.mark.parametrize(
    ("option", "expected"),
    [("mode = warn", ("allow", "warn")), ("exempt_roles = member", ("exempt", "enforce"))],
)
def test_a_record_names_the_mode_of_the_project(tmp_path: Path, option: str, expected: tuple[str, str]) -> None:
    """Without a rule too it is the mode of the project that is judged, not that of all others."""
    file = tmp_path / "policy.conf"
    file.write_text(f"[imagefilter:project:{PROJECT}]\n{option}\n")
    guarded = Journalled(tmp_path, oslo_config_file=str(file))
    guarded.post(image())
    content = guarded.contents()[0]
    assert (content["verdict"], content["mode"]) == expected


def test_the_filter_gives_ids_and_times(guarded: Journalled) -> None:
    """In one form, so that times compare as texts; pycadf's own would differ by its release and its options."""
    guarded.post(image())
    for record in guarded.records():
        assert uuid.UUID(record["id"]).version == 4
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", record["eventTime"])


def test_a_line_is_as_short_as_json_can_be(guarded: Journalled) -> None:
    guarded.post(json.dumps(image(name="half \ud83d")).encode())
    guarded.post(image())
    for line in guarded.path.read_text().splitlines():
        assert line == json.dumps(json.loads(line), separators=(",", ":"))


# --- what no request can do


@pytest.mark.parametrize("server_id", ["target", "initiator", "observer", "default", "a\nb", "%c3%a9"])
def test_no_server_id_keeps_a_request_out_of_the_journal(guarded: Journalled, server_id: str) -> None:
    """To pycadf "target" and "initiator" are no ids: it accepts no event that contains them."""
    assert guarded.post(image(), f"/v2.1/servers/{server_id}/action").status_int == 404
    [record] = guarded.records()
    assert_cadf(record)


def test_ids_that_are_not_uuids_cause_no_warning(guarded: Journalled) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guarded.post(image(), "/v2.1/servers/no-uuid/action")
    assert guarded.records()[0]["target"]["id"] == "no-uuid"


# --- outcomes


class Failing:
    """A compute API that responds with a status, or raises an exception if it has none."""

    def __init__(self, status: str) -> None:
        self.status = status

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if not self.status:
            raise LookupError("secret")
        start_response(self.status, [("Content-Length", "0")])
        return [b""]


@pytest.mark.parametrize(
    ("status", "outcome", "expected_reason", "seconds"),
    [
        ("399 Odd", "success", {"reasonType": "HTTP", "reasonCode": "399"}, 1.234568),
        ("400 Bad", "failure", {"reasonType": "HTTP", "reasonCode": "400"}, 1.234568),
        ("", "failure", {"reasonType": "exception", "reasonCode": "LookupError"}, 0),
    ],
)
def test_each_outcome(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    outcome: str,
    expected_reason: dict[str, str],
    seconds: float,
) -> None:
    clock = types.SimpleNamespace(monotonic=iter((10.0, 11.23456789)).__next__)
    monkeypatch.setattr("imagefilter.response.time", clock)
    path = tmp_path / "audit.jsonl"
    app = filter_factory({}, audit_journal=str(path))(Failing(status))
    with contextlib.suppress(LookupError):
        send(app, "POST", PATH, image(), None, **AUTHENTICATED)
    record = parse_requests(path.read_text().splitlines())[1]
    assert (record["outcome"], record["reason"]) == (outcome, expected_reason)
    [attached] = record["attachments"]
    assert attached["typeURI"] == "mime:application/json"
    content = attached["content"]
    assert (content["action"], content["image_name"], content["seconds"]) == ("createImage", "nightly", seconds)


def test_a_response_that_never_began(tmp_path: Path) -> None:
    """A server may give a response up before it has begun."""
    path = tmp_path / "audit.jsonl"
    app = filter_factory({}, audit_journal=str(path))(lambda environ, start_response: iter([b""]))
    app(build_environ("POST", PATH, image(), **AUTHENTICATED), None).close()
    record = parse_requests(path.read_text().splitlines())[1]
    assert (record["outcome"], record["reason"]["reasonCode"]) == ("unknown", "none")
    content = get_content(record)
    assert (content["status"], content["image_id"], content["seconds"], content["error"]) == (None, None, 0, None)


# --- backups


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (3, 3),
        ("3", 3),
        (0, 0),
        (-1, None),
        (10**30, None),
        (True, None),
        (1.5, None),
        ("many", None),
        ("9" * 40, None),
        (None, None),
        ([], None),
    ],
)
def test_a_rotation_is_a_number_or_null(guarded: Journalled, given: Any, expected: int | None) -> None:
    guarded.post({"createBackup": {"name": "n", "backup_type": "daily", "rotation": given}})
    content = guarded.contents()[0]
    assert (content["backup_type"], content["rotation"]) == ("daily", expected)


@pytest.mark.parametrize(("given", "expected"), [("daily", "daily"), ("", ""), (5, None), (None, None), ({}, None)])
def test_a_backup_type_is_a_text_or_null(guarded: Journalled, given: Any, expected: str | None) -> None:
    guarded.post({"createBackup": {"name": "n", "backup_type": given, "rotation": 1}})
    assert guarded.contents()[0]["backup_type"] == expected


@pytest.mark.parametrize("document", [image(), {"createBackup": 5}, {"createBackup": None}])
def test_only_a_backup_has_a_rotation(guarded: Journalled, document: Any) -> None:
    guarded.post(document)
    assert "rotation" not in guarded.contents()[0]


# --- an index takes the type of a field from the first record


ODD_VALUES = ["text", 5, 1.5, True, None, [], {}, {"key": 1}]


def test_no_client_chooses_a_field_or_its_type(tmp_path: Path) -> None:
    guarded = Journalled(tmp_path, audit_metadata="full")
    for value in ODD_VALUES:
        guarded.post(image(name=value, metadata={"key": value, "typeURI": value}))
        guarded.post(image(metadata=value))
        guarded.post(backup(name=value))
    types: dict[str, set[str]] = {}
    for record in guarded.records():
        collect_types(record, "", types)
    assert {field: found for field, found in types.items() if len(found) > 1} == {}
    assert "attachments[].content.metadata[].key" in types


def collect_types(value: Any, field: str, types: dict[str, set[str]]) -> None:
    """Collect the JSON types of each field; null is of any type."""
    if isinstance(value, dict):
        for name, inner in value.items():
            collect_types(inner, f"{field}.{name}".lstrip("."), types)
    elif isinstance(value, list):
        for inner in value:
            collect_types(inner, f"{field}[]", types)
    elif value is not None:
        types.setdefault(field, set()).add(type(value).__name__)

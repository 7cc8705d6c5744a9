"""Each record as an event of OCSF: held against the published schema, which refuses what it does not know."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jsonschema")

from jsonschema import Draft202012Validator

from imagefilter.export.ocsf import convert
from tests.cases import SERVER, backup, image
from tests.records import content
from tests.unit.journal_fixtures import Accepting, Writer

SCHEMA = Path(__file__).with_name("api-activity-1.8.0.schema.json")
IMAGE_ID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"

# What each request is; then the verdict's and the outcome's status.
CREATE, UPDATE, UNKNOWN = 1, 3, 0
SUCCESS, FAILURE, OTHER = 1, 2, 99

REQUESTS: list[tuple[Any, dict[str, Any], int, list[int]]] = [
    (image("good", {"a": "b"}), {}, CREATE, [OTHER, SUCCESS]),
    (image("N0"), {}, CREATE, [FAILURE]),
    (image("warned", {"owner": "me"}), {}, CREATE, [OTHER, SUCCESS]),
    (backup(name="weekly"), {}, CREATE, [OTHER, SUCCESS]),
    ({"shelve": None}, {}, UPDATE, [OTHER, SUCCESS]),
    (b'{"createImage": ', {}, UNKNOWN, [FAILURE]),
    (image("x" * 300), {}, CREATE, [FAILURE]),
    (image(5), {}, CREATE, [FAILURE]),
    (image("good"), {"REMOTE_ADDR": "2001:db8::7"}, CREATE, [OTHER, SUCCESS]),
    (image("good"), {"REMOTE_ADDR": ""}, CREATE, [OTHER, SUCCESS]),
    (image("good"), {"REMOTE_ADDR": "unix:"}, CREATE, [OTHER, SUCCESS]),
    (image("good"), {"HTTP_X_FORWARDED_FOR": "192.0.2.1, <script>, fe80::1%eth0"}, CREATE, [OTHER, SUCCESS]),
    (
        image("good"),
        {"HTTP_X_USER_ID": "", "HTTP_X_PROJECT_ID": "", "HTTP_X_AUTH_TOKEN": "t"},
        CREATE,
        [OTHER, SUCCESS],
    ),
    (image("good"), {"HTTP_X_PROJECT_NAME": ""}, CREATE, [OTHER, SUCCESS]),
    (image("good"), {"HTTP_USER_AGENT": "curl/8", "HTTP_X_USER_DOMAIN_NAME": "acme"}, CREATE, [OTHER, SUCCESS]),
]

# What the compute API does with an admitted request.
RESPONSES: list[tuple[Any, int]] = [
    ((202, {"image_id": IMAGE_ID}), SUCCESS),
    ((202, None), SUCCESS),
    ((409, {"conflictingRequest": {}}), FAILURE),
    ((500, None), FAILURE),
    (ValueError("broken"), FAILURE),
]


class Responding:
    """A compute API with one response, or an exception."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if isinstance(self._response, Exception):
            raise self._response
        status, document = self._response
        body = json.dumps(document).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(f"{status} X", headers)
        return [body]


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    document = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


def write(tmp_path: Path, document: Any, compute: Any = None, **environ: Any) -> list[dict[str, Any]]:
    """Send a request; return its records."""
    writer = Writer(
        tmp_path / "audit.jsonl",
        compute or Accepting(),
        name_pattern="[a-z]+",
        rule_modes="metadata-reserved:warn",
        actions="createImage,createBackup,shelve",
    )
    writer.post(document, **environ)
    return writer.records()


def convert_all(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    events = [convert(record) for record in records]
    return [event for event in events if event]


@pytest.mark.parametrize(("document", "environ", "activity", "statuses"), REQUESTS)
def test_an_event_conforms_to_the_schema(
    document: Any,
    environ: dict[str, Any],
    activity: int,
    statuses: list[int],
    tmp_path: Path,
    schema: Draft202012Validator,
) -> None:
    records = write(tmp_path, document, **environ)
    events = convert_all(records)
    for event in events:
        schema.validate(event)
    assert [event["status_id"] for event in events] == statuses
    assert {event["activity_id"] for event in events} == {activity}
    assert [event["unmapped"]["cadf"] for event in events] == records


@pytest.mark.parametrize(("response", "status"), RESPONSES)
def test_an_outcome_conforms_to_the_schema(
    response: Any, status: int, tmp_path: Path, schema: Draft202012Validator
) -> None:
    try:
        records = write(tmp_path, image("good"), Responding(response))
    except ValueError:
        records = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    event = convert_all(records)[-1]
    schema.validate(event)
    assert event["status_id"] == status


def test_says_who_did_what_and_what_became_of_it(tmp_path: Path) -> None:
    records = write(tmp_path, image("good"), Responding((202, {"image_id": IMAGE_ID})))
    verdict, outcome = convert_all(records)
    assert verdict["actor"]["user"]["uid"] == "alice-id"
    assert verdict["api"]["operation"] == "createImage"
    assert verdict["metadata"]["uid"] == records[0]["id"]
    assert outcome["metadata"]["correlation_uid"] == verdict["metadata"]["uid"]
    assert outcome["http_response"]["code"] == 202
    assert outcome["resources"] == [
        {"uid": SERVER, "type": "server"},
        {"uid": IMAGE_ID, "name": "good", "type": "image"},
    ]


@pytest.mark.parametrize(
    ("document", "action", "disposition", "severity"),
    [
        (image("good"), "Allowed", "Allowed", "Informational"),
        (image("N0"), "Denied", "Blocked", "Low"),
        (image("warned", {"owner": "me"}), "Observed", "Logged", "Low"),
    ],
)
def test_says_what_the_filter_did(document: Any, action: str, disposition: str, severity: str, tmp_path: Path) -> None:
    event = convert_all(write(tmp_path, document))[0]
    assert (event["action"], event["disposition"], event["severity"]) == (action, disposition, severity)


def test_a_configuration_is_no_api_call(tmp_path: Path) -> None:
    write(tmp_path, image("good"))
    first = json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[0])
    assert first["action"] == "configure"
    assert convert(first) is None


ODD = [
    {"initiator": None},
    {"initiator": 5},
    {"target": []},
    {"observer": {}},
    {"outcome": "maybe"},
    {"eventTime": "x"},
]


@pytest.mark.parametrize("change", ODD)
def test_refuses_a_record_with_odd_fields(change: dict[str, Any], tmp_path: Path) -> None:
    outcome = {**write(tmp_path, image("good"))[-1], **change}
    with pytest.raises(ValueError, match="not a record"):
        convert(outcome)


def test_refuses_an_unknown_verdict(tmp_path: Path) -> None:
    record = write(tmp_path, image("good"))[0]
    content(record)["verdict"] = "perhaps"
    with pytest.raises(ValueError, match="not a record"):
        convert(record)


@pytest.mark.parametrize(
    "path",
    [
        ("actor",),
        ("api",),
        ("api", "operation"),
        ("class_uid",),
        ("metadata", "product"),
        ("metadata", "version"),
        ("severity_id",),
        ("src_endpoint", "ip"),
        ("cloud",),
        ("time",),
        ("type_uid",),
    ],
)
def test_the_schema_refuses_an_event_without_what_is_required(
    path: tuple[str, ...], tmp_path: Path, schema: Draft202012Validator
) -> None:
    event = copy.deepcopy(convert_all(write(tmp_path, image("good")))[0])
    *parents, name = path
    part = event
    for parent in parents:
        part = part[parent]
    del part[name]
    assert not schema.is_valid(event)


@pytest.mark.parametrize("change", [{"kind": 1}, {"time": "now"}, {"activity_id": 7}, {"resources": [{"type": "x"}]}])
def test_the_schema_refuses_what_it_does_not_know(
    change: dict[str, Any], tmp_path: Path, schema: Draft202012Validator
) -> None:
    event = convert_all(write(tmp_path, image("good")))[0]
    assert not schema.is_valid({**event, **change})

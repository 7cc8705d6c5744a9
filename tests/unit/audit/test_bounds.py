"""No request writes an endless record, hides one, or gets a secret into one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagefilter import filter_factory
from imagefilter.audit.bounds import METADATA_BYTES, TEXT_LENGTH
from tests.cases import CASES, SERVER, Case, image
from tests.records import parse_requests
from tests.unit.fakes import (
    AUTHENTICATED,
    BEHIND_AUTH_TOKEN,
    IDENTITY_HEADERS,
    PATH,
    STRANGER,
    Journalled,
    get_content,
)
from tests.wsgi import send

HUGE = 65536

ALWAYS = {"none", "keys", "full"}
WITH_KEYS = {"keys", "full"}
WITH_VALUES = {"full"}
NEVER: set[str] = set()
LONG_IDS = {**BEHIND_AUTH_TOKEN, **dict.fromkeys(IDENTITY_HEADERS, "\xe9" * HUGE)}
MANY_ROLES = {**BEHIND_AUTH_TOKEN, "HTTP_X_ROLES": ",".join(f"role{n}" * 99 for n in range(999))}


@pytest.mark.parametrize("audit_metadata", ["keys", "full", "none"])
@pytest.mark.parametrize(
    ("truncated_with", "document", "environ"),
    [
        (ALWAYS, image(name="x" * HUGE), {}),
        (ALWAYS, image(name="\U0001f5bc" * 20000), {}),
        (WITH_KEYS, image(metadata={"k" * HUGE: "v"}), {}),
        (WITH_VALUES, image(metadata={"k": "v" * HUGE}), {}),
        (WITH_KEYS, image(metadata={f"key{n:06}": "v" for n in range(7000)}), {}),
        (WITH_KEYS, image(metadata={f"{n:0300}": "v" for n in range(300)}), {}),
        (NEVER, image(metadata={"k": ["x" * HUGE]}), {}),
        (ALWAYS, image(), {"HTTP_USER_AGENT": "\xe9" * HUGE, "HTTP_X_FORWARDED_FOR": "1" * HUGE}),
        (ALWAYS, image(), {"REMOTE_ADDR": "r" * HUGE}),
        (ALWAYS, image(), {"CONTENT_TYPE": "x" * HUGE, "openstack.global_request_id": "g" * HUGE}),
        (ALWAYS, image(), {"REQUEST_METHOD": "P" * HUGE, "PATH_INFO": "/p" * HUGE}),
        (ALWAYS, image(), LONG_IDS),
        (ALWAYS, image(), MANY_ROLES),
    ],
)
def test_no_request_writes_an_endless_record(
    tmp_path: Path, truncated_with: set[str], document: Any, environ: dict[str, Any], audit_metadata: str
) -> None:
    guarded = Journalled(tmp_path, audit_metadata=audit_metadata, max_body_bytes="999999")
    guarded.post(document, **environ)
    for record in guarded.records():
        assert len(json.dumps(record)) < METADATA_BYTES + 20 * TEXT_LENGTH * len("\\u00e9")
    assert ("truncated" in guarded.contents()[0]) == (audit_metadata in truncated_with)


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
    "agent": "HTTP_USER_AGENT",
    "forwarded_for": "HTTP_X_FORWARDED_FOR",
    "address": "REMOTE_ADDR",
    "request_id": "openstack.request_id",
    "global_request_id": "openstack.global_request_id",
}
IN_EACH_RECORD = {
    "method",
    "media_type",
    "image_name",
    "metadata_key",
    "metadata_value",
    "server_id",
    "project_id",
    "target.project_id",
    *CONNECTION,
}
AUTH_TOKEN = {"keystone.token_auth": object(), "nova.context": None}


class LongRequest:
    """A request in which every text that a record may contain has one length, but the path, which contains two."""

    def __init__(self, length: int) -> None:
        self.document = image("n" * length, {"k" * length: "v" * length})
        self.target = "/v2.1/{}/servers/{}/action".format("0" * length, "s" * length)
        headers = [*NAMES.values(), *IDS.values(), *CONNECTION.values()]
        self.environ: dict[str, Any] = dict.fromkeys(headers, "x" * length)
        self.environ["REQUEST_METHOD"] = "P" * length
        self.environ["CONTENT_TYPE"] = "application/" + "x" * (length - len("application/"))

    def send(self, guarded: Journalled, identity: dict[str, Any]) -> dict[str, Any]:
        """Send the request and return the record of its verdict."""
        guarded.post(self.document, self.target, **self.environ, **identity)
        return guarded.records()[0]


@pytest.mark.parametrize(
    ("identity", "fields"),
    [
        (AUTH_TOKEN, {*NAMES, "user_id", "role"}),
        (STRANGER, {f"claims.{name}" for name in (*IDS, *NAMES)}),
    ],
)
def test_a_record_lists_what_was_truncated(tmp_path: Path, identity: dict[str, Any], fields: set[str]) -> None:
    request = LongRequest(TEXT_LENGTH + 1)
    record = request.send(Journalled(tmp_path, audit_metadata="full"), identity)
    expected = [{"field": field, "length": TEXT_LENGTH + 1} for field in (*IN_EACH_RECORD, *fields)]
    expected.append({"field": "path", "length": len(request.target)})
    truncated = get_content(record).pop("truncated")
    assert sorted(truncated, key=str) == sorted(expected, key=str)
    assert max(map(len, texts_in(record))) == TEXT_LENGTH


def test_the_longest_texts_are_not_truncated(tmp_path: Path) -> None:
    request = LongRequest(TEXT_LENGTH)
    record = request.send(Journalled(tmp_path, audit_metadata="full"), AUTH_TOKEN)
    assert get_content(record)["truncated"] == [{"field": "path", "length": len(request.target)}]


def texts_in(value: Any) -> list[str]:
    """Return all texts in a value of JSON, keys included."""
    texts: list[str] = []
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if not isinstance(value, list):
        return [str(value)]
    for item in value:
        texts += texts_in(item)
    return texts


def test_a_record_names_fifty_roles(guarded: Journalled) -> None:
    roles = [f"r{number:02}" for number in range(50)]
    guarded.post(image(), **{**BEHIND_AUTH_TOKEN, "HTTP_X_ROLES": ",".join(roles)})
    guarded.post(image(), **{**BEHIND_AUTH_TOKEN, "HTTP_X_ROLES": ",".join([*roles, "r50"])})
    fifty, _, fifty_one, _ = guarded.records()
    assert fifty["initiator"]["roles"] == fifty_one["initiator"]["roles"] == roles
    assert "truncated" not in get_content(fifty)
    assert get_content(fifty_one)["truncated"] == [{"field": "roles", "length": 51}]


@pytest.mark.parametrize(
    ("value", "count", "truncated"), [("v" * 62, 64, None), ("v" * 63, 63, [{"field": "metadata", "length": 64}])]
)
def test_metadata_fill_a_record_to_the_last_byte(
    tmp_path: Path, value: str, count: int, truncated: list[dict[str, Any]] | None
) -> None:
    """64 items of 256 bytes each as JSON."""
    guarded = Journalled(tmp_path, audit_metadata="full")
    metadata = {f"{number:02}" + "k" * 168: "v" * 62 for number in range(63)}
    [key, text] = next(iter(metadata.items()))
    assert len(json.dumps({"key": key, "value": text})) == METADATA_BYTES // 64
    guarded.post(image(metadata={**metadata, "zz" + "k" * 168: value}))
    content = guarded.contents()[0]
    assert len(content["metadata"]) == count
    assert content.get("truncated") == truncated


def test_a_record_contains_nothing_that_a_client_adds_to_a_shelve(tmp_path: Path) -> None:
    guarded = Journalled(tmp_path, actions="shelve")
    guarded.post({"shelve": {"name": "innocent", "metadata": {"forged": "x"}}})
    assert len(guarded.records()) == 2
    assert "innocent" not in guarded.path.read_text()
    assert "forged" not in guarded.path.read_text()


@pytest.mark.parametrize("audit_metadata", ["keys", "full"])
def test_half_a_surrogate_pair_hides_no_record(tmp_path: Path, audit_metadata: str) -> None:
    """Python's JSON reads and writes half a pair; strict readers (DuckDB, jq, …) refuse the whole line."""
    guarded = Journalled(tmp_path, audit_metadata=audit_metadata)
    for name in ("half \ud83d", "\udca5 half", "whole \U0001f4a5", "\\ud83d"):
        guarded.post(json.dumps(image(name, {f"k{name}": f"v{name}"})).encode())
        guarded.post(json.dumps(image(name, {f"k{name}": 5})).encode())
    for line in guarded.path.read_bytes().splitlines():
        json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8")
    contents = guarded.contents()
    names = [content["image_name"] for content in contents[::3]]
    assert names == ["half \ufffd", "\ufffd half", "whole \U0001f4a5", "\\ud83d"]
    assert len(contents) == 12


def test_an_image_id_is_bounded_and_whole(tmp_path: Path) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("202 Accepted", [("Content-Type", "application/json")])
        return [json.dumps({"image_id": "\ud83d" + "i" * 300}).encode()]

    path = tmp_path / "audit.jsonl"
    send(filter_factory({}, audit_journal=str(path))(app), "POST", PATH, image(), None, **AUTHENTICATED)
    record = parse_requests(path.read_text().splitlines())[1]
    assert get_content(record)["image_id"] == "\ufffd" + "i" * (TEXT_LENGTH - 1)


# --- no secrets


@pytest.mark.slow
@pytest.mark.parametrize("audit_metadata", ["keys", "none"])
def test_no_secret_of_the_whole_case_table_is_recorded(tmp_path: Path, audit_metadata: str) -> None:
    guarded = Journalled(tmp_path, audit_metadata=audit_metadata)
    for case in CASES:
        token = {"HTTP_X_AUTH_TOKEN": "s3cr3t-token", "HTTP_X_SERVICE_TOKEN": "s3cr3t-service", "HTTP_COOKIE": "s3cr3t"}
        guarded.post(with_secrets(case), case.path.format(server=SERVER) + "?token=s3cr3t", **token)
    text = guarded.path.read_text()
    assert len(text.splitlines()) > len(CASES), "nearly all are recorded, many with an outcome"
    assert "s3cr3t" not in text


def with_secrets(case: Case) -> Any:
    """Return the case's document with a secret in every value of the metadata."""
    document = case.document
    if not isinstance(document, dict):
        return document
    entity = next(iter(document.values()), None)
    if not isinstance(entity, dict) or not isinstance(entity.get("metadata"), dict):
        return document
    metadata = {key: with_secret(value) for key, value in entity["metadata"].items()}
    return {action: {**entity, "metadata": metadata} for action in document}


def with_secret(value: Any) -> Any:
    if isinstance(value, str):
        return f"s3cr3t{value}"
    if isinstance(value, list):
        return ["s3cr3t", value]
    return value

"""Records beside DMTF's CADF and beside what keystonemiddleware's audit emits for the same request.

docs/records.md has a table of all fields of a record. Each row is held against two events of one real request: the
record of its outcome, and the event of keystonemiddleware's audit, which stands in front of the filter.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from keystonemiddleware.audit import _notifier
from nova.api import wsgi

from tests.nova.authentication import AUTHTOKEN
from tests.nova.cloud import Cloud
from tests.paths import ROOT

BACKUP = {"createBackup": {"name": "n", "backup_type": "daily", "rotation": 3, "metadata": {"a": "b"}}}

AUDIT_SECTION = f"""
[filter:audit]
paste.filter_factory = keystonemiddleware.audit:filter_factory
audit_map_file = {sys.prefix}/etc/pycadf/nova_api_audit_map.conf
"""

#: What DSP0262 1.0.0 defines: tables 4 (event), 8 (reason), 9 (resource), 10 (host) and 13 (attachment).
CADF = {
    *("typeURI", "id", "eventType", "eventTime", "action", "outcome", "tags"),
    *(f"{resource}.{name}" for resource in ("initiator", "target", "observer") for name in ("id", "typeURI", "name")),
    *("initiator.domain", "initiator.host.address", "initiator.host.agent", "observer.host.address"),
    *(f"reason.{name}" for name in ("reasonType", "reasonCode", "policyType", "policyId")),
    *("attachments[].typeURI", "attachments[].name", "attachments[].content"),
}


class Row(NamedTuple):
    """A field in the page's table."""

    field: str
    origin: str
    beside: str


class Events(NamedTuple):
    """What is emitted for one request."""

    verdict: dict[str, Any]
    outcome: dict[str, Any]
    keystone: dict[str, Any]


class Notifier:
    """Keeps the events that keystonemiddleware's audit emits."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def notify(self, context: Any, event_type: str, payload: dict[str, Any]) -> None:
        self.events.append(json.loads(json.dumps(payload, default=vars)))


@pytest.fixture
def events(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Events:
    notifier = Notifier()
    monkeypatch.setattr(_notifier, "create_notifier", lambda conf, log: notifier)
    path = cloud.write_paste_file({"audit_metadata": "full"}, f"{AUTHTOKEN} audit")
    path.write_text(path.read_text() + AUDIT_SECTION)
    app = wsgi.Loader(str(path)).load_app("osapi_compute")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pycadf's, of a user's id that is not a UUID
        response = cloud.post_action(app, BACKUP, headers={"User-Agent": "openstacksdk"})
    assert response.status_int == 202
    verdict, outcome = cloud.records()
    return Events(verdict, outcome, notifier.events[-1])


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    """The rows of the page's table, by field."""
    text = (ROOT / "docs/records.md").read_text()
    found = re.findall(r"^\| `([^`]+)` \|[^|]*\| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    return {field: Row(field, origin.strip(), beside.strip()) for field, origin, beside in found}


def fields_of(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of an event with their values; ``attachments[].content`` has fields of its own."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from fields_of(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from fields_of(inner, f"{path}[]")
    else:
        yield path, value


def test_the_page_has_each_field_of_a_record(events: Events, rows: dict[str, Row]) -> None:
    for record in (events.verdict, events.outcome):
        missing = [field for field, _ in fields_of(record) if field not in rows]
        assert missing == []


def test_the_page_has_each_field_of_keystonemiddlewares_event(events: Events, rows: dict[str, Row]) -> None:
    assert [field for field, _ in fields_of(events.keystone) if field not in rows] == []


def test_the_page_says_what_is_cadfs(rows: dict[str, Row]) -> None:
    for row in rows.values():
        assert (row.origin == "CADF") == (row.field in CADF or row.field.startswith("reporterchain")), row.field


def test_fields_that_are_the_same_have_the_same_value(events: Events, rows: dict[str, Row]) -> None:
    ours, theirs = dict(fields_of(events.outcome)), dict(fields_of(events.keystone))
    same = [row.field for row in rows.values() if row.beside == "the same"]
    assert len(same) >= 10
    assert {field: ours[field] for field in same} == {field: theirs[field] for field in same}


def test_fields_that_differ_do_so(events: Events, rows: dict[str, Row]) -> None:
    ours, theirs = dict(fields_of(events.outcome)), dict(fields_of(events.keystone))
    for row in rows.values():
        if row.beside.startswith("differs"):
            assert ours[row.field] != theirs[row.field], row.field


def test_fields_of_one_side_are_not_on_the_other(events: Events, rows: dict[str, Row]) -> None:
    ours = {field for record in (events.verdict, events.outcome) for field, _ in fields_of(record)}
    theirs = {field for field, _ in fields_of(events.keystone)}
    for row in rows.values():
        if row.beside.startswith("only here"):
            assert row.field not in theirs
        elif row.beside.startswith("only there"):
            assert row.field in theirs - ours


def test_values_have_one_type_each(events: Events) -> None:
    """An index takes the type of a field from the first record, and refuses records with another."""
    content = events.verdict["attachments"][0]["content"]
    assert content["metadata"] == [{"key": "a", "value": "b"}]
    assert (content["backup_type"], content["rotation"]) == ("daily", 3)

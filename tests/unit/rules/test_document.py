"""The document that own rules read: what its fields hold, and why one is absent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagefilter.request.identity import Identity
from imagefilter.rules.case import Case, LookupFailed, ServerFacts, build_case
from imagefilter.rules.document import LARGEST, build_document
from tests.cases import PROJECT, backup, image
from tests.unit.rules.test_limits import FakeLookups, build

ALICE = Identity("alice", PROJECT, frozenset({"reader", "member"}), True, True, "", "", "default")


class Lookups(FakeLookups):
    """Answers questions about a server as a test says."""

    def __init__(self, facts: ServerFacts) -> None:
        super().__init__()
        self._facts = facts

    def server(self) -> ServerFacts:
        return self._facts


def build_server_case(
    values: dict[str, Any], why_absent: dict[str, str] | None = None, failed: dict[str, str] | None = None
) -> Case:
    return build_case(build(image()), Lookups(ServerFacts(values, why_absent or {}, failed or {})))


def build_action_case(document: Any, identity: Identity = ALICE) -> Case:
    return build_case(build(document)._replace(identity=identity), FakeLookups())


@pytest.mark.parametrize("value", ["web", True, 0, LARGEST, -LARGEST, ["a", "b"], [], {"k": "v"}, {}], ids=repr)
def test_a_fact_of_the_server_is_its_value(value: Any) -> None:
    document = build_document(build_server_case({"server.x": value}), ["server.x"])
    assert document == ({"server.x": value}, {})


@pytest.mark.parametrize(
    ("why_absent", "why"),
    [
        ({"server.x": "the flavor is gone", "": "the cell is down"}, "the flavor is gone"),
        ({"server.y": "the flavor is gone", "": "the cell is down"}, "the cell is down"),
        ({"server.y": "the flavor is gone"}, "the compute API does not say"),
    ],
)
def test_why_a_fact_of_the_server_is_absent(why_absent: dict[str, str], why: str) -> None:
    document = build_document(build_server_case({}, why_absent), ["server.x"])
    assert document == ({}, {"server.x": why})


def test_a_fact_that_could_not_be_looked_up_is_not_absent() -> None:
    case = build_server_case({}, failed={"server.x": "the compute API responded 503"})
    with pytest.raises(LookupFailed, match=r"^the compute API responded 503$"):
        build_document(case, ["server.x"])


@pytest.mark.parametrize(
    ("document", "field", "value"),
    [
        (image(" a "), "image.name", "a"),
        (image(metadata={"k": "v"}), "image.metadata", {"k": "v"}),
        (image(), "image.metadata", {}),
        (backup(backup_type="daily"), "backup.type", "daily"),
        (backup(rotation="7"), "backup.rotation", 7),
        (image(), "action", "createImage"),
        (image(), "caller.user_id", "alice"),
        (image(), "caller.project_id", PROJECT),
        (image(), "caller.user_domain_id", "default"),
        (image(), "caller.roles", ["member", "reader"]),
    ],
)
def test_a_field_of_the_request(document: Any, field: str, value: Any) -> None:
    assert build_document(build_action_case(document), [field]) == ({field: value}, {})


@pytest.mark.parametrize(
    ("document", "field", "why"),
    [
        (image(None), "image.name", "the client gives the image no name"),
        (image([]), "image.name", "it is no text"),
        (image("a\0"), "image.name", "its text has a NUL character"),
        (json.dumps(image("\ud800")).encode(), "image.name", "its text has half a surrogate pair"),
        (image(metadata=[]), "image.metadata", "it is no object"),
        (image(metadata={"k": 1}), "image.metadata", "it is no text"),
        (image(), "backup.type", "the action is no createBackup"),
        ({"createBackup": None}, "backup.rotation", "the action is no createBackup"),
        (backup(rotation=None), "backup.rotation", "it is no whole number"),
        (backup(rotation=LARGEST + 1), "backup.rotation", "its number has more than 64 bits"),
    ],
)
def test_why_a_field_of_the_request_is_absent(document: Any, field: str, why: str) -> None:
    assert build_document(build_action_case(document), [field]) == ({}, {field: why})


@pytest.mark.parametrize("field", ["caller.user_id", "caller.project_id", "caller.user_domain_id", "caller.roles"])
def test_nothing_is_known_of_a_caller_that_nobody_vouches_for(field: str) -> None:
    case = build_action_case(image(), ALICE._replace(authenticated=False))
    assert build_document(case, [field]) == ({}, {field: "nobody vouches for the caller"})

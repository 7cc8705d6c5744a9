"""Whose request it was: names with their domain, and ids that others can't claim."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cliff")
pytest.importorskip("duckdb")

from imagefilter.cli.audit_follow import sentence
from imagefilter.journal.record import label
from tests.cases import image
from tests.unit.journal_fixtures import Writer

IN_DEFAULT = {"HTTP_X_USER_DOMAIN_ID": "default", "HTTP_X_USER_DOMAIN_NAME": "Default"}
IN_ACME = {"HTTP_X_USER_DOMAIN_ID": "a1", "HTTP_X_USER_DOMAIN_NAME": "acme"}

LABELS = [
    ({"user_domain_id": "default", "user_domain_name": "Default"}, "admin", "admin"),
    ({"user_domain_id": "a1", "user_domain_name": "acme"}, "admin", "admin@acme"),
    ({"user_domain_id": "a1"}, "admin", "admin@a1"),
    ({"user_domain_name": "Default"}, "admin", "admin@Default"),
    ({"user_domain_id": "default", "user_domain_name": "Default"}, "admin@acme", "admin@acme@Default"),
    ({}, "admin", "admin"),
    ({}, "admin@acme", "admin@acme@?"),
    ({"user_domain_id": "a1"}, None, None),
]


@pytest.mark.parametrize(("domain", "name", "expected"), LABELS)
def test_a_name_has_its_domain_unless_that_is_default(
    domain: dict[str, str], name: str | None, expected: str | None, writer: Writer, run: Any
) -> None:
    """In ``audit follow`` and in all that reads with DuckDB alike."""
    assert label(domain, "user", name) == expected
    headers = {f"HTTP_X_{key.upper()}": text for key, text in domain.items()}
    for kind in ("USER", "PROJECT"):
        writer.post(image("good"), **{f"HTTP_X_{kind}_NAME": name or ""}, **headers, **projects(headers))
    by_user, by_project = run("audit", "list", "--journal", writer.path, "-f", "json").rows
    assert by_user["User"] == expected or name is None
    assert by_project["Project"] == expected or name is None


def projects(headers: dict[str, str]) -> dict[str, str]:
    """Return the same headers of the project's domain."""
    return {key.replace("USER", "PROJECT"): text for key, text in headers.items()}


@pytest.fixture
def two_admins(writer: Writer) -> Writer:
    """A journal with an image of the cloud's admin, and one of an admin of a domain."""
    writer.post(image("cloud"), user="admin", **IN_DEFAULT)
    writer.post(image("tenant"), user="admin", **IN_ACME)
    return writer


def test_two_admins_are_two_in_every_command(two_admins: Writer, run: Any) -> None:
    rows = run("audit", "list", "--journal", two_admins.path, "-f", "json").rows
    assert [(row["Image Name"], row["User"]) for row in rows] == [("cloud", "admin"), ("tenant", "admin@acme")]
    sentences = [sentence(record) for record in two_admins.records() if record["eventType"] == "control"]
    assert ["user admin@acme" in text for text in sentences] == [False, True]
    counted = run("audit", "summary", "--by", "user", "--journal", two_admins.path, "-f", "json").rows
    assert {row["Name"] for row in counted} <= {"admin", "admin@acme"}


def test_a_name_with_its_domain_chooses_one(two_admins: Writer, run: Any) -> None:
    def find(user: str) -> list[str]:
        rows = run("audit", "list", "--journal", two_admins.path, "--user", user, "-f", "json").rows
        return [row["Image Name"] for row in rows]

    assert find("admin@acme") == ["tenant"]
    assert find("admin") == ["cloud", "tenant"]


SEARCHES = [
    "audit list",
    "audit list --limit 0 --long",
    "audit summary",
    "audit replay --config {folder}/imagefilter.conf",
    "audit report --html {folder}/page.html",
    "audit export --format cadf --output {folder}/out",
]


@pytest.fixture
def namesakes(writer: Writer) -> Writer:
    """A journal with an image of each of two users who are called admin."""
    writer.post(image("cloud"), user="admin", **IN_DEFAULT)
    writer.post(image("tenant"), user="other", HTTP_X_USER_NAME="admin", **IN_ACME)
    return writer


@pytest.mark.parametrize("command", SEARCHES)
def test_a_name_of_two_is_a_warning(command: str, namesakes: Writer, config: Path, run: Any) -> None:
    """It names both with their ids."""
    words = command.format(folder=config.parent).split()
    expected = "warning: --user admin is 2 users: admin (admin-id), admin@acme (other-id); choose one by its id\n"
    assert expected in run(*words, "--journal", namesakes.path, "--user", "admin").err


@pytest.mark.parametrize("text", ["admin@acme", "admin-id", "other-id", "nobody"])
def test_a_name_of_one_and_an_id_are_no_warning(text: str, namesakes: Writer, run: Any) -> None:
    assert "warning" not in run("audit", "list", "--journal", namesakes.path, "--user", text).err


def test_a_projects_name_of_many_is_a_warning(writer: Writer, run: Any) -> None:
    for number in range(7):
        writer.post(image("good"), project=f"id-{number}", HTTP_X_PROJECT_NAME="demo")
    result = run("audit", "summary", "--journal", writer.path, "--project", "demo")
    assert result.err.startswith("warning: --project demo is 7 projects: demo (id-0), demo (id-1), ")
    assert "demo (id-4), and 2 others; choose one by its id" in result.err


def test_an_own_id_wins_over_ids_that_others_claim(writer: Writer, run: Any) -> None:
    own = writer.post(image("mine"))
    for number in range(30):
        writer.post(image(f"other{number}"), **{"openstack.global_request_id": own})
    shown = run("audit", "show", own, "--journal", writer.path, "-f", "json")
    assert (shown.status, json.loads(shown.out)["image_name"]) == (0, "mine")
    assert "other requests that were given this as their global request id: 30\n" in shown.err


def test_a_long_list_of_claims_is_cut(writer: Writer, run: Any) -> None:
    for number in range(30):
        writer.post(image(f"other{number}"), **{"openstack.global_request_id": "req-shared"})
    shown = run("audit", "show", "req-shared", "--journal", writer.path)
    assert shown.status == 1
    assert "30 verdicts have the id req-shared" in shown.err
    assert "  and 10 others\n" in shown.err

"""Sections of single projects, and the operator's rules."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest

from imagefilter import options, rules
from imagefilter.policy import ConfigError, load
from tests.cases import PROJECT, SERVER, image
from tests.unit.small import PATH, Guarded

OTHER = "0" * 32


def guarded(folder: Path, text: str, **paste: str) -> Guarded:
    path = folder / "imagefilter.conf"
    path.write_text(text)
    return Guarded(oslo_config_file=str(path), **paste)


def context(project_id: str | None, *roles: str) -> dict[str, Any]:
    return {"nova.context": types.SimpleNamespace(user_id="u", project_id=project_id, roles=list(roles))}


ANY: dict[str, Any] = {"nova.context": None}


def answer(response: Any) -> tuple[int, str]:
    if response.status_int == 202:
        return 202, ""
    [fault] = response.json.values()
    return response.status_int, fault["message"]


def test_a_projects_section_wins_over_all_others(tmp_path: Path) -> None:
    text = f"[imagefilter]\nmetadata_items = 5\n[imagefilter:project:{PROJECT}]\nmetadata_items = 1\n"
    text += f"[imagefilter:project:{OTHER}]\nsnapshots_enabled = false\n"
    app = guarded(tmp_path, text, metadata_items="2")
    two, three = (image(metadata={str(n): "v" for n in range(count)}) for count in (2, 3))
    assert answer(app.post(two, **context("abc"))) == (202, "")
    assert answer(app.post(three, **context("abc"))) == (403, "Image metadata limit exceeded")
    assert answer(app.post(two, **context(PROJECT))) == (403, "Image metadata limit exceeded")
    message = "Instance snapshots are not permitted at this time."
    assert answer(app.post(image(), **context(OTHER))) == (400, message)
    assert answer(app.post(image(), **context(PROJECT))) == (202, "")


def test_an_unvouched_caller_is_judged_by_the_project_in_the_url(tmp_path: Path) -> None:
    app = guarded(tmp_path, f"[imagefilter:project:{OTHER}]\nsnapshots_enabled = false\n")
    token = {**ANY, "HTTP_X_AUTH_TOKEN": "t", "HTTP_X_PROJECT_ID": "abc"}
    path = f"/v2.1/{{}}/servers/{SERVER}/action"
    assert app.post(image(), path.format(OTHER), **token).status_int == 400
    assert app.post(image(), path.format("abc"), **token).status_int == 202
    unknown = (403, "The project of the request could not be determined, so no policy applies to it")
    assert answer(app.post(image(), PATH, **token)) == unknown
    assert answer(app.post(image(), "/v2.1/whatever", **token)) == unknown
    # Without a section for a project there is none to miss.
    assert Guarded().post(image(), PATH, **token).status_int == 202


@pytest.mark.parametrize(
    ("section", "line", "reason"),
    [
        ("imagefilter:project:demo", "metadata_items = 1", "'demo' is no project id"),
        ("imagefilter:project:", "metadata_items = 1", "unknown section"),
        ("imagefilter:projects:abc", "metadata_items = 1", "unknown section"),
        ("imagefilter_extra", "x = 1", "unknown section"),
        ("ImageFilter", "metadata_items = 1", "unknown section"),
        ("imagefilter:project:abc", "max_body_bytes = 1000", "it holds for all projects"),
        ("imagefilter:project:abc", "actions = shelve", "it holds for all projects"),
        ("imagefilter:project:abc", "reload_interval = 1", "it holds for all projects"),
        ("imagefilter:project:abc", "metadata_itmes = 1", "is it metadata_items?"),
        ("imagefilter:project:abc", "metadata_items = x", "metadata_items = x"),
        ("imagefilter:project:abc", "name_pattern = (", "no "),
        ("imagefilter", "name_pattern = [", "no "),
        ("imagefilter", "mode = loud", "loud"),
        ("imagefilter", "rule_modes = name-format:loud", "loud"),
        ("imagefilter", "rule_modes = nonsense:warn", "nonsense is no rule"),
        ("imagefilter", "rule_modes = token:warn", "token refuses in every mode"),
        ("imagefilter", "rule_modes = body:off", "body refuses in every mode"),
        ("imagefilter", "metadata_items_source = nova", "nova"),
        ("imagefilter", "facts_on_error = maybe", "maybe"),
        ("imagefilter", "reload_interval = -1", "greater than or equal to 0"),
    ],
)
def test_what_cannot_be_used_is_named(section: str, line: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "i.conf"
    path.write_text(f"[{section}]\n{line}\n[imagefilter:project:f00]\nalso = wrong\n")
    with pytest.raises(ConfigError) as raised:
        load({"oslo_config_file": str(path)})
    message = str(raised.value)
    for part in (f"section [{section}] of {path}", reason, "'also'", "project:f00"):
        assert part in message


@pytest.mark.parametrize(
    ("server", "found"),
    [(SERVER, True), (SERVER.upper(), True), (SERVER.replace("-", ""), True), (SERVER[:-1], False), ("web-1", False)],
)
def test_a_server_is_a_uuid_as_nova_reads_one(server: str, found: bool) -> None:
    """``oslo_utils.uuidutils.is_uuid_like`` takes it in capitals and without its hyphens."""
    response = Guarded().post(image(), f"/v2.1/servers/{server}/action")
    assert answer(response) == ((202, "") if found else (404, f"Instance {server} could not be found."))


def test_the_name_pattern_matches_the_whole_name() -> None:
    app = Guarded(name_pattern="(nightly|weekly)-[0-9]+")
    assert app.post(image("nightly-1")).status_int == 202
    for name in ("nightly-1x", "xnightly-1", "nightly-1\n", "nightly", "\ud800", "n" * 255):
        response = app.post(image(name) if name != "\ud800" else b'{"createImage": {"name": "\\ud800"}}')
        assert response.status_int == 403
        assert "(name-pattern)" in response.json["forbidden"]["message"]
    message = "The image name 'x' does not match the pattern '(nightly|weekly)-[0-9]+' (name-pattern)"
    assert answer(app.post(image("x"))) == (403, message)
    assert Guarded(name_pattern="[0-9]{8}").post(image(20261123)).status_int == 202, "a number by its digits"


def test_the_name_pattern_matches_the_name_that_nova_gives_as_well() -> None:
    """Nova strips a name: createBackup on ``/v2`` takes one with spaces around it, createImage one final newline."""
    app = Guarded(name_pattern="[^o].*|o[^f].*")
    for name in ("official-x", " official-x", "\u3000official-x "):
        assert answer(app.post(image(name)))[0] == 403, name
    assert app.post(image(" other ")).status_int == 202
    assert answer(Guarded(name_pattern="[a-z]+[^d]").post(image("gold\n")))[0] == 403


def test_required_metadata() -> None:
    app = Guarded(metadata_required="purpose, owner-team")
    message = "Image metadata must hold the key '{}' (metadata-required)"
    assert answer(app.post(image())) == (403, message.format("purpose"))
    assert answer(app.post(image(metadata={"purpose": "x"}))) == (403, message.format("owner-team"))
    assert app.post(image(metadata={"purpose": "x", "owner-team": ""})).status_int == 202


@pytest.mark.parametrize(
    "key", ["id", "id\n", " id ", "location", "self", "tags", "owner", "backend", "os_glance_x", "os_glance_", "file\t"]
)
def test_reserved_metadata(key: str) -> None:
    expected = (403, f"Image metadata key '{key.strip()}' is reserved (metadata-reserved)")
    for metadata in ({"good": "v", key: "v"}, {key: "v", "good": "v"}, {key: "v"}):
        assert answer(Guarded().post(image(metadata=metadata))) == expected
    assert Guarded(metadata_reserved="").post(image(metadata={key: "v"})).status_int == 202


@pytest.mark.parametrize(
    "key",
    [
        "Owner",
        "Tags",
        "ID",
        "ids",
        "my_id",
        "image_type",
        "name",
        "visibility",
        "os_glanc",
        "os_glance",
        "os_glanceX",
        "a\nos_glance_x",
        "a\nid",
    ],
)
def test_other_metadata_is_free(key: str) -> None:
    assert Guarded().post(image(metadata={key: "v"})).status_int == 202


def test_exempt_roles() -> None:
    options = {
        "snapshots_enabled": "false",
        "metadata_items": "0",
        "name_pattern": "x",
        "exempt_roles": "backup,Service",
    }
    app = Guarded(**options)
    document = image("anything", {"id": "v"})
    assert app.post(document, **context("abc", "member", "Backup")).status_int == 202
    assert app.post(document, **context("abc", "service")).status_int == 202
    assert app.post(document, **context("abc", "member")).status_int == 400
    assert app.post(image("x", {"": "v"}), **context("abc", "backup")).status_int == 400, "never from the contract"


@pytest.mark.parametrize(
    "environ",
    [{}, {"HTTP_X_IDENTITY_STATUS": "Confirmed"}, {"HTTP_X_SERVICE_ROLES": "backup"}, {"HTTP_X_ROLE": "backup"}],
)
def test_no_client_exempts_himself(environ: dict[str, str]) -> None:
    app = Guarded(snapshots_enabled="false", exempt_roles="backup")
    claims = {**ANY, "HTTP_X_AUTH_TOKEN": "t", "HTTP_X_ROLES": "backup", "HTTP_X_USER_ID": "u", **environ}
    assert app.post(image(), **claims).status_int == 400
    assert app.post(image(), **{**claims, "nova.context": context("abc", "member")["nova.context"]}).status_int == 400
    behind_auth_token = {"keystone.token_auth": object(), "HTTP_X_IDENTITY_STATUS": "Confirmed"}
    assert app.post(image(), **{**claims, **behind_auth_token}).status_int == 202


def test_a_vouched_caller_without_a_project_is_judged_by_what_holds_for_all(tmp_path: Path) -> None:
    """A system-scoped token: no section can be his."""
    app = guarded(tmp_path, f"[imagefilter]\nmetadata_items = 1\n[imagefilter:project:{OTHER}]\nmetadata_items = 9\n")
    assert app.post(image(metadata={"k": "v"}), **context(None)).status_int == 202
    assert app.post(image(metadata={"k": "v", "l": "v"}), **context(None)).status_int == 403


def test_the_rules_that_options_may_name_are_the_rules_there_are() -> None:
    assert tuple(rule.name for rule in rules._RULES) == options.RULES

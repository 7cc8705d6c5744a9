"""Sections of single projects."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest

from imagefilter.policy.config import ConfigError
from imagefilter.rules.table import load_policy
from tests.cases import PROJECT, SERVER, image
from tests.unit.fakes import PATH, Guarded, get_fault

OTHER = "0" * 32
TOO_MANY = (403, "Image metadata limit exceeded")


def guard(folder: Path, text: str, **paste: str) -> Guarded:
    """Put the filter with a config file in front of a small compute API."""
    path = folder / "imagefilter.conf"
    path.write_text(text)
    return Guarded(oslo_config_file=str(path), **paste)


def caller(project_id: str | None) -> dict[str, Any]:
    """Return the environ of a caller of a project, authenticated by Nova's context."""
    return {"nova.context": types.SimpleNamespace(user_id="u", project_id=project_id, roles=[])}


def test_a_projects_section_wins_over_all_others(tmp_path: Path) -> None:
    text = f"[imagefilter]\nmetadata_items = 5\n[imagefilter:project:{PROJECT}]\nmetadata_items = 1\n"
    text += f"[imagefilter:project:{OTHER}]\nsnapshots_enabled = false\n"
    guarded = guard(tmp_path, text, metadata_items="2")
    two, three = image(metadata={"1": "v", "2": "v"}), image(metadata={"1": "v", "2": "v", "3": "v"})
    assert guarded.post(two, **caller("abc")).status_int == 202
    assert get_fault(guarded.post(three, **caller("abc"))) == TOO_MANY
    assert get_fault(guarded.post(two, **caller(PROJECT))) == TOO_MANY
    message = "Instance snapshots are not permitted at this time."
    assert get_fault(guarded.post(image(), **caller(OTHER))) == (400, message)
    assert guarded.post(image(), **caller(PROJECT)).status_int == 202


def test_judges_an_unauthenticated_caller_by_the_project_in_the_url(tmp_path: Path) -> None:
    guarded = guard(tmp_path, f"[imagefilter:project:{OTHER}]\nsnapshots_enabled = false\n")
    token = {"nova.context": None, "HTTP_X_AUTH_TOKEN": "t", "HTTP_X_PROJECT_ID": "abc"}
    path = f"/v2.1/{{}}/servers/{SERVER}/action"
    assert guarded.post(image(), path.format(OTHER), **token).status_int == 400
    assert guarded.post(image(), path.format("abc"), **token).status_int == 202
    unknown = (403, "The project of the request could not be determined, so no policy applies to it")
    assert get_fault(guarded.post(image(), PATH, **token)) == unknown
    assert get_fault(guarded.post(image(), "/v2.1/whatever", **token)) == unknown


def test_needs_no_project_without_a_section_for_one() -> None:
    token = {"nova.context": None, "HTTP_X_AUTH_TOKEN": "t"}
    assert Guarded().post(image(), PATH, **token).status_int == 202


def test_judges_an_authenticated_caller_without_a_project_by_what_applies_to_all(tmp_path: Path) -> None:
    """A system-scoped token: no section can be its own."""
    text = f"[imagefilter]\nmetadata_items = 1\n[imagefilter:project:{OTHER}]\nmetadata_items = 9\n"
    guarded = guard(tmp_path, text)
    assert guarded.post(image(metadata={"k": "v"}), **caller(None)).status_int == 202
    assert guarded.post(image(metadata={"k": "v", "l": "v"}), **caller(None)).status_int == 403


@pytest.mark.parametrize(
    ("section", "line", "reason"),
    [
        ("imagefilter:project:demo", "metadata_items = 1", "'demo' is not a project id"),
        ("imagefilter:project:", "metadata_items = 1", "'' is not a project id"),
        ("imagefilter:projects:abc", "metadata_items = 1", "unknown section"),
        ("imagefilter_extra", "x = 1", "unknown section"),
        ("ImageFilter", "metadata_items = 1", "unknown section"),
        ("imagefilter:project:abc", "max_body_bytes = 1000", "it applies to all projects"),
        ("imagefilter:project:abc", "actions = shelve", "it applies to all projects"),
        ("imagefilter:project:abc", "reload_interval = 1", "it applies to all projects"),
        ("imagefilter:project:abc", "metadata_itmes = 1", "is it metadata_items?"),
        ("imagefilter:project:abc", "metadata_items = x", "metadata_items = x"),
        ("imagefilter:project:abc", "name_pattern = (", ": not a "),
        ("imagefilter", "name_pattern = [", ": not a "),
        ("imagefilter", "mode = loud", "loud"),
        ("imagefilter", "rule_modes = name-format:loud", "loud"),
        ("imagefilter", "rule_modes = nonsense:warn", "nonsense is not a rule"),
        ("imagefilter", "rule_modes = token:warn", "token refuses in every mode"),
        ("imagefilter", "rule_modes = body:off", "body refuses in every mode"),
        ("imagefilter", "metadata_items_source = nova", "nova"),
        ("imagefilter", "lookup_on_error = maybe", "maybe"),
        ("imagefilter", "reload_interval = -1", "greater than or equal to 0"),
    ],
)
def test_reports_bad_sections_and_options(section: str, line: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "i.conf"
    path.write_text(f"[{section}]\n{line}\n[imagefilter:project:f00]\nalso = wrong\n")
    with pytest.raises(ConfigError) as raised:
        load_policy({"oslo_config_file": str(path)})
    message = str(raised.value)
    for part in (f"section [{section}] of {path}", reason, "'also'", "project:f00"):
        assert part in message

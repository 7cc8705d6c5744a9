"""``imagefilter explain``: the filter's verdict, rule by rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest

pytest.importorskip("cliff")

from tests.cases import CASES, PROJECT, Case, image, items
from tests.unit.fakes import Guarded
from tests.unit.journal_fixtures import Run


@pytest.fixture
def explain(config: Path, tmp_path: Path, run: Any) -> Callable[..., Run]:
    """Explain the verdict on a body."""

    def explain(body: bytes, *args: str) -> Run:
        path = tmp_path / "body.json"
        path.write_bytes(body)
        explained: Run = run("explain", "--config", config, "-f", "json", *args, path)
        return explained

    return explain


def encode(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_explains_a_refusal(config: Path, explain: Any) -> None:
    explained = explain(encode(image("x", items(6))), "--project", "abc")
    results = {row["Rule"]: row for row in explained.rows}
    assert explained.status == 1
    assert "verdict: deny, rule snapshots-enabled: 400" in explained.err
    assert results["metadata-quota"]["Result"] == "403 Image metadata limit exceeded"
    assert results["metadata-quota"]["Settings"] == f"metadata_items = 5, section [imagefilter] of {config}"
    assert results["name-format"]["Result"] == "holds"
    assert results["name-format"]["Settings"] == ""
    assert results["metadata-reserved"]["Settings"] == "default"


def test_explains_what_is_allowed(explain: Any) -> None:
    explained = explain(encode(image("nightly-1")), "--project", "def")
    assert (explained.status, "verdict: allow (at latest" in explained.err) == (0, True)


def test_reports_what_is_not_an_image_action(explain: Any) -> None:
    explained = explain(b'{"reboot": null}')
    assert (explained.status, "forwards it untouched" in explained.err) == (2, True)


def test_explains_an_exemption(config: Path, explain: Any) -> None:
    config.write_text("[imagefilter]\nexempt_roles = backup\nsnapshots_enabled = false\n")
    explained = explain(encode(image()), "--role", "Backup")
    assert (explained.status, "verdict: exempt" in explained.err) == (0, True)


def test_uses_the_given_quota(config: Path, explain: Any) -> None:
    config.write_text("[imagefilter]\nmetadata_items_source = compute\n")
    assert explain(encode(image("x", items(3)))).status == 0
    assert "metadata-quota" in explain(encode(image("x", items(3))), "--quota", "2").err


@pytest.mark.parametrize(
    ("quota", "refusal"),
    [
        ("image_count_total=4/5,image_size_total=0/-1", ""),
        ("image_count_total=5/5", "image_count_total: limit 5, in use 5"),
        ("image_count_total=4/5, image_size_total=9/9", "image_size_total: limit 9, in use 9"),
    ],
)
def test_uses_the_given_quota_of_images(config: Path, explain: Any, quota: str, refusal: str) -> None:
    config.write_text("[imagefilter]\nimage_quota_check = true\n")
    explained = explain(encode(image()), "--image-quota", quota)
    assert explained.status == bool(refusal)
    if refusal:
        assert f"verdict: deny, rule image-quota: 403 Image quota exceeded ({refusal}) (at" in explained.err


@pytest.mark.parametrize("text", ["", "image_count_total", "image_count_total=1", "a=1/2", "image_size_total=-1/2"])
def test_a_quota_of_images_that_is_none(explain: Any, text: str) -> None:
    explained = explain(encode(image()), "--image-quota", text)
    assert (explained.status, "is not NAME=USED/LIMIT" in explained.err) == (2, True)


def test_uses_the_given_limits_of_keystone(config: Path, explain: Any) -> None:
    config.write_text(
        "[imagefilter]\nlimits_source = keystone\nidentity_api_url = http://keystone.example\n"
        "snapshots_per_project = 9\naudit_journal = /nowhere/audit.jsonl\n"
    )
    usage = ("--usage", "server=2,project=9")
    assert "deny, rule project-limit: 403" in explain(encode(image()), *usage).err, "not registered: the config's"
    limits = ("--keystone-limits", "snapshots_per_server=2, snapshots_per_project=-1")
    explained = explain(encode(image()), *usage, *limits)
    assert "deny, rule server-limit: 403 Server snapshot limit exceeded (limit 2, in use 2)" in explained.err
    [row] = [row for row in explained.rows if row["Rule"] == "server-limit"]
    assert "limits_source = keystone" in row["Settings"]
    assert explain(encode(image()), "--keystone-limits", "nonsense=1").status == 2


def is_explainable(case: Case) -> bool:
    """Return whether a case is a body from an authenticated caller on the usual path."""
    content_type = case.headers.get("Content-Type", "")
    is_usual = case.token and case.path.startswith("/servers/{server}/") and case.rule != "content-type"
    return bool(is_usual) and "application/json" in content_type


def run_both(case: Case, config: Path, explain: Any) -> tuple[Run, Any]:
    """Return the explanation of a case, and the filter's response to it."""
    lines = [f"{key} = {value}" for key, value in case.options.items()]
    config.write_text("\n".join(["[imagefilter]", *lines]))
    explained = explain(case.body, "--project", PROJECT)
    return explained, Guarded(oslo_config_file=str(config)).post(case.body)


ALLOWED = [case for case in CASES if is_explainable(case) and case.status == 202]
REFUSED = [case for case in CASES if is_explainable(case) and case.status != 202]


@pytest.mark.parametrize("case", ALLOWED, ids=[case.id for case in ALLOWED])
def test_allows_what_the_filter_allows(case: Case, config: Path, explain: Any) -> None:
    explained, response = run_both(case, config, explain)
    assert response.status_int == 202
    is_forwarded_untouched = "untouched" in explained.err
    assert explained.status == 2 * is_forwarded_untouched


@pytest.mark.parametrize("case", REFUSED, ids=[case.id for case in REFUSED])
def test_refuses_what_the_filter_refuses(case: Case, config: Path, explain: Any) -> None:
    explained, response = run_both(case, config, explain)
    [fault] = response.json.values()
    assert (response.status_int, fault["message"]) == (case.status, case.message)
    assert f"verdict: deny, rule {case.rule}: {case.status} {case.message} (at" in explained.err
    assert explained.status == 1
    refusing = [row["Rule"] for row in explained.rows if row["Result"].startswith(f"{case.status} ")]
    assert refusing[0] == case.rule

"""``imagefilter check config``: every error, and what is probably not meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cliff")

SWITCHED_OFF = "snapshots_enabled is false, so name_pattern and metadata_required have no effect"


def test_reports_warnings(config: Path, run: Any) -> None:
    check = run("check", "config", config)
    shelve = "snapshots_enabled is false, but shelve, which makes an image too, is not in actions"
    warnings = f"warning: abc: {SWITCHED_OFF}\nwarning: abc: {shelve}\n"
    assert (check.status, check.out) == (0, f"{warnings}{config}: OK, warnings: 2\n")
    assert run("check", "config", config, "--strict").status == 1


def test_reports_that_a_file_is_ok(config: Path, run: Any) -> None:
    config.write_text("[imagefilter]\nmetadata_items = 5\n")
    check = run("check", "config", config)
    assert (check.status, check.out) == (0, f"{config}: OK\n")


def test_reports_all_errors(config: Path, run: Any) -> None:
    config.write_text("[imagefilter]\nmetadata_items = x\nnonsense = 1\n[imagefilter:project:demo]\nmode = warn\n")
    check = run("check", "config", config)
    assert check.status == 2
    assert check.out.count("error: ") == 3


def test_reports_an_unusable_journal(config: Path, run: Any) -> None:
    config.write_text("[imagefilter]\naudit_journal = /nowhere/audit.jsonl\n")
    check = run("check", "config", config)
    assert check.status == 2
    assert "error: audit_journal = /nowhere/audit.jsonl in section [imagefilter]" in check.out


def test_reports_a_missing_file(run: Any) -> None:
    assert run("check", "config", "/nowhere.conf").status == 2


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("exempt_roles = admin, backup", "exempt_roles names admin"),
        ("metadata_required = id", "both name id: every request would be refused"),
        ("metadata_required = os_glance_x", "both name os_glance_x"),
        ("metadata_required = a, b\nmetadata_items = 1", "names more keys than metadata_items"),
        ("metadata_items = 119", "above 118"),
        ("metadata_reserved = id", "does not name these fields of the image: status, "),
        ("mode = warn", "not enforced: project-id:warn"),
        ("rule_modes = name-format:off", "not enforced: name-format:off"),
        ("", "sets no option"),
        ("name_pattern = [a-z-]+  # lower case", "a comment needs a line of its own"),
        ('exempt_roles = ["backup"]', "the brackets and quotes are part of the value"),
        ("exempt_roles = backup ops", "one role with a space in it"),
        ("name_pattern = /^prod-/", "the slashes are part of the value"),
        ("name_pattern = .{300,}", "matches no name of up to 255 characters"),
        ("name_pattern = (a{200}){2}", "matches no name of up to 255 characters"),
        ("metadata_required = cost/centre", "a key that Nova refuses"),
        ("metadata_required = caf\u00e9", "a key that Nova refuses"),
        ("metadata_items = 5\nmetadata_items_source = compute", "metadata_items has no effect"),
        ("snapshots_enabled = false", "shelve, which makes an image too, is not in actions"),
        ("mode = warn\n[api]\nallow_instance_snapshots = false", "allow_instance_snapshots in section [api]"),
        ("mode = warn\n[DEFAULT]\nallow_instance_snapshots = false", "allow_instance_snapshots in section [DEFAULT]"),
        (
            "metadata_items_source = compute\n[imagefilter:project:a]\nmetadata_items = 5",
            "a: metadata_items has no effect",
        ),
    ],
)
def test_warns_of_what_is_probably_not_meant(line: str, warning: str, config: Path, run: Any) -> None:
    config.write_text(f"[imagefilter]\n{line}\n")
    check = run("check", "config", config)
    assert check.status == 0
    assert warning in check.out


def test_values_that_are_meant_give_no_warning(config: Path, run: Any) -> None:
    config.write_text(
        "[imagefilter]\nname_pattern = [a-z-]+#[0-9]\nmetadata_required = cost_centre, a b\nexempt_roles = night, ops\n"
    )
    assert run("check", "config", config).out == f"{config}: OK\n"


def test_a_file_of_the_relay_alone_is_ok(config: Path, run: Any) -> None:
    config.write_text("[imagefilter_relay]\njournals = /var/log/imagefilter/audit.jsonl\ntransport_url = rabbit://x/\n")
    check = run("check", "config", config)
    assert (check.status, check.out) == (0, f"{config}: OK\n")


def test_reports_the_relays_errors(config: Path, run: Any) -> None:
    config.write_text("[imagefilter]\nmetadata_items = 5\n[imagefilter_relay]\njournal = /x\nretries = many\n")
    check = run("check", "config", config)
    assert check.status == 2
    assert "error: unknown option 'journal' in section [imagefilter_relay]" in check.out
    assert "retries = many" in check.out


def test_a_check_makes_no_file_of_locks(config: Path, tmp_path: Path, run: Any) -> None:
    """Made by root, it would keep the API's own user out, and every image action would get 503."""
    config.write_text(f"[imagefilter]\naudit_journal = {tmp_path}/audit.jsonl\nsnapshots_per_server = 2\n")
    before = sorted(tmp_path.iterdir())
    check = run("check", "config", config)
    assert check.status == 0
    assert f"limits hold for the processes of this host alone: they share file://{tmp_path}/locks" in check.out
    assert sorted(tmp_path.iterdir()) == before


def test_a_limit_in_force_while_the_rest_is_a_trial(config: Path, tmp_path: Path, run: Any) -> None:
    text = f"[imagefilter]\naudit_journal = {tmp_path}/audit.jsonl\nsnapshots_per_server = 2\nmode = warn\n"
    config.write_text(text)
    not_stamped = "warning: all projects: with mode = warn no image is stamped"
    not_reserved = "warning: all projects: with metadata-reserved:warn a client can name another server"
    out = run("check", "config", config).out
    assert (not_stamped in out, not_reserved in out) == (True, False)
    config.write_text(f"{text}rule_modes = server-limit:enforce\n")
    out = run("check", "config", config).out
    assert (not_stamped in out, not_reserved in out) == (False, True)
    config.write_text(f"{text}rule_modes = server-limit:enforce,metadata-reserved:enforce\n")
    out = run("check", "config", config).out
    assert (not_stamped in out, not_reserved in out) == (False, False)


def test_a_back_end_of_locks_that_is_down(config: Path, run: Any) -> None:
    """A warning, as for a Keystone that is down: with an error, a power cut would leave the gateway down for good."""
    pytest.importorskip("redis")
    config.write_text("[imagefilter]\nsnapshots_per_server = 2\ncoordination_url = redis://user:s3cr3t@127.0.0.1:1\n")
    check = run("check", "config", config)
    assert check.status == 0
    assert "warning: coordination_url redis://127.0.0.1:1 can't be used: Redis failed: ConnectionError" in check.out
    assert "s3cr3t" not in check.err + check.out
    assert run("check", "config", config, "--strict").status == 1


def test_a_file_of_locks_that_nobody_may_open(config: Path, tmp_path: Path, run: Any) -> None:
    (tmp_path / "locks").mkdir()
    config.write_text(f"[imagefilter]\nsnapshots_per_server = 2\ncoordination_url = file://{tmp_path}/locks\n")
    check = run("check", "config", config)
    assert check.status == 2
    assert f"error: coordination_url file://{tmp_path}/locks can't be used: " in check.out


def test_limits_from_a_keystone_that_is_down(config: Path, tmp_path: Path, run: Any) -> None:
    """A warning: the gateway's unit checks before its start, and may start before Keystone does."""
    text = f"[imagefilter]\naudit_journal = {tmp_path}/audit.jsonl\nidentity_api_url = http://127.0.0.1:1\n"
    config.write_text(f"{text}limits_source = keystone\n")
    check = run("check", "config", config)
    assert check.status == 0
    reason = "Keystone can't be asked: ConnectionError"
    assert f"warning: identity_api_url in section [imagefilter] of {config}: {reason}" in check.out
    project = "[imagefilter:project:abc]\nlimits_source = keystone\n"
    config.write_text(f"{text}{project}")
    assert reason in run("check", "config", config).out
    for unused in ("", f"{project}mode = off\n"):
        config.write_text(f"{text}{unused}")
        assert reason not in run("check", "config", config).out


@pytest.mark.parametrize("content", [None, "not a certificate\n"])
def test_certificates_that_cannot_be_read(config: Path, tmp_path: Path, run: Any, content: str | None) -> None:
    if content:
        (tmp_path / "ca.pem").write_text(content)
    config.write_text(f"[imagefilter]\naudit_journal = {tmp_path}/audit.jsonl\napi_ca_file = {tmp_path}/ca.pem\n")
    check = run("check", "config", config)
    assert check.status == 2
    assert f"error: api_ca_file = {tmp_path}/ca.pem in section [imagefilter] of {config}: " in check.out


def test_certificates_that_can_be_read(config: Path, tmp_path: Path, run: Any) -> None:
    trustme = pytest.importorskip("trustme")
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for path in (tmp_path / "ca.pem", tmp_path, ""):
        config.write_text(f"[imagefilter]\naudit_journal = {tmp_path}/audit.jsonl\napi_ca_file = {path}\n")
        check = run("check", "config", config)
        assert check.status == 0
        assert "api_ca_file" not in check.out

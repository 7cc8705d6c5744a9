"""Options become one immutable policy, and errors in them one message."""

from __future__ import annotations

from pathlib import Path

import pytest
from oslo_config import cfg

from imagefilter.policy.config import ConfigError
from imagefilter.policy.options import OPTIONS
from imagefilter.rules.table import load_policy


def write(folder: Path, text: str) -> dict[str, str]:
    """Write a config file and return the keys of a paste section that name it."""
    (folder / "imagefilter.conf").write_text(text)
    return {"oslo_config_project": "imagefilter", "oslo_config_file": str(folder / "imagefilter.conf")}


def test_defaults() -> None:
    policy = load_policy({})
    assert list(policy.actions) == ["createImage", "createBackup"]
    assert policy.settings.snapshots_enabled is True
    assert (policy.settings.metadata_items, policy.max_body_bytes) == (128, 114688)


def test_paste_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    paste = write(tmp_path, "[imagefilter]\nmetadata_items = 5\nmax_body_bytes = 1000\n")
    policy = load_policy({**paste, "metadata_items": "7"})
    assert (policy.settings.metadata_items, policy.max_body_bytes) == (7, 1000)


def test_policies_share_nothing() -> None:
    assert load_policy({"metadata_items": "1"}).settings != load_policy({"metadata_items": "2"}).settings
    assert "imagefilter" not in cfg.CONF
    assert load_policy({}).settings.metadata_items == 128


BAD = pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("metadata_items", "many", "not a whole number"),
        ("metadata_items", "-2", "Should be greater than or equal to -1"),
        ("max_body_bytes", "0", "Should be greater than or equal to 1"),
        ("snapshots_enabled", "perhaps", "neither true nor false"),
        ("actions", "createImage, reboot", "reboot"),
        ("www_authenticate_uri", "nonsense", "scheme"),
        ("metadata_itmes", "5", "is it metadata_items?"),
        ("nonsense", "5", "unknown option 'nonsense'"),
    ],
)


@BAD
def test_reports_bad_paste_options(key: str, value: str, reason: str) -> None:
    location = "section [filter:images] of api-paste.ini"
    with pytest.raises(ConfigError) as raised:
        load_policy({key: value}, location)
    for part in (key, reason, location):
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)


@BAD
def test_reports_bad_file_options(key: str, value: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_policy(write(tmp_path, f"[imagefilter]\n{key} = {value}\n"))
    for part in (key, reason, f"section [imagefilter] of {tmp_path}/imagefilter.conf"):
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)


def test_reports_an_empty_list_of_actions(tmp_path: Path) -> None:
    for paste in ({"actions": ""}, write(tmp_path, "[imagefilter]\nactions =\n")):
        with pytest.raises(ConfigError) as raised:
            load_policy(paste)
        assert raised.value.errors == [
            "actions is empty, so nothing would be judged: remove the filter from the pipeline instead"
        ]


def test_reports_all_errors_in_one_message(tmp_path: Path) -> None:
    text = "[imagefilter]\nmetadata_items = x\nnonsense = 1\n[imagefilter:unknown]\nmetadata_items = 1\n"
    with pytest.raises(ConfigError) as raised:
        load_policy({**write(tmp_path, text), "max_body_bytes": "y", "other": "z"}, "section [filter:f] of p.ini")
    message = str(raised.value)
    for part in ("metadata_items = x", "'nonsense'", "[imagefilter:unknown]", "max_body_bytes = y", "'other'"):
        assert part in message
    assert message == "imagefilter: " + "; ".join(raised.value.errors)
    assert len(raised.value.errors) == 5


WITH_MODE = (
    "project-id, project, project-unknown, server, snapshots-enabled, name-required, name-format, metadata-type,"
    " metadata-quota, metadata-key-blank, metadata-key-length, metadata-value, name-pattern, metadata-required,"
    " metadata-reserved, backup-rotation, one-at-a-time, limit-busy, server-limit, project-limit, progress-limit,"
    " image-quota"
)


def test_errors_as_an_operator_reads_them(tmp_path: Path) -> None:
    text = "[imagefilter]\nmode = loud\nrule_modes = nonsense:warn,token:off\nxyzzy = 1\n"
    text += "[imagefilter_extra]\nmode = off\n[imagefilter:project:demo]\nmode = off\n"
    text += "[imagefilter:project:abc]\nmax_body_bytes = 1000\nmetadata_itmes = 1\nmetadata_items = x\n"
    with pytest.raises(ConfigError) as raised:
        load_policy({**write(tmp_path, text), "actions": "", "zzz": "1"})
    file = f"of {tmp_path}/imagefilter.conf"
    common, abc = f"section [imagefilter] {file}", f"section [imagefilter:project:abc] {file}"
    assert raised.value.errors == [
        f"section [imagefilter_extra] {file}: unknown section (is it [imagefilter_relay]?)",
        f"unknown option 'xyzzy' in {common}",
        f"section [imagefilter:project:demo] {file}: 'demo' is not a project id (digits, a to f, hyphens)",
        f"max_body_bytes in {abc}: it applies to all projects: set it in [imagefilter]",
        f"unknown option 'metadata_itmes' in {abc} (is it metadata_items?)",
        "unknown option 'zzz' in the paste section",
        f"mode = loud in {common}: Valid values are [enforce, warn, off], but found 'loud'",
        f"metadata_items = x in {abc}: not a whole number",
        "actions is empty, so nothing would be judged: remove the filter from the pipeline instead",
        f"rule_modes in {common}: nonsense is not a rule; rules are {WITH_MODE}",
        f"rule_modes in {common}: token refuses in every mode; rules are {WITH_MODE}",
    ]


def test_reports_a_mode_of_no_rule_beside_one_of_a_rule() -> None:
    with pytest.raises(ConfigError, match="nonsense is not a rule"):
        load_policy({"rule_modes": "server:warn,nonsense:warn"})


def test_reports_unknown_options_in_unknown_sections(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_policy(write(tmp_path, "[imagefilter_extra]\nmetadata_itmes = 1\n"))
    location = f"section [imagefilter_extra] of {tmp_path}/imagefilter.conf"
    assert raised.value.errors == [
        f"{location}: unknown section (is it [imagefilter_relay]?)",
        f"unknown option 'metadata_itmes' in {location} (is it metadata_items?)",
    ]


def test_every_option_has_a_help_text() -> None:
    for option in OPTIONS:
        assert len(option.help) > 80, option.name

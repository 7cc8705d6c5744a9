"""Options from paste keys and from files, and what is said of those that can't be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from oslo_config import cfg
from paste.deploy import loadapp

from imagefilter.options import OPTIONS
from imagefilter.policy import ConfigError, load


def write(folder: Path, text: str, name: str = "imagefilter.conf") -> dict[str, str]:
    (folder / name).write_text(text)
    return {"oslo_config_project": "imagefilter", "oslo_config_file": str(folder / name)}


def test_defaults() -> None:
    policy = load({})
    assert list(policy.actions) == ["createImage", "createBackup"]
    assert policy.settings.snapshots_enabled is True
    assert (policy.settings.metadata_items, policy.max_body_bytes) == (128, 114688)


def test_paste_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    paste = write(tmp_path, "[imagefilter]\nmetadata_items = 5\nmax_body_bytes = 1000\n")
    policy = load({**paste, "metadata_items": "7"})
    assert (policy.settings.metadata_items, policy.max_body_bytes) == (7, 1000)


def test_a_file_alone_is_enough(tmp_path: Path) -> None:
    paste = write(tmp_path, "[imagefilter]\nactions = shelve\n")
    assert list(load({"oslo_config_file": paste["oslo_config_file"]}).actions) == ["shelve"]


@pytest.mark.parametrize("text", ["false", "False", "0", "no", "off"])
@pytest.mark.parametrize("name", ["snapshots_enabled", "allow_instance_snapshots"])
def test_the_switch_and_its_old_name(name: str, text: str, tmp_path: Path) -> None:
    assert load({name: text}).settings.snapshots_enabled is False
    assert load(write(tmp_path, f"[imagefilter]\n{name} = {text}\n")).settings.snapshots_enabled is False


def test_an_empty_value_unsets(tmp_path: Path) -> None:
    paste = write(tmp_path, "[imagefilter]\nmetadata_items = 5\nwww_authenticate_uri =\nsnapshots_enabled =\n")
    policy = load({**paste, "metadata_items": ""})
    assert (policy.settings.snapshots_enabled, policy.settings.metadata_items) == (True, 128)
    assert policy.www_authenticate_uri is None


def test_substitution_is_oslo_configs_own(tmp_path: Path) -> None:
    text = "[imagefilter]\nwww_authenticate_uri = https://id.example/a$$b\n"
    assert load(write(tmp_path, text)).www_authenticate_uri == "https://id.example/a$b"


def test_other_sections_are_none_of_ours(tmp_path: Path) -> None:
    text = "[DEFAULT]\nnonsense = 1\n[api]\nallow_instance_snapshots = false\n[imagefilter]\nmetadata_items = 1\n"
    settings = load(write(tmp_path, text, "nova.conf")).settings
    assert (settings.snapshots_enabled, settings.metadata_items) == (True, 1)


def test_the_environment_is_no_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OS_IMAGEFILTER__METADATA_ITEMS", "1")
    assert load({}).settings.metadata_items == 128
    assert load(write(tmp_path, "[imagefilter]\nsnapshots_enabled = yes\n")).settings.metadata_items == 128


def test_nothing_is_shared() -> None:
    assert load({"metadata_items": "1"}).settings != load({"metadata_items": "2"}).settings
    assert "imagefilter" not in cfg.CONF
    assert load({}).settings.metadata_items == 128


def test_without_a_file_none_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".imagefilter").mkdir()
    (tmp_path / ".imagefilter" / "imagefilter.conf").write_text("[imagefilter]\nmetadata_items = 1\n")
    assert load({}).settings.metadata_items == 128
    assert load({"oslo_config_project": "imagefilter"}).settings.metadata_items == 1


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("metadata_items", "many", "invalid literal"),
        ("metadata_items", "-2", "Should be greater than or equal to -1"),
        ("max_body_bytes", "0", "Should be greater than or equal to 1"),
        ("snapshots_enabled", "perhaps", "Unexpected boolean value"),
        ("actions", "createImage, reboot", "reboot"),
        ("www_authenticate_uri", "nonsense", "scheme"),
        ("metadata_itmes", "5", "is it metadata_items?"),
        ("nonsense", "5", "unknown option 'nonsense'"),
        ("actions", "", "actions is empty"),
    ],
)
def test_what_cannot_be_used_is_named(key: str, value: str, reason: str, tmp_path: Path) -> None:
    for paste, place in (
        ({key: value}, "section [filter:images] of api-paste.ini"),
        (write(tmp_path, f"[imagefilter]\n{key} = {value}\n"), f"section [imagefilter] of {tmp_path}/imagefilter.conf"),
    ):
        with pytest.raises(ConfigError) as raised:
            load(paste, "section [filter:images] of api-paste.ini")
        message = str(raised.value)
        assert key in message
        assert reason in message
        assert "\n" not in message
        if value:
            assert place in message


def test_all_errors_come_in_one_message(tmp_path: Path) -> None:
    text = "[imagefilter]\nmetadata_items = x\nnonsense = 1\n[imagefilter:unknown]\nmetadata_items = 1\n"
    with pytest.raises(ConfigError) as raised:
        load({**write(tmp_path, text), "max_body_bytes": "y", "other": "z"}, "section [filter:f] of p.ini")
    message = str(raised.value)
    for part in ("metadata_items = x", "'nonsense'", "[imagefilter:unknown]", "max_body_bytes = y", "'other'"):
        assert part in message
    assert message == "imagefilter: " + "; ".join(raised.value.errors)
    assert len(raised.value.errors) == 5


RULES = "project-id, project, project-unknown, server, snapshots-enabled, name-required, name-format, metadata-type,"
RULES += " metadata-quota, metadata-key-blank, metadata-key-length, metadata-value, name-pattern, metadata-required,"
RULES += " metadata-reserved"


def test_errors_as_the_operator_reads_them(tmp_path: Path) -> None:
    text = "[imagefilter]\nmode = loud\nrule_modes = nonsense:warn,token:off\nxyzzy = 1\n"
    text += "[imagefilter_extra]\nmode = off\n[imagefilter:project:demo]\nmode = off\n"
    text += "[imagefilter:project:abc]\nmax_body_bytes = 1000\nmetadata_itmes = 1\nmetadata_items = x\n"
    with pytest.raises(ConfigError) as raised:
        load({**write(tmp_path, text), "actions": "", "zzz": "1"})
    file = f"of {tmp_path}/imagefilter.conf"
    common, abc = f"section [imagefilter] {file}", f"section [imagefilter:project:abc] {file}"
    assert raised.value.errors == [
        f"unknown option 'xyzzy' in {common}",
        f"section [imagefilter_extra] {file}: unknown section",
        f"section [imagefilter:project:demo] {file}: 'demo' is no project id, which is of 0-9, a-f and -",
        f"max_body_bytes in {abc}: it holds for all projects, so it belongs into [imagefilter]",
        f"unknown option 'metadata_itmes' in {abc} (is it metadata_items?)",
        "unknown option 'zzz' in the paste section",
        f"mode = loud in {common}: Valid values are [enforce, warn, off], but found 'loud'",
        f"metadata_items = x in {abc}: invalid literal for int() with base 10: 'x'",
        "actions is empty, so nothing would be judged: take the filter out of the pipeline instead",
        f"rule_modes in {common}: nonsense is no rule; rules are {RULES}",
        f"rule_modes in {common}: token refuses in every mode; rules are {RULES}",
    ]


def test_a_value_that_leads_to_itself_is_an_error_as_any_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="that leads to itself"):
        load(write(tmp_path, "[imagefilter]\nname_pattern = x|$name_pattern\n"))


def test_an_empty_value_unsets_its_own_option_and_no_other() -> None:
    policy = load({"www_authenticate_uri": "", "metadata_reserved": " ", "max_body_bytes": "", "metadata_items": "5"})
    assert (policy.www_authenticate_uri, policy.max_body_bytes, policy.settings.metadata_items) == (None, 114688, 5)
    assert policy.settings.metadata_reserved == frozenset()


@pytest.mark.parametrize("text", ["no section = 1\n", "[imagefilter]\nx\n", "[imagefilter\n", "\xff"])
def test_a_file_that_is_none(tmp_path: Path, text: str) -> None:
    paste = write(tmp_path, "")
    Path(paste["oslo_config_file"]).write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError) as raised:
        load(paste)
    assert paste["oslo_config_file"] in str(raised.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"/nowhere/imagefilter\.conf"):
        load({"oslo_config_project": "imagefilter", "oslo_config_file": "/nowhere/imagefilter.conf"})


INI = """
[DEFAULT]
metadata_items = nonsense of somebody else's
[app:main]
use = call:tests.unit.test_contract:compute_factory
filter-with = pictures
[filter:pictures]
{factory}
metadata_itmes = 5
[filter:other]
paste.filter_factory = somewhere.else:factory
metadata_itmes = 5
"""


@pytest.mark.parametrize(
    "factory",
    [
        "use = egg:imagefilter",
        "use = egg:imagefilter#imagefilter",
        "use = egg:imagefilter#main",
        "paste.filter_factory = imagefilter:filter_factory",
    ],
)
def test_loading_stops_with_the_name_of_the_section(tmp_path: Path, factory: str) -> None:
    ini = tmp_path / "api-paste.ini"
    ini.write_text(INI.format(factory=factory))
    with pytest.raises(ConfigError) as raised:
        loadapp(f"config:{ini}")
    expected = f"unknown option 'metadata_itmes' in section [filter:pictures] of {ini} (is it metadata_items?)"
    assert str(raised.value) == f"imagefilter: {expected}"
    ini.write_text(INI.format(factory=factory).replace("metadata_itmes", "metadata_items"))
    assert callable(loadapp(f"config:{ini}")), "paste's global options are nobody's"


def test_every_option_teaches() -> None:
    for option in OPTIONS:
        assert len(option.help) > 80, option.name

"""Options are read from a paste section and from config files, with oslo.config's own syntax."""

from __future__ import annotations

from pathlib import Path

import pytest
from oslo_config import cfg
from paste.deploy import loadapp

from imagefilter.policy.config import ConfigError, RawOption, convert, paste_location, select
from imagefilter.policy.options import OPTIONS
from imagefilter.policy.reserved import ReservedKeys
from imagefilter.rules.table import load_policy


def write(folder: Path, text: str, name: str = "imagefilter.conf") -> dict[str, str]:
    """Write a config file and return the keys of a paste section that name it."""
    (folder / name).write_text(text)
    return {"oslo_config_project": "imagefilter", "oslo_config_file": str(folder / name)}


# --- which files are read


def test_reads_a_file_that_is_named_without_a_project(tmp_path: Path) -> None:
    paste = write(tmp_path, "[imagefilter]\nactions = shelve\n")
    assert list(load_policy({"oslo_config_file": paste["oslo_config_file"]}).actions) == ["shelve"]


def test_reads_no_file_unless_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".imagefilter").mkdir()
    (tmp_path / ".imagefilter" / "imagefilter.conf").write_text("[imagefilter]\nmetadata_items = 1\n")
    assert load_policy({}).settings.metadata_items == 128
    assert load_policy({"oslo_config_project": "imagefilter"}).settings.metadata_items == 1


def test_reads_each_file_of_a_config_directory_and_the_last_one_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    directory = tmp_path / ".imagefilter" / "imagefilter.conf.d"
    directory.mkdir(parents=True)
    (directory / "1.conf").write_text("[imagefilter]\nmetadata_items = 1\nmax_body_bytes = 1000\n")
    (directory / "2.conf").write_text("[imagefilter]\nmetadata_items = 2\n")
    policy = load_policy({"oslo_config_project": "imagefilter"})
    assert (policy.settings.metadata_items, policy.max_body_bytes) == (2, 1000)
    assert policy.origins[""]["metadata_items"].location == f"section [imagefilter] of {directory}/2.conf"


def test_ignores_other_sections(tmp_path: Path) -> None:
    text = "[DEFAULT]\nnonsense = 1\n[api]\nallow_instance_snapshots = false\n[imagefilter]\nmetadata_items = 1\n"
    settings = load_policy(write(tmp_path, text, "nova.conf")).settings
    assert (settings.snapshots_enabled, settings.metadata_items) == (True, 1)


def test_ignores_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OS_IMAGEFILTER__METADATA_ITEMS", "1")
    assert load_policy({}).settings.metadata_items == 128
    assert load_policy(write(tmp_path, "[imagefilter]\nsnapshots_enabled = yes\n")).settings.metadata_items == 128


def test_reports_a_missing_file() -> None:
    with pytest.raises(ConfigError, match=r"^imagefilter: config file /nowhere/imagefilter\.conf: No such file"):
        load_policy({"oslo_config_project": "imagefilter", "oslo_config_file": "/nowhere/imagefilter.conf"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no section = 1\n", ", line 1: Section must be started before assignment"),
        ("[imagefilter]\nx\n", ", line 2: No ':' or '=' found in assignment: 'x'"),
        ("[imagefilter\n", ", line 1: Invalid section (must end with ]): '[imagefilter'"),
        ("\xff", ": 'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_reports_an_unreadable_file(tmp_path: Path, text: str, reason: str) -> None:
    paste = write(tmp_path, "")
    Path(paste["oslo_config_file"]).write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError) as raised:
        load_policy(paste)
    assert f"config file {paste['oslo_config_file']}{reason}" in str(raised.value)
    assert "\n" not in str(raised.value)


# --- $-substitution


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("www_authenticate_uri = https://id.example/a$$b\n", "https://id.example/a$b"),
        ("www_authenticate_uri = https://id.example/a\\$b\n", "https://id.example/a$b"),
        ("name_pattern = x\nwww_authenticate_uri = https://id.example/$name_pattern\n", "https://id.example/x"),
        ("www_authenticate_uri = https://id.example/${host}/x\n[DEFAULT]\nhost = h\n", "https://id.example/h/x"),
        ("www_authenticate_uri = https://id.example/$api.path\n[api]\npath = p\n", "https://id.example/p"),
    ],
)
def test_substitutes_as_oslo_config_does(tmp_path: Path, text: str, expected: str) -> None:
    assert load_policy(write(tmp_path, f"[imagefilter]\n{text}")).www_authenticate_uri == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x|$name_pattern", "circular $-substitution"),
        ("$nothing", "$nothing is not set in the config file (write $$ for a dollar sign)"),
        ("$api.nothing", "$api.nothing is not set in the config file (write $$ for a dollar sign)"),
    ],
)
def test_reports_values_that_cannot_be_substituted(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_policy(write(tmp_path, f"[imagefilter]\nname_pattern = {text}\nmode = loud\n"))
    location = f"section [imagefilter] of {tmp_path}/imagefilter.conf"
    assert raised.value.errors[0] == f"name_pattern in {location}: {reason}"
    assert "mode = loud" in raised.value.errors[1], "the other options of the file are checked as well"


# --- values


def test_an_empty_value_unsets(tmp_path: Path) -> None:
    paste = write(tmp_path, "[imagefilter]\nmetadata_items = 5\nwww_authenticate_uri =\nsnapshots_enabled =\n")
    policy = load_policy({**paste, "metadata_items": ""})
    assert (policy.settings.snapshots_enabled, policy.settings.metadata_items) == (True, 128)
    assert policy.www_authenticate_uri is None


def test_an_empty_value_unsets_no_other_option() -> None:
    policy = load_policy(
        {"www_authenticate_uri": "", "metadata_reserved": " ", "max_body_bytes": "", "metadata_items": "5"}
    )
    assert (policy.www_authenticate_uri, policy.max_body_bytes, policy.settings.metadata_items) == (None, 114688, 5)
    assert policy.settings.metadata_reserved == ReservedKeys(frozenset(), ())


@pytest.mark.parametrize("text", ["false", "False", "0", "no", "off"])
@pytest.mark.parametrize("name", ["snapshots_enabled", "allow_instance_snapshots"])
def test_accepts_the_switch_by_its_old_name(name: str, text: str, tmp_path: Path) -> None:
    assert load_policy({name: text}).settings.snapshots_enabled is False
    assert load_policy(write(tmp_path, f"[imagefilter]\n{name} = {text}\n")).settings.snapshots_enabled is False


def test_the_last_value_given_wins() -> None:
    first = RawOption("", "metadata_items", "1", "here")
    last = RawOption("", "metadata_items", "2", "there")
    errors: list[str] = []
    given = select([first, last], OPTIONS, errors)
    assert (given, errors) == ({"metadata_items": last}, [])
    assert convert(given, OPTIONS, errors)["metadata_items"] == 2


def test_the_last_value_in_a_section_wins(tmp_path: Path) -> None:
    policy = load_policy(write(tmp_path, "[imagefilter]\nmetadata_items = 1\nmetadata_items = 2\n"))
    assert policy.settings.metadata_items == 2


def test_reports_values_in_the_order_in_which_they_are_given() -> None:
    errors: list[str] = []
    names = ("mode", "metadata_items", "actions")
    convert({name: RawOption("", name, "nonsense", "here") for name in names}, OPTIONS, errors)
    assert [error.partition(" = ")[0] for error in errors] == list(names)


def test_hides_secrets_in_errors() -> None:
    port = cfg.PortOpt("port", secret=True)
    errors: list[str] = []
    convert({"port": RawOption("", "port", "s3cr3t", "here")}, [port], errors)
    [error] = errors
    assert error.startswith("port = *** in here: ")


# --- where an option is given

INI = """
[DEFAULT]
metadata_items = nonsense of somebody else's
[app:main]
use = call:tests.unit.fakes:compute_factory
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
        "use = egg:nova-imagefilter",
        "use = egg:nova-imagefilter#imagefilter",
        "use = egg:nova-imagefilter#main",
        "paste.filter_factory = imagefilter:filter_factory",
    ],
)
def test_errors_name_the_paste_section(tmp_path: Path, factory: str) -> None:
    ini = tmp_path / "api-paste.ini"
    ini.write_text(INI.format(factory=factory))
    with pytest.raises(ConfigError) as raised:
        loadapp(f"config:{ini}")
    expected = f"unknown option 'metadata_itmes' in section [filter:pictures] of {ini} (is it metadata_items?)"
    assert str(raised.value) == f"imagefilter: {expected}"


def test_ignores_pastes_global_options(tmp_path: Path) -> None:
    ini = tmp_path / "api-paste.ini"
    ini.write_text(INI.format(factory="use = egg:nova-imagefilter").replace("metadata_itmes", "metadata_items"))
    assert callable(loadapp(f"config:{ini}"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[filter:a]\nuse = egg:nova-imagefilter\nmode = warn\n", "section [filter:a] of {path}"),
        ("[filter:a]\nuse = egg:nova-imagefilter\nmode = warn\n[filter:b]\nuse = egg:nova-imagefilter\n",
         "section [filter:a] of {path}"),
        ("[filter:a]\nuse = egg:nova-imagefilter\nmode = warn\n[filter:b]\nuse = egg:nova-imagefilter\nmode = off\n",
         "a section [filter:...] of {path}"),
        ("[filter:a]\nuse = egg:other\nmode = warn\n", "a section [filter:...] of {path}"),
        ("no section", "a section [filter:...] of {path}"),
        ("[filter:a]\nuse = \xff", "a section [filter:...] of {path}"),
    ],
)  # fmt: skip
def test_finds_the_paste_section(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "paste.ini"
    path.write_bytes(text.encode("latin-1"))
    assert paste_location({"__file__": str(path)}, {"mode": "warn"}) == expected.format(path=path)


def test_a_factory_that_is_called_without_paste_has_no_section() -> None:
    assert paste_location({}, {"mode": "warn"}) == "the paste section"

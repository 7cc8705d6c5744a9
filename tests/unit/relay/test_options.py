"""The relay's options, in a file that may be the filter's as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagefilter.policy.config import ConfigError
from imagefilter.relay import options
from imagefilter.rules.table import load_policy
from tests.paths import DOCS

GOOD = "[imagefilter_relay]\njournals = /a/b.jsonl\ntransport_url = rabbit://u:secret@h/\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "imagefilter.conf"


def load(config: Path, text: str, **arguments: Any) -> options.Settings:
    config.write_text(text)
    return options.load(str(config), **arguments)


def test_one_file_holds_options_of_filter_and_relay(config: Path) -> None:
    text = "[DEFAULT]\ndebug = true\n[imagefilter]\nmode = warn\n[imagefilter:project:abc]\nmode = off\n" + GOOD
    assert load(config, text).journals == ["/a/b.jsonl"]
    policy = load_policy({"oslo_config_file": str(config)})
    assert policy.settings.mode == "warn"
    assert list(policy.projects) == ["abc"]


@pytest.mark.parametrize(
    "section", ["imagefilter_realy", "imagefilter-relay", "Imagefilter_relay", "imagefilter_relay2"]
)
def test_a_misspelt_section_is_an_error_for_both(config: Path, section: str) -> None:
    with pytest.raises(ConfigError, match="unknown section"):
        load(config, f"{GOOD}[{section}]\ntopics = x\n")
    with pytest.raises(ConfigError, match="unknown section"):
        load_policy({"oslo_config_file": str(config)})


def test_reports_a_misspelt_section_once(config: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(config, f"{GOOD}[imagefilter_realy]\ntopics = x\nretries = 3\n")
    assert caught.value.errors == [
        f"section [imagefilter_realy] of {config}: unknown section (is it [imagefilter_relay]?)"
    ]


def test_reports_all_errors_in_one_message(config: Path) -> None:
    text = "[imagefilter_relay]\nretrys = 3\nlisten_port = 99999\ncheckpoint = relay.json\ndriver = fax\ntopics =\n"
    with pytest.raises(ConfigError) as caught:
        load(config, text)
    location = f"section [imagefilter_relay] of {config}"
    assert caught.value.errors[0] == f"unknown option 'retrys' in {location} (is it retries?)"
    for part in (
        "listen_port = 99999",
        "driver = fax",
        "relay.json is not an absolute path",
        "no journal to follow",
        "topics is empty",
    ):
        assert any(part in error and location in error for error in caught.value.errors), part


def test_journals_on_the_command_line_win(config: Path) -> None:
    assert load(config, GOOD, journals=["/c.jsonl", "/d.jsonl", "/c.jsonl"]).journals == ["/c.jsonl", "/d.jsonl"]


def test_without_a_file_it_reports_what_is_needed() -> None:
    with pytest.raises(ConfigError) as caught:
        options.load(None)
    assert [error.partition(":")[0] for error in caught.value.errors] == ["no journal to follow"]
    assert options.load(None, ["/a"], dry_run=True).journals == ["/a"]


def test_without_a_bus_and_a_port_there_is_nothing_to_do(config: Path) -> None:
    text = "[imagefilter_relay]\njournals = /a\n"
    assert load(config, text).transport_url is None
    with pytest.raises(ConfigError, match="neither transport_url nor listen_port is set"):
        load(config, f"{text}listen_port = 0\n")


def test_an_empty_option_has_its_default(config: Path) -> None:
    settings = load(config, f"{GOOD}retries =\ncheckpoint =\n")
    assert settings.retries == 5
    assert settings.checkpoint == "/var/lib/imagefilter/relay.json"


def test_the_page_lists_every_option() -> None:
    page = (DOCS / "relay.md").read_text()
    for option in options.OPTIONS:
        assert f"| `{option.name}` |" in page

"""The files in etc/ and the examples in the pages are current, and are those that the tests run."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import imagefilter
from imagefilter.policy.limits import EXPIRES, STAMPS
from imagefilter.policy.options import INSTRUCTIONS, OPTIONS
from imagefilter.policy.policy import Policy
from imagefilter.rules.table import load_policy
from tests.paths import DOCS, ETC, ROOT

SAMPLE = ETC / "imagefilter.conf.sample"
README = (ROOT / "README.md").read_text()
CONFIGURATION = (DOCS / "configuration.md").read_text()
DEPLOY = (DOCS / "deploy.md").read_text()

# Older Pythons get older releases of them, which word the sample otherwise and can't find their own version.
oslo_config_tools = pytest.mark.skipif(sys.version_info < (3, 11), reason="oslo.config's tools of this Python are old")


def tool(name: str) -> str:
    """Return the path of a command in this virtualenv."""
    return str(Path(sys.executable).parent / name)


def without_origins(policy: Policy) -> Policy:
    """Return a policy that compares equal to others that judge alike, wherever their options were given."""
    return policy._replace(origins={}, names_given={}, loaded=policy.loaded._replace(section="", paste={}, files=()))


@oslo_config_tools
@pytest.mark.slow
def test_the_sample_is_current(tmp_path: Path) -> None:
    generated = tmp_path / "sample"
    config = ETC / "config-generator.conf"
    subprocess.run(
        [tool("oslo-config-generator"), "--config-file", config, "--output-file", generated], check=True, cwd=ROOT
    )
    assert generated.read_text() == SAMPLE.read_text()


def test_the_sample_loads_and_changes_nothing() -> None:
    sample = {"oslo_config_project": "imagefilter", "oslo_config_file": str(SAMPLE)}
    assert without_origins(load_policy(sample)) == without_origins(load_policy({}))


# Options for which the sample has an example instead of their default.
_EXAMPLES = ("<None>", "rule_modes", "audit_journal", "coordination_url", "metadata_set", "image_expires")


def set_all(sample: str) -> str:
    """Return a sample with all its defaults set, without the options for which it has an example instead.

    Nor with a rule of the operator's own: it would be one more.
    """
    lines = []
    before, _, own_rule = sample.partition("[imagefilter:rule:name]\n")
    sample = before + own_rule[own_rule.index("\n[") :]
    for line in sample.split("\n"):
        if any(example in line for example in _EXAMPLES):
            continue
        is_option = re.match(r"#\S.* = ", line)
        lines.append(line.removeprefix("#") if is_option else line)
    return "\n".join(lines)


@oslo_config_tools
@pytest.mark.slow
def test_the_validator_accepts_a_file_that_sets_everything(tmp_path: Path) -> None:
    path = tmp_path / "imagefilter.conf"
    path.write_text(set_all(SAMPLE.read_text()))
    assert "metadata_items = 128" in path.read_text()
    command = [tool("oslo-config-validator"), "--namespace", "imagefilter", "--input-file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert without_origins(load_policy({"oslo_config_file": str(path)})) == without_origins(load_policy({}))


def test_the_table_lists_every_option() -> None:
    for option in OPTIONS:
        assert f"| `{option.name}` |" in CONFIGURATION


def test_the_packages_docstring_lists_every_option() -> None:
    for option in OPTIONS:
        assert f"``{option.name}``" in (imagefilter.__doc__ or "")


def load_example(folder: Path, page: str, end: str) -> Policy:
    """Load the example of a policy file on a page, up to the text that follows it."""
    path = folder / "imagefilter.conf"
    path.write_text(textwrap.dedent(page[page.index("    [imagefilter]\n") : page.index(end)]))
    return load_policy({"oslo_config_file": str(path)})


def test_the_readmes_example_loads(tmp_path: Path) -> None:
    policy = load_example(tmp_path, README, "A rule of your own is one expression")
    assert policy.settings.metadata_required == ("owner-team",)
    assert [settings.snapshots_enabled for settings in policy.projects.values()] == [False]


def test_the_pages_example_loads(tmp_path: Path) -> None:
    policy = load_example(tmp_path, CONFIGURATION, "An option can be set in several places")
    assert policy.settings.quota_from_compute
    quotas = [(settings.quota_from_compute, settings.metadata_items) for settings in policy.projects.values()]
    assert sorted(quotas) == [(False, 10), (True, 128)]


def test_novas_line_names_all_that_no_image_shall_inherit() -> None:
    parser = configparser.RawConfigParser()
    parser.read(ETC / "nova-stamps.conf")
    line = parser.get("DEFAULT", "non_inheritable_image_properties")
    named = line.split(",")
    assert named[:2] == ["cache_in_nova", "bittorrent"], "Nova's own default"
    assert set(named[2:]) == {*INSTRUCTIONS, *STAMPS, EXPIRES}
    assert f"non_inheritable_image_properties = {line}\n" in (DOCS / "limits.md").read_text()


def test_the_page_shows_the_paste_file_that_is_shipped() -> None:
    parser = configparser.RawConfigParser()
    parser.read(ETC / "api-paste.ini")
    for section in parser.sections():
        assert f"    [{section}]\n" in DEPLOY
        for key, value in parser.items(section):
            assert f"    {key} = {value}\n" in DEPLOY

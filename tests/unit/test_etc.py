"""What stands in etc/ and in the README is current, and is what the tests run."""

from __future__ import annotations

import configparser
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from imagefilter.options import OPTIONS
from imagefilter.policy import Policy, load

ROOT = Path(__file__).parents[2]
ETC = ROOT / "etc" / "imagefilter"


def tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


# On older Pythons these are of older releases: they word the sample otherwise, and can't find their own version.
oslo_config_tools = pytest.mark.skipif(sys.version_info < (3, 11), reason="oslo.config's tools of this Python are old")


@oslo_config_tools
def test_the_sample_is_current(tmp_path: Path) -> None:
    made = tmp_path / "sample"
    config = ETC / "config-generator.conf"
    subprocess.run(
        [tool("oslo-config-generator"), "--config-file", config, "--output-file", made], check=True, cwd=ROOT
    )
    assert made.read_text() == (ETC / "imagefilter.conf.sample").read_text()


def test_the_sample_loads_and_changes_nothing() -> None:
    sample = {"oslo_config_project": "imagefilter", "oslo_config_file": str(ETC / "imagefilter.conf.sample")}
    assert same(load(sample), load({}))


def same(one: Policy, other: Policy) -> bool:
    """Whether two policies judge alike, wherever their options were given."""
    return one._replace(origins={}) == other._replace(origins={})


@oslo_config_tools
def test_the_validator_accepts_a_file_that_sets_everything(tmp_path: Path) -> None:
    text = (ETC / "imagefilter.conf.sample").read_text()
    lines = [
        line[1:] if line.startswith("#") and " = " in line and line[1] != " " else line for line in text.split("\n")
    ]
    given = tmp_path / "imagefilter.conf"
    examples = ("<None>", "rule_modes", "audit_journal")  # for these the sample shows no default
    given.write_text("\n".join(line for line in lines if not any(example in line for example in examples)))
    assert "metadata_items = 128" in given.read_text()
    command = [tool("oslo-config-validator"), "--namespace", "imagefilter", "--input-file", str(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert same(load({"oslo_config_file": str(given)}), load({}))


def test_the_readme_lists_every_option() -> None:
    readme = (ROOT / "README.md").read_text()
    manual = sys.modules["imagefilter"].__doc__ or ""
    for option in OPTIONS:
        assert f"| `{option.name}` |" in readme
        assert f"* ``{option.name}``" in manual


def test_the_readmes_example_loads(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    example = readme[readme.index("    [imagefilter]\n") : readme.index("What counts, from weak to strong")]
    path = tmp_path / "imagefilter.conf"
    path.write_text(textwrap.dedent(example))
    policy = load({"oslo_config_file": str(path)})
    assert policy.settings.quota_of_compute
    assert len(policy.projects) == 2
    assert [each.metadata_items for each in policy.projects.values() if not each.quota_of_compute] == [10]


def test_the_readme_shows_the_paste_file_that_is_shipped() -> None:
    parser = configparser.RawConfigParser()
    parser.read(ETC / "api-paste.ini")
    readme = (ROOT / "README.md").read_text()
    for section in parser.sections():
        assert f"    [{section}]\n" in readme
        for key, value in parser.items(section):
            assert f"    {key} = {value}\n" in readme

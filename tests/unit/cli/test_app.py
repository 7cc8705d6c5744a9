"""The program: its commands, their libraries and exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cliff")

from tests.cases import image

COMMANDS = (
    "audit export",
    "audit follow",
    "audit list",
    "audit replay",
    "audit report",
    "audit show",
    "audit summary",
    "check",
    "check config",
    "check pipeline",
    "explain",
    "reap",
    "relay",
    "show config",
    "status",
    "usage",
)
LIBRARIES = ("duckdb", "jinja2", "keystoneauth1", "openstack", "oslo_messaging", "prometheus_client")


def test_every_command_is_found_by_its_entry_point() -> None:
    from imagefilter.cli.app import Commands

    commands = Commands("imagefilter.cli").commands
    assert tuple(sorted(commands)) == COMMANDS
    assert {point.group for point in commands.values()} == {"imagefilter.cli"}


def test_version_is_that_of_the_package(run: Any) -> None:
    assert run("--version").out.split()[-1] == metadata.version("nova-imagefilter")


@pytest.mark.parametrize("command", ["check config", "check pipeline", "explain", "show config"])
def test_help_explains_a_command(command: str, run: Any) -> None:
    out = run(*command.split(), "--help").out
    assert "usage:" in out
    assert len(out) > 300


@pytest.mark.parametrize("body", ["/nowhere.json", "/"])
def test_returns_2_if_the_body_can_not_be_read(config: Path, body: str, run: Any) -> None:
    """And not 1, which is "denied"."""
    assert run("explain", "--config", config, body).status == 2


def test_returns_2_for_an_unknown_column(config: Path, tmp_path: Path, run: Any) -> None:
    (tmp_path / "body.json").write_text(json.dumps(image()))
    assert run("explain", "--config", config, tmp_path / "body.json", "-c", "Nope").status == 2


@pytest.mark.slow
def test_the_filter_does_not_need_cliff() -> None:
    code = "import sys; sys.modules['cliff'] = None; import imagefilter; imagefilter.filter_factory({})(None)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def run_without_libraries(*args: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process that can import none of the libraries."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({LIBRARIES})); sys.argv[0] = 'imagefilter'; "
        "from imagefilter.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_other_commands_do_not_need_the_libraries(config: Path, tmp_path: Path) -> None:
    """Nova's virtualenv has cliff, and no DuckDB."""
    config.write_text("[imagefilter]\nmetadata_items = 5\n")
    body = tmp_path / "body.json"
    body.write_text(json.dumps(image()))
    for args in (["--help"], ["check", "config", str(config)], ["explain", "--config", str(config), str(body)]):
        process = run_without_libraries(*args)
        assert process.returncode == 0, process.stderr
        assert "pip install" not in process.stderr
        assert "Traceback" not in process.stderr


@pytest.mark.slow
def test_a_command_says_how_to_install_its_libraries() -> None:
    process = run_without_libraries("audit", "list")
    assert process.returncode == 2
    assert "pip install 'nova-imagefilter[tools]'" in process.stderr
    assert "Traceback" not in process.stderr

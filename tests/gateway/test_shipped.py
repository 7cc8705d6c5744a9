"""The files that are shipped for the gateway: what stands in them holds."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imagefilter.cli import pipelines
from imagefilter.options import OPTIONS as FILTER_OPTIONS
from imagefilter.upstream import OPTIONS
from tests.gateway.servers import PASTE, ROOT, UNIT, Upstream, answer, serve_gateway

GRANIAN = str(Path(sys.executable).parent / "granian")
PAGE = ROOT / "docs" / "gateway.md"


def test_check_pipeline_finds_both_guarded() -> None:
    found = pipelines.read(str(PASTE))
    assert [(each.section, each.error, each.warning) for each in found] == [
        ("pipeline:gateway", "", ""),
        ("pipeline:gateway-without-authtoken", "", ""),
    ]


def test_check_pipeline_sees_a_filter_before_auth_token(tmp_path: Path) -> None:
    path = tmp_path / "gateway.ini"
    path.write_text(PASTE.read_text().replace("authtoken imagefilter", "imagefilter authtoken"))
    errors = [each.error for each in pipelines.read(str(path))]
    assert errors == ["the filter stands before auth_token: nobody is authenticated there yet", ""]


def test_the_paste_file_shows_the_gateways_options() -> None:
    text = PASTE.read_text()
    for name in OPTIONS:
        # Nobody should find verification easy to switch off.
        assert (f"{name} = " in text) == (name != "compute_verify")
    default = {"connect_timeout": "5", "read_timeout": "60", "pool_size": "16"}
    for name, value in default.items():
        assert f"# {name} = {value}\n" in text
        assert OPTIONS[name][1] == float(value)


def test_the_body_limits_agree() -> None:
    parser = configparser.RawConfigParser()
    parser.read(PASTE)
    [limit] = [option.default for option in FILTER_OPTIONS if option.name == "max_body_bytes"]
    assert parser.getint("filter:sizelimit", "max_request_body_size") == limit


def test_the_page_lists_the_gateways_options() -> None:
    page = PAGE.read_text()
    for name in OPTIONS:
        assert f"| `{name}` |" in page


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd")
def test_the_unit_is_one_and_hardened(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/imagefilter/bin/granian", GRANIAN))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:]


def test_the_health_check(server: str) -> None:
    with Upstream(answer("300 Multiple Choices", b"{}")) as upstream, serve_gateway(server, upstream.url) as gateway:
        good = gateway.ask("GET", "/healthcheck")
        assert (good.status, good.body) == (200, b"OK")
        assert gateway.ask("HEAD", "/healthcheck").status == 204
        upstream.answer(answer("503 Service Unavailable"))
        bad = gateway.ask("GET", "/healthcheck")
        assert (bad.status, bad.body) == (503, b"The compute API answers 503")
        assert upstream.asked == []  # none of them is a request of somebody's


def test_make_gateway_says_what_it_needs() -> None:
    command = [sys.executable, "-m", "tests.gateway.first_try", "--compute-url", "nova:8774"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "compute_url = nova:8774 in the command line: it must begin with http://" in done.stderr

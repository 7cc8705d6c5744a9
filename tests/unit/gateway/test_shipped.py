"""The shipped paste file and the documentation agree with the options and defaults of the code."""

from __future__ import annotations

import configparser
import re
import socket
import string
import subprocess
import sys
from pathlib import Path

import pytest

from imagefilter.cli import app, pipelines
from imagefilter.gateway.options import OPTIONS
from imagefilter.policy.options import OPTIONS as FILTER_OPTIONS
from tests.paths import DOCS, ETC, ROOT

PASTE = ETC / "gateway.ini"
UNIT = ETC / "imagefilter-gateway.service"


def test_check_pipeline_accepts_both_pipelines() -> None:
    found = pipelines.read(str(PASTE))
    assert [(pipeline.section, pipeline.error, pipeline.warning) for pipeline in found] == [
        ("pipeline:gateway", "", ""),
        ("pipeline:gateway-without-authtoken", "", ""),
    ]


def test_check_pipeline_reports_a_filter_before_auth_token(tmp_path: Path) -> None:
    path = tmp_path / "gateway.ini"
    path.write_text(PASTE.read_text().replace("authtoken imagefilter", "imagefilter authtoken"))
    errors = [pipeline.error for pipeline in pipelines.read(str(path))]
    assert errors == ["the filter is not directly before the app: behind it is authtoken", ""]


def test_paste_file_shows_the_options_of_the_gateway() -> None:
    text = PASTE.read_text()
    shown = {option.name for option in OPTIONS if f"{option.name} = " in text}
    # Nobody should find verification easy to switch off.
    assert shown == {option.name for option in OPTIONS} - {"compute_verify"}


@pytest.mark.parametrize(("name", "default"), [("connect_timeout", 5), ("read_timeout", 60), ("pool_size", 16)])
def test_paste_file_shows_the_defaults(name: str, default: int) -> None:
    assert f"# {name} = {default}\n" in PASTE.read_text()
    [option] = [option for option in OPTIONS if option.name == name]
    assert option.default == default


def test_sizelimit_and_filter_have_the_same_limit() -> None:
    parser = configparser.RawConfigParser()
    parser.read(PASTE)
    [limit] = [option.default for option in FILTER_OPTIONS if option.name == "max_body_bytes"]
    assert parser.getint("filter:sizelimit", "max_request_body_size") == limit


def test_documentation_lists_every_option() -> None:
    page = (DOCS / "gateway.md").read_text()
    for option in OPTIONS:
        assert f"| `{option.name}` |" in page


@pytest.mark.slow
def test_make_gateway_reports_a_bad_compute_url() -> None:
    command = [sys.executable, "-m", "tests.gateway.first_try", "--compute-url", "nova:8774"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "compute_url = nova:8774 in the command line: it must begin with http://" in done.stderr


@pytest.mark.slow
def test_make_gateway_reports_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        command = [
            sys.executable,
            "-m",
            "tests.gateway.first_try",
            "--compute-url",
            "http://127.0.0.1:9",
            "--port",
            port,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"gateway: error: port {port} of 127.0.0.1 is in use: ")


def test_the_unit_checks_its_paste_file_and_its_port_before_it_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = re.search(r"^ExecStartPre=/opt/imagefilter/bin/imagefilter (.*\\\n.*)$", UNIT.read_text(), re.MULTILINE)
    assert line
    path = tmp_path / "gateway.ini"
    path.write_text(PASTE.read_text().replace("compute_url", "compute_ulr"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        variables = {"IMAGEFILTER_PASTE": str(path), "IMAGEFILTER_HOST": "127.0.0.1", "IMAGEFILTER_PORT": port}
        status = app.main(string.Template(line[1].replace("\\\n", "")).substitute(variables).split())
    output = capsys.readouterr()
    errors = [text for text in output.err.splitlines() if text.startswith("error: ")]
    assert (status, output.out) == (2, "")
    assert any("unknown option 'compute_ulr' in section [app:compute]" in error for error in errors)
    assert any(error.startswith(f"error: port {port} of 127.0.0.1 is in use: ") for error in errors)


def test_the_file_of_variables_shows_what_the_unit_takes_without_it() -> None:
    variables = re.findall(r"^Environment=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert len(variables) == 5
    shown = re.findall(r"^#(IMAGEFILTER_.*)$", (ETC / "imagefilter-gateway.default").read_text(), re.MULTILINE)
    assert sorted(shown) == sorted(variables)


def test_a_front_has_fewer_requests_at_a_gateway_than_it_has_threads() -> None:
    variables = dict(re.findall(r"^Environment=(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))
    threads = int(variables["IMAGEFILTER_WORKERS"]) * int(variables["IMAGEFILTER_THREADS"])
    limit = re.search(r" maxconn (\d+)\n    server gateway1", (ETC / "haproxy.cfg").read_text())
    assert limit
    assert threads - 4 <= int(limit[1]) < threads

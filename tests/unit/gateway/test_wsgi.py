"""The module that WSGI servers load the pipeline from."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("paste.deploy", reason="no PasteDeploy in this virtualenv")

import imagefilter.wsgi

APP = "[app:main]\nuse = egg:nova-imagefilter#gateway\n"


@pytest.fixture
def wsgi() -> Any:
    """The module as a process sees it that has not loaded a pipeline yet."""
    vars(imagefilter.wsgi).pop("application", None)
    return importlib.reload(imagefilter.wsgi)


@pytest.fixture
def paste_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A paste file that ``IMAGEFILTER_PASTE`` names."""
    path = tmp_path / "gateway.ini"
    path.write_text(f"{APP}compute_url = http://127.0.0.1:9\n")
    monkeypatch.setenv("IMAGEFILTER_PASTE", str(path))
    return path


def test_application_is_in_the_dictionary_of_the_module(wsgi: Any, paste_file: Path) -> None:
    """uWSGI looks there and nowhere else."""
    assert "application" not in vars(wsgi)
    assert callable(vars(importlib.reload(wsgi))["application"])


def test_application_is_loaded_once_for_all_threads(wsgi: Any, paste_file: Path) -> None:
    applications: list[Any] = []
    threads = [threading.Thread(target=lambda: applications.append(wsgi.application)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(applications) == 20
    assert len({id(application) for application in applications}) == 1


def load_message(wsgi: Any, capsys: pytest.CaptureFixture[str]) -> str:
    """Load a pipeline that can't be loaded; return the line on standard error."""
    with pytest.raises(SystemExit) as raised:
        wsgi.application  # noqa: B018
    assert raised.value.code == 3
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_paste_file_must_be_named(
    wsgi: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("IMAGEFILTER_PASTE", raising=False)
    assert "IMAGEFILTER_PASTE is not set" in load_message(wsgi, capsys)


def test_paste_file_must_exist(wsgi: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("IMAGEFILTER_PASTE", "/nonexistent.ini")
    assert "/nonexistent.ini" in load_message(wsgi, capsys)


def test_section_must_exist(
    wsgi: Any, paste_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGEFILTER_PASTE", f"{paste_file}#other")
    assert "No section 'other'" in load_message(wsgi, capsys)


def test_all_bad_options_are_reported_in_one_line(
    wsgi: Any, paste_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paste_file.write_text(f"{APP}x = 1\n")
    location = f"section [app:main] of {paste_file}"
    message = f"unknown option 'x' in {location}; compute_url is not set in {location}"
    assert message in load_message(wsgi, capsys)


def test_a_stray_percent_sign_is_reported_without_the_value(
    wsgi: Any, paste_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """configparser's own message repeats the value, which may contain a password."""
    paste_file.write_text(f"{APP}compute_url = http://me:100%hunter2@nova\n")
    line = load_message(wsgi, capsys)
    assert "compute_url in section [app:main] can't be read: a % must be written as %%" in line
    assert "hunter2" not in line


def test_other_names_are_not_attributes(wsgi: Any) -> None:
    with pytest.raises(AttributeError, match="no attribute 'app'"):
        wsgi.app  # noqa: B018


def test_environment_variables_are_removed_from_requests(wsgi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ambient = {"HTTP_PROXY": "http://proxy", "keystone.token_auth": "x", "CONTENT_LENGTH": "5", "PATH_INFO": "/x"}
    for name, text in ambient.items():
        monkeypatch.setenv(name, text)
    environs: list[dict[str, Any]] = []
    app = wsgi.without_environment(lambda environ, start_response: environs.append(environ) or [])
    list(app({**ambient, "HTTP_HOST": "h"}, None))
    list(app({**ambient, "CONTENT_LENGTH": "7", "HTTP_PROXY": "a client's"}, None))
    assert environs == [
        {"PATH_INFO": "/x", "HTTP_HOST": "h"},
        {"PATH_INFO": "/x", "CONTENT_LENGTH": "7", "HTTP_PROXY": "a client's"},
    ]


def test_a_request_without_a_script_name_gets_an_empty_one(wsgi: Any) -> None:
    environs: list[dict[str, Any]] = []
    app = wsgi.with_script_name(lambda environ, start_response: environs.append(environ) or [])
    list(app({}, None))
    list(app({"SCRIPT_NAME": "/compute"}, None))
    assert environs == [{"SCRIPT_NAME": ""}, {"SCRIPT_NAME": "/compute"}]

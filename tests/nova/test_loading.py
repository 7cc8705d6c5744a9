"""Beside a real Nova's packages, and loaded by its own WSGI module, as uWSGI and mod_wsgi do."""

from __future__ import annotations

import importlib
import shutil
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.cases import image
from tests.nova.cloud import NOVA, Cloud, Image
from tests.requests import send


def test_novas_own_wsgi_module(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module from Nova 30 on; before that a script, ``nova-api-wsgi``, that calls what the module calls."""
    shutil.copy(cloud.paste_file({}), tmp_path / "api-paste.ini")
    (tmp_path / "nova.conf").touch()
    monkeypatch.setenv("OS_NOVA_CONFIG_DIR", str(tmp_path))
    wsgi_app = importlib.import_module("nova.api.openstack.wsgi_app")
    monkeypatch.setattr(wsgi_app, "init_global_data", lambda *args: None)  # would read nova.conf over the harness' own
    # Whether on threads or eventlet, the harness has chosen.
    monkeypatch.setattr("nova.monkey_patch.patch", lambda **kwargs: None, raising=False)
    if NOVA >= 30:
        monkeypatch.delitem(sys.modules, "nova.wsgi.osapi_compute", raising=False)
        app = importlib.import_module("nova.wsgi.osapi_compute").application
    else:
        app = wsgi_app.init_application("osapi_compute")
    for prefix in ("/v2.1", "/v2"):
        path, headers = f"{prefix}/servers/{cloud.server}/action", {"X-Auth-Token": "member"}
        assert send(app, "POST", path, image(metadata={"": "x"}), headers).status_int == 400
        assert send(app, "POST", path, image(metadata={"a": "x"}), headers).status_int == 202
        assert cloud.images() == [Image("nightly", {"a": "x"})]
        cloud.settle()
        assert [record["eventType"] for record in cloud.records()] == ["control", "control", "activity"]


def test_pip_would_leave_novas_packages_as_they_are() -> None:
    """All that the filter needs is needed by Nova itself, and installed in a version that is good enough."""
    novas = needed_by("nova")
    for requirement in requirements_of("imagefilter"):
        assert canonicalize_name(requirement.name) in novas
        assert metadata.version(requirement.name) in requirement.specifier


def requirements_of(name: str) -> list[Requirement]:
    found = map(Requirement, metadata.requires(name) or ())
    return [each for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]


def needed_by(name: str) -> set[str]:
    """Names of all packages that one needs, directly or not."""
    names: set[str] = set()
    todo = [name]
    while todo:
        for requirement in requirements_of(todo.pop()):
            needed = canonicalize_name(requirement.name)
            if needed not in names:
                names.add(needed)
                todo.append(needed)
    return names

"""The filter beside a real Nova's packages, and loaded by Nova's own WSGI module, as uWSGI and mod_wsgi do."""

from __future__ import annotations

import importlib
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.cases import image
from tests.nova.cloud import NOVA, Cloud
from tests.nova.images import Image


@pytest.fixture
def application(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load Nova as its own WSGI module does.

    It is a module from Nova 30 on; before that a script, ``nova-api-wsgi``, that calls what the module calls.
    """
    shutil.copy(cloud.write_paste_file({}), tmp_path / "api-paste.ini")
    (tmp_path / "nova.conf").touch()
    monkeypatch.setenv("OS_NOVA_CONFIG_DIR", str(tmp_path))
    wsgi_app = importlib.import_module("nova.api.openstack.wsgi_app")
    monkeypatch.setattr(wsgi_app, "init_global_data", lambda *args: None)  # would read nova.conf over the harness's own
    # The harness has already chosen between threads and eventlet.
    monkeypatch.setattr("nova.monkey_patch.patch", lambda **kwargs: None, raising=False)
    if NOVA < 30:
        return wsgi_app.init_application("osapi_compute")
    monkeypatch.delitem(sys.modules, "nova.wsgi.osapi_compute", raising=False)
    return importlib.import_module("nova.wsgi.osapi_compute").application


def test_novas_own_wsgi_module_loads_the_filter(cloud: Cloud, application: Any) -> None:
    for prefix in ("/v2.1", "/v2"):
        assert cloud.post_action(application, image(metadata={"": "x"}), prefix).status_int == 400
        assert cloud.post_action(application, image(metadata={"a": "x"}), prefix).status_int == 202
        assert cloud.images() == [Image("nightly", {"a": "x"})]
        assert [record["eventType"] for record in cloud.records()] == ["control", "control", "activity"]


def test_pip_would_leave_novas_packages_as_they_are() -> None:
    """Whatever the filter needs, Nova itself needs, and the installed version is good enough."""
    novas = find_requirements_of_nova()
    for requirement in find_requirements("nova-imagefilter"):
        assert canonicalize_name(requirement.name) in novas
        assert metadata.version(requirement.name) in requirement.specifier


def find_requirements(name: str) -> list[Requirement]:
    """Return what a package needs in this environment, without its extras."""
    requirements = []
    for requirement in map(Requirement, metadata.requires(name) or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            requirements.append(requirement)
    return requirements


def find_requirements_of_nova() -> set[str]:
    """Return the names of all packages that Nova needs, directly or not."""
    names: set[str] = set()
    to_visit = ["nova"]
    while to_visit:
        for requirement in find_requirements(to_visit.pop()):
            name = canonicalize_name(requirement.name)
            if name not in names:
                names.add(name)
                to_visit.append(name)
    return names

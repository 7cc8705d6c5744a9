"""The case table over a small application, loaded by PasteDeploy from an ini file and driven by WebTest."""

from __future__ import annotations

import itertools
import json
import types
from pathlib import Path
from typing import Any

import pytest
import webtest
from paste.deploy import loadapp

from tests.cases import CASES, PROJECT, SERVER, Case, image
from tests.unit.fakes import Guarded, get_fault

INI = """
[pipeline:main]
pipeline = imagefilter compute
[filter:imagefilter]
paste.filter_factory = imagefilter:filter_factory
{options}
[app:compute]
paste.app_factory = tests.unit.fakes:compute_factory
"""

PREFIXES = ("/v2.1", "/v2", "")
CONTENT_TYPES = {401: "application/json"}  # as keystonemiddleware's


def on_each_prefix(cases: list[Case]) -> Any:
    """Parametrize a test by prefix and case, without what no prefix decides."""
    pairs = []
    for prefix, case in itertools.product(PREFIXES, cases):
        if prefix or case.rule != "project-id":  # without a version nobody knows Nova's route
            pairs.append(pytest.param(prefix, case, id=f"{case.id}-{prefix}"))
    return pytest.mark.parametrize(("prefix", "case"), pairs)


class Loaded:
    """The response to a case, and the requests that were forwarded."""

    def __init__(self, folder: Path, prefix: str, case: Case) -> None:
        ini = folder / "paste.ini"
        ini.write_text(INI.format(options="\n".join(f"{key} = {value}" for key, value in case.options.items())))
        self.requests: list[dict[str, Any]] = []
        environ: dict[str, Any] = {"test.requests": self.requests}
        if case.token:
            environ["nova.context"] = types.SimpleNamespace(user_id="alice", project_id=PROJECT, roles=["member"])
        app = webtest.TestApp(loadapp(f"config:{ini}"), extra_environ=environ)
        path = prefix + case.path.format(server=SERVER)
        self.response = app.post(path, case.body, headers=dict(case.headers), expect_errors=True)


@on_each_prefix([case for case in CASES if case.status == 202])
def test_allows(prefix: str, case: Case, tmp_path: Path) -> None:
    loaded = Loaded(tmp_path, prefix, case)
    assert loaded.response.status_int == 202
    [request] = loaded.requests
    assert json.loads(request["body"].decode()) == case.expected
    assert request["CONTENT_LENGTH"] == str(len(request["body"]))


@on_each_prefix([case for case in CASES if case.status != 202])
def test_refuses(prefix: str, case: Case, tmp_path: Path) -> None:
    loaded = Loaded(tmp_path, prefix, case)
    assert get_fault(loaded.response) == (case.status, case.message)
    assert loaded.requests == []
    content_type = CONTENT_TYPES.get(case.status, "application/json; charset=UTF-8")
    assert loaded.response.headers["Content-Type"] == content_type
    assert int(loaded.response.headers["Content-Length"]) == len(loaded.response.body)


@pytest.mark.parametrize(
    "server", [SERVER, SERVER.upper(), SERVER.replace("-", ""), f"{{{SERVER}}}", f"urn:uuid:{SERVER}"]
)
def test_accepts_uuids_as_nova_does(server: str) -> None:
    """``oslo_utils.uuidutils.is_uuid_like`` accepts capitals, and a UUID without its hyphens."""
    assert Guarded().post(image(), f"/v2.1/servers/{server}/action").status_int == 202


@pytest.mark.parametrize("server", [SERVER[:-1], "web-1"])
def test_refuses_servers_that_are_not_uuids(server: str) -> None:
    response = Guarded().post(image(), f"/v2.1/servers/{server}/action")
    assert get_fault(response) == (404, f"Instance {server} could not be found.")

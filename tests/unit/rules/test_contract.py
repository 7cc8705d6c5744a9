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

from imagefilter.request.action import Target
from imagefilter.rules.case import LookupFailed
from imagefilter.rules.contract import describe_missing_server
from imagefilter.rules.engine import Decision, Verdict, judge
from tests.cases import CASES, PROJECT, SERVER, Case, image, items
from tests.unit.fakes import Guarded, get_fault
from tests.unit.rules.test_limits import FakeLookups, build

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


class Quotas(FakeLookups):
    """A compute API that has a quota of metadata items, or does not tell it."""

    def __init__(self, items: int | None) -> None:
        super().__init__()
        self._items = items

    def metadata_items(self) -> int:
        if self._items is None:
            raise LookupFailed("down")
        return self._items


@pytest.mark.parametrize(
    ("options", "quota"),
    [({"metadata_items": "2"}, None), ({"metadata_items": "9", "metadata_items_source": "compute"}, 2)],
)
def test_a_refusal_names_the_quota_and_the_number_of_items(options: dict[str, str], quota: int | None) -> None:
    found = judge(build(image(metadata=items(3)), **options), Quotas(quota))
    assert (found.rule, found.status) == ("metadata-quota", 403)
    assert (found.message, found.limit, found.usage) == ("Image metadata limit exceeded", 2, 3)
    assert judge(build(image(metadata=items(2)), **options), Quotas(quota)).decision == "allow"


@pytest.mark.parametrize(
    ("on_error", "verdict"),
    [
        ("deny", Verdict(Decision.DENY, "metadata-quota", 503, "The metadata quota could not be determined.")),
        ("allow", Verdict(Decision.ALLOW)),
    ],
)
def test_a_quota_that_is_not_known(on_error: str, verdict: Verdict, caplog: pytest.LogCaptureFixture) -> None:
    context = build(image(metadata=items(3)), metadata_items_source="compute", lookup_on_error=on_error)
    assert judge(context, Quotas(None))[:4] == verdict[:4]
    assert caplog.messages == [f"the metadata quota could not be determined: down; lookup_on_error is {on_error}"]


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (None, ""),
        (Target("web-1", None, True), "web-1"),
        (Target("caf\xc3\xa9", None, True), "café"),
        (Target("\xff", None, True), "\ufffd"),
        (Target("名", None, True), "?"),  # of a WSGI server that decodes a path itself
    ],
)
def test_a_missing_server_is_named_as_the_client_wrote_it(target: Target | None, name: str) -> None:
    assert describe_missing_server(target) == f"Instance {name} could not be found."

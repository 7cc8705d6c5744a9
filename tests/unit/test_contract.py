"""The case table over a small app, loaded by PasteDeploy from an ini file and driven by WebTest."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import pytest
import webtest
from paste.deploy import loadapp

from tests.cases import CASES, PROJECT, SERVER, Case

INI = """
[pipeline:main]
pipeline = imagefilter compute
[filter:imagefilter]
use = egg:imagefilter
{options}
[app:compute]
paste.app_factory = tests.unit.test_contract:compute_factory
"""

Seen = list[dict[str, Any]]


def compute_factory(global_conf: dict[str, str]) -> Any:
    """A compute API that says 202 and shows what it was asked, in the environ's own list."""

    def compute(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ["test.seen"].append({**environ, "body": body})
        start_response("202 Accepted", [("Content-Length", "0"), ("Content-Type", "text/html")])
        return [b""]

    return compute


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2", ""])
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_contract(case: Case, prefix: str, tmp_path: Path) -> None:
    if prefix == "" and case.rule == "project-id":
        pytest.skip("without a version nobody knows Nova's route")
    ini = tmp_path / "paste.ini"
    ini.write_text(INI.format(options="\n".join(f"{key} = {value}" for key, value in case.options.items())))
    seen: Seen = []
    environ: dict[str, Any] = {"test.seen": seen}
    if case.token:
        environ["nova.context"] = types.SimpleNamespace(user_id="alice", project_id=PROJECT, roles=["member"])
    app = webtest.TestApp(loadapp(f"config:{ini}"), extra_environ=environ)

    path = prefix + case.path.format(server=SERVER)
    response = app.post(path, case.body, headers=dict(case.headers), expect_errors=True)

    assert response.status_int == case.status
    if case.status == 202:
        assert [json.loads(request["body"].decode()) for request in seen] == [case.expected]
        assert seen[0]["CONTENT_LENGTH"] == str(len(seen[0]["body"]))
    else:
        assert seen == []
        [fault] = response.json.values()
        assert fault["message"] == case.message
        assert fault["code"] == case.status
        charset = "" if case.status == 401 else "; charset=UTF-8"
        assert response.headers["Content-Type"] == f"application/json{charset}"
        assert int(response.headers["Content-Length"]) == len(response.body)

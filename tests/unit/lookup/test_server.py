"""What is asked beside the server itself fails only the rules that need it: a trial of one rule harms no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagefilter import filter_factory
from imagefilter.lookup.server import Response, ServerLookup
from imagefilter.rules.case import LookupFailed, ServerFacts
from tests.cases import SERVER, image
from tests.wsgi import send

_IMAGE = "70a599e0-31e7-49b7-b260-868f441e862b"
_ROOT = {"os-extended-volumes:volumes_attached": [{"id": "v"}]}
DOCUMENT = {"id": SERVER, "name": "web", "metadata": {}, "locked": False, "image": {"id": _IMAGE}, **_ROOT}
OLD = {**DOCUMENT, "flavor": {"id": "1"}}


def look_up(server: dict[str, Any], *fields: str) -> ServerFacts:
    """Look a server up in a compute API that answers questions about the server, and fails at all others."""

    def ask(*path: str, version: str | None = None) -> Response:
        if path == ("servers", SERVER):
            return Response(200, {"server": server})
        return Response(503, {})

    return ServerLookup(ask, SERVER, ("server.locked", *fields)).run()


@pytest.mark.parametrize(
    ("server", "field"),
    [
        (DOCUMENT, "server.image.name"),
        (DOCUMENT, "server.image.properties"),
        (DOCUMENT, "server.volume_backed"),
        (OLD, "server.flavor.name"),
        (OLD, "server.flavor.extra_specs"),
    ],
)
def test_only_what_was_not_found_out_has_failed(server: dict[str, Any], field: str) -> None:
    facts = look_up(server, field)
    assert facts.values == {"server.locked": False}
    assert "503" in facts.failed[field]


def test_what_the_server_itself_tells_has_not_failed() -> None:
    server = {**DOCUMENT, "image": {"id": _IMAGE, "properties": {"os_distro": "windows"}}}
    facts = look_up(server, "server.image.name", "server.image.properties")
    assert facts.values["server.image.properties"] == {"os_distro": "windows"}
    assert list(facts.failed) == ["server.image.name"]


def test_without_the_server_all_has_failed() -> None:
    with pytest.raises(LookupFailed):
        ServerLookup(lambda *path, version=None: Response(503, {}), SERVER, ("server.locked",)).run()


_RULES = """
[imagefilter:rule:locked]
deny = server.locked
[imagefilter:rule:named]
deny = server.image.name == "x"
mode = {mode}
"""


@pytest.mark.parametrize(("mode", "status"), [("warn", 202), ("enforce", 503)])
def test_a_trial_of_a_rule_that_fails_harms_no_other_rule(mode: str, status: int, tmp_path: Path) -> None:
    pytest.importorskip("cel_expr_python")
    path = tmp_path / "imagefilter.conf"
    path.write_text(_RULES.format(mode=mode))

    def nova(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            start_response("202 Accepted", [])
            return [b""]
        if "/images/" in environ["PATH_INFO"]:
            start_response("503 Service Unavailable", [])
            return [b""]
        start_response("200 OK", [])
        return [b'{"server": {"name": "web", "metadata": {}, "locked": false, "image": {"id": "1"}}}']

    journal = tmp_path / "audit.jsonl"
    app = filter_factory(None, oslo_config_file=str(path), audit_journal=str(journal))(nova)
    environ = {"keystone.token_auth": object(), "HTTP_X_USER_ID": "alice", "HTTP_X_PROJECT_ID": "p"}
    assert send(app, "POST", f"/v2.1/servers/{SERVER}/action", image(), **environ).status_int == status
    records = journal.read_text()
    assert "server.locked" in records
    assert "server.image.name" not in records, "replay would take it for absent"

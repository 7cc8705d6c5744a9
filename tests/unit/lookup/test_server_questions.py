"""Which questions a lookup of a server asks, at which microversion, and what it makes of each answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagefilter.lookup.server import Response, ServerLookup, look_up_server
from imagefilter.policy.context import build_context
from imagefilter.request.action import ACTIONS, recognise
from imagefilter.request.identity import Identity
from imagefilter.rules.case import LookupFailed, NotAuthenticated, ServerNotFound
from imagefilter.rules.table import load_policy
from tests.cases import PROJECT, SERVER, image
from tests.wsgi import build_environ

SERVERS, FLAVOR, IMAGE = ("servers", SERVER), ("flavors", "1"), ("images", "i")
EXTRA_SPECS, ATTACHMENTS = (*FLAVOR, "os-extra_specs"), (*SERVERS, "os-volume_attachments")
VOLUMES = {"os-extended-volumes:volumes_attached": [{"id": "v"}]}
#: As Nova shows a server on /v2, where it has the id of its flavor alone.
DOCUMENT: dict[str, Any] = {"id": SERVER, "name": "web", "metadata": {}, "image": {"id": "i"}, "flavor": {"id": "1"}}
ANSWERS: dict[tuple[str, ...], Response] = {
    SERVERS: Response(200, {"server": {**DOCUMENT, **VOLUMES}}),
    FLAVOR: Response(200, {"flavor": {"name": "gpu.large", "ram": 512}}),
    EXTRA_SPECS: Response(200, {"extra_specs": {"hw:x": "1"}}),
    IMAGE: Response(200, {"image": {"name": "debian", "metadata": {"os_distro": "debian"}}}),
    ATTACHMENTS: Response(200, {"volumeAttachments": [{"device": "/dev/vda"}]}),
}


class FakeNova:
    """Answers questions, and remembers each path and microversion."""

    def __init__(self, answers: dict[tuple[str, ...], Response]) -> None:
        self.answers = {**ANSWERS, **answers}
        self.asked: list[tuple[tuple[str, ...], str | None]] = []

    def ask(self, *path: str, version: str | None = None) -> Response:
        self.asked.append((path, version))
        if version == "2.98" and (*SERVERS, version) in self.answers:
            path = (*path, version)
        return self.answers[path]

    def look_up(self, *fields: str) -> Any:
        return ServerLookup(self.ask, SERVER, fields).run()


@pytest.mark.parametrize(
    ("fields", "asked", "values"),
    [
        (["server.name"], [], {"server.name": "web"}),
        (["server.image.id"], [], {"server.image.id": "i"}),
        (["server.flavor.name"], [FLAVOR], {"server.flavor.name": "gpu.large"}),
        (["server.flavor.ram"], [FLAVOR], {"server.flavor.ram": 512}),
        (["server.flavor.extra_specs"], [EXTRA_SPECS], {"server.flavor.extra_specs": {"hw:x": "1"}}),
        (["server.image.name"], [IMAGE], {"server.image.name": "debian"}),
        (["server.volume_backed"], [ATTACHMENTS], {"server.volume_backed": None}),
        (
            ["server.image.name", "server.image.properties"],
            [IMAGE],
            {"server.image.name": "debian", "server.image.properties": {"os_distro": "debian"}},
        ),
    ],
)
def test_asks_for_what_is_read_and_nothing_else(fields: list[str], asked: list[Any], values: dict[str, Any]) -> None:
    nova = FakeNova({})
    facts = nova.look_up(*fields)
    assert nova.asked == [(SERVERS, "2.69"), *[(path, None) for path in asked]]
    assert {field: facts.values.get(field) for field in fields} == values
    assert facts.failed == {}


def test_the_properties_of_an_image_come_with_the_server_from_nova_31_on() -> None:
    server = {**DOCUMENT, "image": {"id": "i", "properties": {"os_distro": "suse"}}}
    nova = FakeNova({(*SERVERS, "2.98"): Response(200, {"server": server})})
    assert nova.look_up("server.image.properties").values == {"server.image.properties": {"os_distro": "suse"}}
    assert nova.asked == [(SERVERS, "2.98")]


def test_an_older_nova_is_asked_again_and_for_the_image() -> None:
    nova = FakeNova({(*SERVERS, "2.98"): Response(406, {})})
    assert nova.look_up("server.image.properties").values == {"server.image.properties": {"os_distro": "debian"}}
    assert nova.asked == [(SERVERS, "2.98"), (SERVERS, "2.69"), (IMAGE, None)]


def test_a_server_that_shows_its_flavor_and_has_no_volume_needs_no_further_question() -> None:
    flavor = {"id": "1", "original_name": "m1", "ram": 1, "extra_specs": {}}
    nova = FakeNova({SERVERS: Response(200, {"server": {**DOCUMENT, "flavor": flavor, "image": ""}})})
    facts = nova.look_up("server.flavor.name", "server.flavor.extra_specs", "server.image.name", "server.volume_backed")
    assert facts.values == {"server.flavor.name": "m1", "server.flavor.extra_specs": {}}
    assert nova.asked == [(SERVERS, "2.69")]


@pytest.mark.parametrize(
    ("path", "status", "field", "why"),
    [
        (FLAVOR, 404, "server.flavor.name", "the flavor is gone"),
        (EXTRA_SPECS, 404, "server.flavor.extra_specs", "does not show them"),
        (EXTRA_SPECS, 403, "server.flavor.extra_specs", "does not show them"),
        (IMAGE, 404, "server.image.name", "the image is gone"),
    ],
)
def test_what_is_gone_is_absent(path: tuple[str, ...], status: int, field: str, why: str) -> None:
    facts = FakeNova({path: Response(status, {})}).look_up(field)
    assert (facts.values, facts.failed) == ({}, {})
    assert why in facts.why_absent[field]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (FLAVOR, "server.flavor.name"),
        (EXTRA_SPECS, "server.flavor.extra_specs"),
        (IMAGE, "server.image.name"),
        (ATTACHMENTS, "server.volume_backed"),
    ],
)
@pytest.mark.parametrize("answer", [Response(405, {}), Response(500, {}), Response(200, {}), Response(200, {"x": []})])
def test_what_could_not_be_asked_has_failed(path: tuple[str, ...], field: str, answer: Response) -> None:
    assert field in FakeNova({path: answer}).look_up(field).failed


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ServerNotFound):
        FakeNova({SERVERS: Response(404, {"itemNotFound": {}})}).look_up("server.name")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Response(404, {"badRequest": {}}), "the compute API responded 404 to the question about a server"),
        (Response(500, {"itemNotFound": {}}), "the compute API responded 500 to the question about a server"),
        (Response(200, {"server": []}), "the compute API's response has no server"),
    ],
)
def test_an_answer_that_says_nothing_of_the_server(answer: Response, error: str) -> None:
    with pytest.raises(LookupFailed) as raised:
        FakeNova({SERVERS: answer}).look_up("server.name")
    assert str(raised.value) == error


# --- over WSGI


def look_up(
    status: str, body: bytes, *, authenticated: bool = True, path: str = f"/v2.1/servers/{SERVER}/action"
) -> Any:
    """Look the name of a server up in an app that always responds so; return the questions, and the facts."""
    asked: list[dict[str, Any]] = []

    def nova(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        asked.append(environ)
        start_response(status, [])
        return [body]

    environ = build_environ("POST", path, image())
    action = recognise(environ, environ["wsgi.input"].read(), {name: name.encode() for name in ACTIONS})
    assert action
    policy = load_policy({})
    context = build_context(action, Identity("alice", PROJECT, frozenset(), authenticated, True, "", ""), policy)
    settings = context.settings._replace(server_fields=frozenset(["server.name"]))
    facts = look_up_server(nova, environ, context._replace(settings=settings))
    return asked, facts


def test_a_question_names_its_microversion() -> None:
    [question], facts = look_up("200 OK", json.dumps({"server": DOCUMENT}).encode())
    assert (question["REQUEST_METHOD"], question["PATH_INFO"]) == ("GET", f"/v2.1/servers/{SERVER}")
    assert question["HTTP_OPENSTACK_API_VERSION"] == "compute 2.69"
    assert facts.values == {"server.name": "web"}


def test_a_stranger_with_a_bad_token_is_told_so() -> None:
    with pytest.raises(NotAuthenticated):
        look_up("401 Unauthorized", b"", authenticated=False)
    with pytest.raises(LookupFailed, match="the compute API responded 401"):
        look_up("401 Unauthorized", b"", authenticated=True)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b" " * (1 << 20) + b"{", f"the compute API's response has more than {1 << 20} bytes"),
        (b"[" * 100_000, "the compute API's response has no server"),
        (b"[1]", "the compute API's response has no server"),
        (b"", "the compute API's response has no server"),
    ],
)
def test_a_body_that_is_no_answer(body: bytes, error: str) -> None:
    with pytest.raises(LookupFailed) as raised:
        look_up("200 OK", body)
    assert str(raised.value) == error


def test_a_path_that_names_no_server() -> None:
    with pytest.raises(LookupFailed, match=r"^the path of the request does not name a server$"):
        look_up("200 OK", b"", path="/v2.1/elsewhere")


def test_a_compute_api_that_raises() -> None:
    with pytest.raises(LookupFailed, match=r"^the compute API failed: ValueError$"):
        look_up("this is no status", b"")

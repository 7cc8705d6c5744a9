"""The operator's own rules in front of a real Nova, and the examples as they are shipped."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import webob

from imagefilter.lookup.request import RequestLookups
from tests.cases import PROJECT, backup, image
from tests.nova.authentication import TOKENS
from tests.nova.cloud import NOVA, Cloud, microversion
from tests.nova.own_servers import WINDOWS, OwnServers, attach_volume
from tests.paths import ROOT
from tests.unit.fakes import get_content
from tests.wsgi import send

from nova import context as nova_context  # isort: skip
from nova.api import wsgi  # isort: skip

pytest.importorskip("cel_expr_python")

EXAMPLES = ROOT / "etc/imagefilter/rules"
MONDAY_NOON = datetime.datetime(2026, 11, 23, 11, tzinfo=datetime.timezone.utc)
SUNDAY = datetime.datetime(2026, 11, 22, 11, tzinfo=datetime.timezone.utc)


class Request(NamedTuple):
    server: str = "plain"
    document: Any = image()
    token: str = "member"
    now: datetime.datetime = MONDAY_NOON


CENTRE = image(metadata={"cost-centre": "4711-AB"})
#: For each example: requests that it allows, and requests that it refuses.
WISHES: dict[str, tuple[list[Request], list[Request]]] = {
    "gpu-flavors": ([Request(), Request("gpu", token="backup")], [Request("gpu"), Request("gpu", backup())]),
    "large-disks": ([Request(), Request("gpu")], [Request("large")]),
    "licensed-images": ([Request()], [Request("windows"), Request("volume")]),
    "volume-backed": ([Request()], [Request("volume")]),
    "working-hours": (
        [Request()],
        [
            Request(now=SUNDAY),
            Request(now=MONDAY_NOON.replace(hour=6, minute=59)),
            Request(now=MONDAY_NOON.replace(hour=17)),
        ],
    ),
    "cost-centre": (
        [Request(document=CENTRE), Request(document=backup(metadata={"cost-centre": "0815-XY"}))],
        [Request(), Request(document=image(metadata={"cost-centre": "none"})), Request(document=backup())],
    ),
    "backup-service": ([Request(), Request(document=backup(), token="backup")], [Request(document=backup())]),
}


@pytest.fixture(scope="session")
def servers(cloud: Cloud) -> OwnServers:
    return OwnServers(cloud)


@pytest.fixture
def write_rules(cloud: Cloud, tmp_path: Path) -> Callable[..., str]:
    def write(text: str) -> str:
        path = tmp_path / f"{abs(hash(text))}.conf"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the filter asks of the compute API."""
    from imagefilter.lookup import server

    questions: list[str] = []
    build = server.build_question

    def note(*args: Any, **keywords: Any) -> Any:
        question = build(*args, **keywords)
        questions.append(question["PATH_INFO"])
        return question

    monkeypatch.setattr(server, "build_question", note)
    return questions


def post(
    cloud: Cloud, app: Any, server: str, document: Any, prefix: str = "/v2.1", token: str = "member"
) -> webob.Response:
    path = f"{prefix}/servers/{server}/action"
    return send(app, "POST", path, document, {"X-Auth-Token": token, **microversion("2.45")})


def behind_auth_token(app: Any) -> Any:
    """Return an application with auth_token's marks before it, as the gateway has them."""

    def authenticate(environ: dict[str, Any], start_response: Any) -> Any:
        user, project, roles = TOKENS[environ["HTTP_X_AUTH_TOKEN"]]
        identity = {"HTTP_X_USER_ID": f"{user}-id", "HTTP_X_PROJECT_ID": project, "HTTP_X_ROLES": ",".join(roles)}
        environ.update(identity, **{"keystone.token_auth": object()})
        return app(environ, start_response)

    return authenticate


def get_message(response: webob.Response) -> tuple[int, str]:
    [fault] = response.json.values()
    return response.status_int, fault["message"]


PREFIXES = ("/v2.1", f"/v2.1/{PROJECT}", "/v2", f"/v2/{PROJECT}")


def test_there_is_a_case_for_each_example() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.conf")} == set(WISHES)


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
@pytest.mark.parametrize("place", ["in the pipeline", "in front"])
@pytest.mark.parametrize("name", WISHES)
def test_an_example(
    cloud: Cloud, servers: OwnServers, monkeypatch: pytest.MonkeyPatch, name: str, place: str, prefix: str
) -> None:
    options = {"oslo_config_file": str(EXAMPLES / f"{name}.conf")}
    app = cloud.app(options)
    if place == "in front":  # as the gateway is: only there Nova's wrapper takes microversions away from a question
        app = behind_auth_token(cloud.filter_in_front(options))
    allowed, refused = WISHES[name]
    for request in allowed:
        response = send_request(cloud, servers, monkeypatch, app, request, prefix)
        assert response.status_int == 202, (request, response.text)
        assert len(cloud.images()) == 1
    for request in refused:
        response = send_request(cloud, servers, monkeypatch, app, request, prefix)
        status, message = get_message(response)
        assert (status, cloud.images()) == (403, []), request
        [section] = [line for line in (EXAMPLES / f"{name}.conf").read_text().splitlines() if line.startswith("[")]
        assert message.endswith(f" ({section[1:-1].rpartition(':')[2]})")


def send_request(
    cloud: Cloud, servers: OwnServers, monkeypatch: pytest.MonkeyPatch, app: Any, request: Request, prefix: str
) -> webob.Response:
    server = servers[request.server]
    cloud.images()
    monkeypatch.setattr(RequestLookups, "now", lambda self: request.now)
    response = post(cloud, app, server, request.document, prefix, request.token)
    cloud.settle(server)
    return response


# What each field is for a server of the flavor gpu.large that has a tag, metadata, a volume, and a lock: an expression
# that is true of it, and the microversion-less endpoints on which it is absent.
FACTS = {
    'server.id == "{id}"': (),
    'server.name == "gpu"': (),
    'server.status == "ACTIVE"': (),
    'server.created > timestamp("2026-01-01T00:00:00Z") && server.created <= now': (),
    "!server.locked": ("/v2",),
    "server.tags.size() == 0": ("/v2",),
    "server.metadata.size() == 0": (),
    'server.availability_zone == "nova"': (),
    'server.flavor.name == "gpu.large"': (),
    "server.flavor.vcpus == 1 && server.flavor.ram == 512 && server.flavor.disk == 1": (),
    'server.flavor.extra_specs["hw:cpu_policy"] == "dedicated"': (),
    'server.image.id == "155d900f-4e14-4e4c-a73d-069cbf4541e6"': (),
    'server.image.name == "fakeimage123456"': (),
    "server.image.properties.size() >= 0": (),
    "!server.volume_backed": (),
    "server.volumes.size() == 0": (),
}


@pytest.mark.parametrize("place", ["in the pipeline", "behind the wrapper", "in front"])
@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
@pytest.mark.parametrize("fact", FACTS)
def test_a_fact(
    cloud: Cloud, servers: OwnServers, write_rules: Any, asked: list[str], fact: str, prefix: str, place: str
) -> None:
    """Each is true: the server is refused for it, and not for an absent value; its opposite refuses nothing."""
    server = servers["gpu"]
    absent = prefix in FACTS[fact] and place == "in front"
    fact = fact.replace("{id}", server)
    for deny in (fact, f"!({fact})"):
        options = {"oslo_config_file": write_rules(f"[imagefilter:rule:fact]\ndeny = {deny}\n")}
        app = build_app(cloud, options, place)
        cloud.records()
        response = post(cloud, app, server, image(), prefix)
        cloud.settle(server)
        content = get_content(cloud.records()[-1])
        is_denied = deny == fact or absent
        assert response.status_int == {True: 403, False: 202}[is_denied], response.text
        assert ("reason" in content) is (absent and is_denied)


def build_app(cloud: Cloud, options: dict[str, str], place: str) -> Any:
    """Return the filter before, behind, or far before Nova's wrapper for /v2."""
    if place == "in front":
        return behind_auth_token(cloud.filter_in_front(options))
    if place == "in the pipeline":
        return cloud.app(options)
    path = cloud.write_paste_file(options)
    text = path.read_text()
    assert text.count(" imagefilter legacy_v2_compatible ") == 1
    path.write_text(text.replace(" imagefilter legacy_v2_compatible ", " legacy_v2_compatible imagefilter "))
    return wsgi.Loader(str(path)).load_app("osapi_compute")


def test_one_question_is_asked_and_only_for_a_rule_that_applies(
    cloud: Cloud, servers: OwnServers, write_rules: Any, asked: list[str]
) -> None:
    text = "".join(
        f"[imagefilter:rule:r{number}]\ndeny = server.flavor.name == '{number}'\nactions = createImage\n"
        for number in range(3)
    )
    app = cloud.app({"oslo_config_file": write_rules(text)})
    assert post(cloud, app, cloud.server, image()).status_int == 202
    assert asked == [f"/servers/{cloud.server}"]
    cloud.settle()
    assert post(cloud, app, cloud.server, backup()).status_int == 202
    assert len(asked) == 1


SERVER_RULE = "[imagefilter:rule:locked]\ndeny = server.locked\n"


def test_nothing_is_remembered_beyond_a_request(cloud: Cloud, servers: OwnServers, write_rules: Any) -> None:
    app = cloud.app({"oslo_config_file": write_rules(SERVER_RULE)})
    for action, status in (("lock", 403), ("unlock", 202)):
        assert post(cloud, cloud.bare, cloud.server, {action: None}).status_int == 202
        assert post(cloud, app, cloud.server, image()).status_int == status
        cloud.settle()


@pytest.mark.parametrize("server", ["99999999-2222-4333-8444-555555555555", "99999999222243338444555555555555"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_server_that_does_not_exist_has_novas_own_404(
    cloud: Cloud, write_rules: Any, prefix: str, server: str
) -> None:
    app = cloud.app({"oslo_config_file": write_rules(SERVER_RULE), "lookup_on_error": "allow"})
    found = post(cloud, app, server, image(), prefix)
    assert get_message(found) == get_message(post(cloud, cloud.bare, server, image(), prefix))
    assert get_content(cloud.records()[-1])["rule"] == "server"


def test_a_server_of_another_project_does_not_exist(cloud: Cloud, write_rules: Any) -> None:
    app = cloud.app({"oslo_config_file": write_rules(SERVER_RULE)})
    response = post(cloud, app, cloud.server, image(), token="other")
    assert get_message(response) == (404, f"Instance {cloud.server} could not be found.")


@pytest.mark.parametrize(("on_error", "status"), [("deny", 503), ("allow", 202)])
def test_lookup_on_error_decides_if_nova_refuses_the_question(
    cloud: Cloud, write_rules: Any, on_error: str, status: int
) -> None:
    app = cloud.app({"oslo_config_file": write_rules(SERVER_RULE), "lookup_on_error": on_error})
    with cloud.policy_rule("os_compute_api:servers:show", "!"):
        response = post(cloud, app, cloud.server, image())
    assert response.status_int == status
    assert len(cloud.images()) == (status == 202)


def test_a_trial_refuses_nothing_if_nova_refuses_the_question(cloud: Cloud, write_rules: Any) -> None:
    app = cloud.app({"oslo_config_file": write_rules(SERVER_RULE), "mode": "warn"})
    with cloud.policy_rule("os_compute_api:servers:show", "!"):
        response = post(cloud, app, cloud.server, image())
    assert response.status_int == 202
    assert "The server could not be looked up." in response.headers["Warning"]


@pytest.mark.parametrize("on_error", ["deny", "allow"])
@pytest.mark.parametrize("deny", ['server.status == "ERROR"', "!server.locked", 'server.flavor.name == "x"'])
def test_a_server_in_a_cell_that_is_down_denies(
    cloud: Cloud, write_rules: Any, monkeypatch: pytest.MonkeyPatch, deny: str, on_error: str
) -> None:
    """Nova answers part of it: an id, a status UNKNOWN, and the flavor that it was booted with."""
    options = {"oslo_config_file": write_rules(f"[imagefilter:rule:r]\ndeny = {deny}\n"), "lookup_on_error": on_error}
    app = cloud.app(options)
    take_cell_down(cloud, monkeypatch)
    response = post(cloud, app, cloud.server, image())
    assert (response.status_int, cloud.images()) == (403, [])
    assert "the cell of the server is down" in get_content(cloud.records()[-1])["reason"]


def take_cell_down(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Nova believe that the cell of each server does not respond."""

    def fail(context: Any, cell_mapping: Any, *args: Any, **keywords: Any) -> dict[str, Any]:
        return {cell_mapping.uuid: nova_context.did_not_respond_sentinel}

    monkeypatch.setattr(nova_context, "scatter_gather_single_cell", fail)


LICENCE = "[imagefilter:rule:r]\ndeny = server.image.properties.licence == '4711'\n"


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
def test_an_older_nova_is_asked_for_the_image(
    cloud: Cloud, servers: OwnServers, write_rules: Any, asked: list[str], monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    """Before 2.98 a server has no properties of its image; there, all of them count, not only those that Nova knows."""
    from imagefilter.lookup import server as lookup

    app, windows = cloud.app({"oslo_config_file": write_rules(LICENCE)}), servers["windows"]
    assert post(cloud, app, windows, image(), prefix).status_int == 403
    is_known = "reason" not in get_content(cloud.records()[-1])
    assert is_known is (NOVA < 31)
    monkeypatch.setattr(lookup, "_PROPERTIES_VERSION", "2.999")
    asked.clear()
    assert post(cloud, app, windows, image(), prefix).status_int == 403
    assert "reason" not in get_content(cloud.records()[-1])
    assert asked == [f"/servers/{windows}"] * 2 + [f"/images/{WINDOWS}"]


def test_a_volume_beside_a_local_root_disk(cloud: Cloud, servers: OwnServers, write_rules: Any) -> None:
    """Nova shows the root device to administrators alone, and a volume of another bus may be the first there."""
    server = cloud.new_server({"name": "with-volume"})
    attach_volume(cloud, server)
    app = cloud.app({"oslo_config_file": write_rules("[imagefilter:rule:r]\ndeny = server.volume_backed\n")})
    response = post(cloud, app, server, image())
    cloud.settle(server)
    [verdict] = [record for record in cloud.records() if record["eventType"] == "control"]
    assert get_content(verdict)["facts"] == [{"field": "server.volume_backed", "value": "false"}]
    assert response.status_int == 202
    assert post(cloud, app, server, image(), token="admin").status_int == 202
    cloud.settle(server)


def test_the_record_has_what_a_rule_read(cloud: Cloud, servers: OwnServers, write_rules: Any) -> None:
    text = (
        "[imagefilter:rule:r]\ndeny = server.flavor.name == 'x' || server.tags.size() > 0 || 'k' in server.metadata\n"
    )
    app = cloud.app({"oslo_config_file": write_rules(text)})
    assert post(cloud, app, servers["gpu"], image()).status_int == 202
    [verdict] = [record for record in cloud.records() if record["eventType"] == "control"]
    content = get_content(verdict)
    assert content["facts"] == [
        {"field": "server.flavor.name", "value": '"gpu.large"'},
        {"field": "server.tags", "value": "[]"},
    ]
    assert content["server_seconds"] > 0
    cloud.settle(servers["gpu"])

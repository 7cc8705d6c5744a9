"""The modes warn and off change nothing but a header."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from imagefilter import filter_factory
from tests.cases import CASES, SERVER, Case, image
from tests.unit.fakes import AUTHENTICATED, PATH, Guarded
from tests.wsgi import build_environ, send

ALWAYS_REFUSED = [case for case in CASES if case.rule in ("content-type", "body")]
ALLOWED = [case for case in CASES if case.status == 202]
REFUSED = [case for case in CASES if case.rule not in ("", "token", "content-type", "body")]
WARNING = re.compile(r'299 imagefilter "(?:[^"\\\x00-\x1f\x7f-\xff]|\\["\\])*"')


class Echo:
    """An application whose response depends on what it reads, and which keeps it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        self.bodies.append(body)
        write = start_response(
            "418 Teapot", [("X-A", "1"), ("X-A", "2"), ("Set-Cookie", "a=b"), ("Warning", '199 - "x"')]
        )
        write(b"written ")
        return [json.dumps(json.loads(body)).encode(), b" end"]


def send_case(app: Any, case: Case) -> Any:
    return send(app, "POST", "/v2.1" + case.path.format(server=SERVER), case.body, case.headers, **AUTHENTICATED)


class Compared:
    """The responses to a case of an application and of the same behind the filter, and what each read."""

    def __init__(self, case: Case, mode: str) -> None:
        bare, guarded = Echo(), Echo()
        options = {"metadata_items": "128", **case.options, "mode": mode}
        self.expected = send_case(bare, case)
        self.response = send_case(filter_factory({}, **options)(guarded), case)
        self.sent, self.forwarded = bare.bodies[0], guarded.bodies[0]

    def assert_same_but_headers(self) -> None:
        assert (self.response.status, self.response.body) == (self.expected.status, self.expected.body)
        # The compute API reads what the client wrote: a number as a name stays one.
        assert json.dumps(json.loads(self.forwarded)) == json.dumps(json.loads(self.sent))


def headers_of(response: Any) -> list[tuple[str, str]]:
    """Return the headers that the application sent; WebOb adds the length of what it read."""
    return [header for header in response.headerlist if header[0] != "Content-Length"]


@pytest.mark.parametrize("mode", ["warn", "off"])
@pytest.mark.parametrize("case", ALLOWED, ids=[case.id for case in ALLOWED])
def test_an_allowed_request_gets_the_same_response(case: Case, mode: str) -> None:
    compared = Compared(case, mode)
    compared.assert_same_but_headers()
    assert headers_of(compared.response) == headers_of(compared.expected)


@pytest.mark.parametrize("case", REFUSED, ids=[case.id for case in REFUSED])
def test_warn_adds_a_header_alone(case: Case) -> None:
    compared = Compared(case, "warn")
    compared.assert_same_but_headers()
    *headers, (name, value) = headers_of(compared.response)
    assert headers == headers_of(compared.expected)
    assert name == "Warning"
    assert WARNING.fullmatch(value), value
    assert f'"{case.rule}: ' in value


@pytest.mark.parametrize("case", REFUSED, ids=[case.id for case in REFUSED])
def test_off_changes_nothing(case: Case) -> None:
    compared = Compared(case, "off")
    compared.assert_same_but_headers()
    assert headers_of(compared.response) == headers_of(compared.expected)
    assert compared.forwarded == compared.sent, "not encoded anew"


@pytest.mark.parametrize("case", ALWAYS_REFUSED, ids=[case.id for case in ALWAYS_REFUSED])
def test_two_rules_refuse_in_warn_too(case: Case) -> None:
    assert send_case(filter_factory({}, mode="warn")(Echo()), case).status_int == 400


def test_the_rule_token_refuses_in_warn_too() -> None:
    assert Guarded(mode="warn").post(image(), **{"nova.context": None}).status_int == 401


@pytest.mark.parametrize(
    "key", ["a\r\nSet-Cookie: x=y", 'quote"quote', "back\\slash", "\x00\x7f\x1b[31m", "名" * 300, "k" * 100_000]
)
@pytest.mark.parametrize(("options", "value"), [({"metadata_items": "-1"}, 5), ({"metadata_reserved": "*"}, "v")])
def test_a_warning_is_one_short_line_of_printable_ascii(key: str, options: dict[str, str], value: Any) -> None:
    body = json.dumps(image(metadata={key: value}), ensure_ascii=False).encode()
    warning = Guarded(mode="warn", **options).post(body).headers["Warning"]
    assert WARNING.fullmatch(warning), warning
    assert len(warning) <= 512


def test_the_log_says_would_deny(caplog: pytest.LogCaptureFixture) -> None:
    assert Guarded(mode="warn").post({"createImage": {}}).status_int == 202
    lines = [record.getMessage() for record in caplog.records if record.name == "imagefilter.filter"]
    assert any(line.startswith("would_deny createImage") for line in lines)
    assert not any("refused" in line or "denied" in line for line in lines)


def test_rule_modes_win_over_the_mode() -> None:
    guarded = Guarded(mode="warn", rule_modes="metadata-quota:enforce,name-required:off", metadata_items="0")
    response = guarded.post(image("", {"k": "v"}))
    assert response.status_int == 403, "an enforced rule wins over one that only warns"
    response = guarded.post(image(""))
    assert response.status_int == 202
    assert "Warning" not in response.headers, "a rule that is off is not asked"
    response = guarded.post(image(metadata={}, name=1.5))
    assert response.headers["Warning"].startswith('299 imagefilter "name-format: ')


SOFT = {"rule_modes": "metadata-type:warn,name-required:warn,name-format:warn", "name_pattern": "x"}


@pytest.mark.parametrize("entity", [{"name": "y", "metadata": 7}, {"name": "y", "metadata": None}])
def test_an_enforced_rule_is_found_behind_one_that_warns(entity: dict[str, Any]) -> None:
    assert Guarded(**SOFT).post({"createImage": entity}).status_int == 403


@pytest.mark.parametrize("entity", [{}, {"name": None}, {"name": []}, {"metadata": []}, {"name": "x", "metadata": "y"}])
def test_what_only_warns_is_forwarded_as_it_is(entity: dict[str, Any]) -> None:
    guarded = Guarded(**SOFT)
    assert guarded.post({"createImage": entity}).status_int == 202
    assert json.loads(guarded.bodies[0]) == {"createImage": entity}


def test_project_id_can_be_switched_off_where_nova_accepts_more() -> None:
    path = PATH.replace("/servers", "/Some-Project/servers")
    assert Guarded().post(image(), path).status_int == 404
    assert Guarded(rule_modes="project-id:off,project:off").post(image(), path).status_int == 202


def test_a_warning_passes_on_exc_info() -> None:
    started: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("500 X", [], ("type", "value", "trace"))
        return []

    environ = build_environ("POST", PATH, {"createImage": {}}, **AUTHENTICATED)
    filter_factory({}, mode="warn")(app)(environ, lambda *args: started.append(args))
    [(status, headers, exc_info)] = started
    assert (status, len(headers), exc_info) == ("500 X", 1, ("type", "value", "trace"))

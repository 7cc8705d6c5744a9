"""warn and off: what is only tried out changes nothing but a header."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from imagefilter import filter_factory
from tests.cases import CASES, SERVER, Case, image
from tests.requests import send
from tests.unit.small import CONTEXT, PATH, VOUCHED, Guarded

SOFT = [case for case in CASES if case.rule not in ("token", "content-type", "body")]
WARNING = re.compile(r'299 imagefilter "(?:[^"\\\x00-\x1f\x7f-\xff]|\\["\\])*"')


class Echo:
    """An app whose answer depends on what it is given to read, and which remembers it."""

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


def ask(app: Any, case: Case) -> Any:
    path = "/v2.1" + case.path.format(server=SERVER)
    return send(app, "POST", path, case.body, case.headers, **{"nova.context": CONTEXT})


def headers_of(response: Any) -> list[tuple[str, str]]:
    """What the app sent; WebOb adds the length of what it read."""
    return [header for header in response.headerlist if header[0] != "Content-Length"]


@pytest.mark.parametrize("mode", ["warn", "off"])
@pytest.mark.parametrize("case", SOFT, ids=[case.id for case in SOFT])
def test_nothing_of_the_answer_changes(case: Case, mode: str) -> None:
    options = {"metadata_items": "128", **case.options, "mode": mode}
    bare, echo = Echo(), Echo()
    expected = ask(bare, case)
    response = ask(filter_factory({}, **options)(echo), case)
    assert (response.status, response.body) == (expected.status, expected.body)
    # what the compute API reads is what the client wrote: a number as a name stays one
    assert json.dumps(json.loads(echo.bodies[0])) == json.dumps(json.loads(bare.bodies[0]))
    headers = headers_of(response)
    if mode == "warn" and case.status != 202:
        *headers, (name, value) = headers
        assert name == "Warning"
        assert WARNING.fullmatch(value), value
        assert f'"{case.rule}: ' in value
    assert headers == headers_of(expected)
    if mode == "off" and case.status != 202:
        assert echo.bodies == bare.bodies, "not rewritten"


@pytest.mark.parametrize("mode", ["warn", "off"])
def test_three_rules_refuse_in_every_mode(mode: str) -> None:
    hard = [case for case in CASES if case.rule in ("content-type", "body")]
    for case in hard:
        assert ask(filter_factory({}, mode=mode)(Echo()), case).status_int == 400
    assert Guarded(mode=mode).post(image(), **{"nova.context": None}).status_int == 401


@pytest.mark.parametrize(
    "key", ["a\r\nSet-Cookie: x=y", 'quote"quote', "back\\slash", "\x00\x7f\x1b[31m", "名" * 300, "k" * 100_000]
)
def test_a_warning_is_one_short_line_of_printable_ascii(key: str) -> None:
    for options in ({"metadata_reserved": key.strip().replace("$", "$$")}, {"metadata_items": "-1"}):
        guarded = Guarded(mode="warn", **({} if "," in key or "\\" in key else options))
        body = json.dumps(image(metadata={key: 5}), ensure_ascii=False).encode()
        value = guarded.post(body).headers["Warning"]
        assert WARNING.fullmatch(value), value
        assert len(value) <= 512


def test_would_deny_is_what_the_log_says(caplog: pytest.LogCaptureFixture) -> None:
    assert Guarded(mode="warn").post({"createImage": {}}).status_int == 202
    lines = [record.getMessage() for record in caplog.records if record.name == "imagefilter.filter"]
    assert any(line.startswith("would deny createImage") for line in lines)
    assert not any("refused" in line or "denied" in line for line in lines)


def test_rule_modes_win_over_the_mode() -> None:
    guarded = Guarded(mode="warn", rule_modes="metadata-quota:enforce,name-required:off", metadata_items="0")
    document = image("", {"k": "v"})
    assert guarded.post(document).status_int == 403, "an enforced rule wins over one that only warns"
    response = guarded.post(image(""))
    assert response.status_int == 202
    assert "Warning" not in response.headers, "a rule that is off is not looked at"
    response = guarded.post(image(metadata={}, name=1.5))
    assert response.headers["Warning"].startswith('299 imagefilter "name-format: ')


def test_an_enforced_rule_is_found_behind_one_that_warns() -> None:
    guarded = Guarded(rule_modes="metadata-type:warn,name-required:warn,name-format:warn", name_pattern="x")
    for entity in ({"name": "y", "metadata": 7}, {"name": "y", "metadata": None}):
        assert guarded.post({"createImage": entity}).status_int == 403
    for entity in ({}, {"name": None}, {"name": []}, {"metadata": []}, {"name": "x", "metadata": "y"}):
        response = guarded.post({"createImage": entity})
        assert response.status_int == 202
        assert json.loads(guarded.bodies[-1]) == {"createImage": entity}


def test_project_id_can_be_switched_off_where_nova_takes_more() -> None:
    path = PATH.replace("/servers", "/Some-Project/servers")
    assert Guarded().post(image(), path).status_int == 404
    assert Guarded(rule_modes="project-id:off,project:off").post(image(), path).status_int == 202


def test_what_is_not_enforced_is_said_loudly(caplog: pytest.LogCaptureFixture) -> None:
    filter_factory({}, rule_modes="name-format:warn,metadata-quota:off")
    texts = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert ["name-format:warn, metadata-quota:off" in text for text in texts] == [False, True]


def test_exc_info_is_handed_on() -> None:
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("500 X", [], ("type", "value", "trace"))
        return []

    from tests.requests import environ_of

    environ = environ_of("POST", PATH, {"createImage": {}}, **VOUCHED)
    filter_factory({}, mode="warn")(app)(environ, lambda *args: seen.append(args))
    [(status, headers, exc_info)] = seen
    assert (status, len(headers), exc_info) == ("500 X", 1, ("type", "value", "trace"))

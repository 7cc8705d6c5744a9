"""Records hold what a client wrote, not WSGI's Latin-1 reading of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cases import SERVER, image
from tests.unit.fakes import STRANGER, Journalled, get_content

TEXTS = ["Zoë’s script", "客户端 1.0", "emoji \U0001f5bc", "plain"]


def as_wsgi(text: str) -> str:
    """Return a text as a WSGI server puts it into an environ."""
    return text.encode().decode("latin-1")


@pytest.mark.parametrize("text", TEXTS)
def test_agent_and_forwarded_address(guarded: Journalled, text: str) -> None:
    guarded.post(image(), HTTP_USER_AGENT=as_wsgi(text), HTTP_X_FORWARDED_FOR=as_wsgi(text))
    initiator = guarded.records()[0]["initiator"]
    assert (initiator["host"]["agent"], initiator["forwarded_for"]) == (text, text)


@pytest.mark.parametrize("text", TEXTS)
def test_path_method_and_media_type(guarded: Journalled, text: str) -> None:
    path = f"/v2.1/{text}/servers/{SERVER}/action"
    environ = {"PATH_INFO": as_wsgi(path), "REQUEST_METHOD": as_wsgi(text), "CONTENT_TYPE": as_wsgi(text)}
    guarded.post(image(), **environ)
    record = guarded.records()[0]
    content = get_content(record)
    assert (content["path"], content["method"], content["media_type"]) == (path, text, text)
    assert record["target"]["project_id"] == text


@pytest.mark.parametrize("text", TEXTS)
def test_claims_of_a_stranger(guarded: Journalled, text: str) -> None:
    guarded.post(image(), **STRANGER, HTTP_X_USER_NAME=as_wsgi(text))
    assert guarded.records()[0]["initiator"]["claims"] == {"user_name": text}


@pytest.mark.parametrize("text", ["caf\xe9", "\xff\xfe", "\u540d"])
def test_a_text_that_is_not_utf_8_stays_as_it_is(guarded: Journalled, text: str) -> None:
    guarded.post(image(), HTTP_USER_AGENT=text)
    assert guarded.records()[0]["initiator"]["host"]["agent"] == text


def test_a_server_that_is_not_found_is_named_as_it_was_written(guarded: Journalled) -> None:
    response: Any = guarded.post(image(), PATH_INFO=as_wsgi("/v2.1/servers/Zoë/action"))
    assert response.json["itemNotFound"]["message"] == "Instance Zoë could not be found."
    assert guarded.records()[0]["target"]["id"] == "Zoë"

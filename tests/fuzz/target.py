"""The fuzzed code: a request, as readable text, goes through all that reads, judges and forwards it.

The text is much like HTTP: a method and a path (percent-encoded), then keys of the WSGI environ with their values, an
empty line, and the body::

    POST /v2.1/servers/11111111-2222-4333-8444-555555555555/action
    CONTENT_TYPE=application/json

    {"createImage": {"name": "nightly"}}
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from imagefilter import filter_factory
from imagefilter.fault import FAULT_NAMES, Fault
from imagefilter.request.action import ACTIONS, NAMED_ACTIONS, UNREAD_METHODS, ImageAction, encode, recognise
from imagefilter.request.body import read_body
from tests.fuzz.wire import forward

LIMIT = 114688
NAMES = {name: name.encode() for name in ACTIONS}

_OPTIONS = {"actions": ", ".join(ACTIONS), "metadata_items": "3", "name_pattern": "[a-z]*"}
# A rule of one's own that reads all of a request. Pythons before 3.11 have no library for it.
if importlib.util.find_spec("cel_expr_python"):
    _OPTIONS["oslo_config_file"] = str(Path(__file__).with_name("rules.conf"))

# Keys that servers and auth_token set in an environ; clients set the others.
_FLAGS = ("wsgi.input_terminated", "keystone.token_auth")
_KEY = re.compile(r"[A-Z][A-Z0-9_]*|openstack\.(global_)?request_id")


def check(data: bytes) -> None:
    """Send a request through the code.

    :raises AssertionError: if a property does not hold; any other exception is a finding as well.
    """
    environ, body = parse(data)
    with contextlib.suppress(Fault):
        _check_recognition(environ, body, read_body(environ, LIMIT))
    _check_filter(*parse(data))
    _check_gateway(parse(data)[0])


def parse(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the environ and the body of a request."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.decode("latin-1").split("\n")
    method, _, path = first.partition(" ")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "PATH_INFO": unquote_to_bytes(path.encode("latin-1")).decode("latin-1"),
        "CONTENT_LENGTH": str(len(body)),
    }
    for line in lines:
        key, _, value = line.partition("=")
        if key in _FLAGS:
            environ[key] = bool(value)
        elif _KEY.fullmatch(key):
            environ[key] = value
    environ["wsgi.input"] = io.BytesIO(body)
    return environ, body


def _check_recognition(environ: dict[str, Any], sent: bytes, body: bytes) -> None:
    """Check that the body is read and framed, and that no image action is missed.

    :param sent: all bytes that the client sent.
    :param body: those that were read.
    """
    assert sent.startswith(body)
    assert environ["wsgi.input"].read() == body
    assert environ["CONTENT_LENGTH"] == str(len(body))
    assert not {"HTTP_TRANSFER_ENCODING", "wsgi.input_terminated"}.intersection(environ)
    action = recognise(environ, body, NAMES)
    if action is None:
        assert not _is_image_action(body), "an image action was not recognised"
    elif action.name in NAMED_ACTIONS and isinstance(action.entity, dict):
        for renamed in (False, True):
            _check_encoding(environ, action, renamed)


def _is_image_action(body: bytes) -> bool:
    """Return whether Nova would read an image action in a body, without the filter's own decoder."""
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and len(document) == 1 and not document.keys().isdisjoint(ACTIONS)


def _check_encoding(environ: dict[str, Any], action: ImageAction, renamed: bool) -> None:
    """Check that an encoded action is the same action, and that there is only one way to encode it."""
    body = encode(action, renamed)
    again = recognise(environ, body, NAMES)
    assert again is not None
    expected = {**action.entity}
    if renamed and "name" in expected:
        expected["name"] = action.image_name
    assert (again.name, again.target) == (action.name, action.target)
    assert repr(again.entity) == repr(expected)
    assert encode(again, False) == body
    assert json.loads(body, object_pairs_hook=_unique_keys)
    assert len(body) <= 6 * LIMIT


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), "a key is given twice"
    return dict(pairs)


def _check_filter(environ: dict[str, Any], sent: bytes) -> None:
    """Check that the filter responds to everything, and forwards what makes no image as it was sent."""
    received = environ["tests.received"] = []
    statuses: list[str] = []
    response = _filter()(environ, lambda status, *_: statuses.append(status[:3]))
    assert b"".join(response) or statuses == ["202"]
    assert len(statuses) == 1
    if environ["REQUEST_METHOD"] in UNREAD_METHODS:
        assert received == [sent]
    elif received:
        assert sent.startswith(received[0]) or _is_image_action(received[0])
    else:
        assert int(statuses[0]) in FAULT_NAMES


def _check_gateway(environ: dict[str, Any]) -> None:
    """Check that filter and gateway send one request to the compute API, the judged one; or none, and a fault."""
    statuses: list[str] = []
    b"".join(_gateway()(environ, lambda status, *_: statuses.append(status[:3])))
    assert len(statuses) == 1
    assert statuses == ["202"] or int(statuses[0]) in FAULT_NAMES


@functools.cache
def _gateway() -> Any:
    return filter_factory({}, **_OPTIONS)(forward)


@functools.cache
def _filter() -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["tests.received"].append(environ["wsgi.input"].read())
        start_response("202 Accepted", [])
        return []

    return filter_factory({}, **_OPTIONS)(app)

"""What is fuzzed: a request, as text that people can read, goes through all that reads, judges and forwards it.

The text is much like HTTP: a method and a path (percent-encoded), then keys of the WSGI environ with their values, an
empty line, and the body::

    POST /v2.1/servers/11111111-2222-4333-8444-555555555555/action
    CONTENT_TYPE=application/json

    {"createImage": {"name": "nightly"}}
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from imagefilter import filter_factory
from imagefilter.action import NAMED_ACTIONS, UNREAD_METHODS, ImageAction, encode, read_body, recognise
from imagefilter.fault import FAULT_NAMES, Fault
from imagefilter.options import ACTIONS
from tests.fuzz.wire import forward

LIMIT = 114688
_OPTIONS = {"actions": ", ".join(ACTIONS), "metadata_items": "3", "name_pattern": "[a-z]*"}

_NAMES = {name: name.encode() for name in ACTIONS}
# What servers and auth_token say in an environ, beside what clients can.
_FLAGS = ("wsgi.input_terminated", "keystone.token_auth")
_KEY = re.compile(r"[A-Z][A-Z0-9_]*|openstack\.(global_)?request_id")


def check(data: bytes) -> None:
    """Try a request.

    :raises AssertionError: if something does not hold; whatever else is raised is a find as well.
    """
    environ, body = parse(data)
    with contextlib.suppress(Fault):
        _is_recognised(environ, body, read_body(environ, LIMIT))
    _passes_the_filter(*parse(data))
    _passes_the_gateway(parse(data)[0])


def parse(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The environ and the body of a request."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.decode("latin-1").split("\n")
    method, _, path = first.partition(" ")
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "SCRIPT_NAME": "", "QUERY_STRING": ""}
    environ.update(PATH_INFO=unquote_to_bytes(path.encode("latin-1")).decode("latin-1"), CONTENT_LENGTH=str(len(body)))
    for line in lines:
        key, _, value = line.partition("=")
        if key in _FLAGS or _KEY.fullmatch(key):
            environ[key] = bool(value) if key in _FLAGS else value
    environ["wsgi.input"] = io.BytesIO(body)
    return environ, body


def _is_recognised(environ: dict[str, Any], body: bytes, read: bytes) -> None:
    assert body.startswith(read)
    assert environ["wsgi.input"].read() == read
    assert environ["CONTENT_LENGTH"] == str(len(read))
    assert not {"HTTP_TRANSFER_ENCODING", "wsgi.input_terminated"}.intersection(environ)
    action = recognise(environ, read, _NAMES)
    if action is None:
        assert not _is_sole_key(read), "an image action was not recognised"
    elif action.kind in NAMED_ACTIONS and isinstance(action.entity, dict):
        _survives(environ, action)


def _is_sole_key(body: bytes) -> bool:
    """Whether Nova would take a body for an image action; read without the filter's own decoder."""
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and len(document) == 1 and not document.keys().isdisjoint(ACTIONS)


def _survives(environ: dict[str, Any], action: ImageAction) -> None:
    """What goes on is the same action, whoever reads it, and there is one way only to write it."""
    for renamed in (False, True):
        body = encode(action, renamed)
        again = recognise(environ, body, _NAMES)
        assert again is not None
        name = action.name if renamed else (action.entity.get("name"))
        assert (again.kind, again.target, repr(again.entity.get("name"))) == (action.kind, action.target, repr(name))
        assert repr({**again.entity, "name": None}) == repr({**action.entity, "name": None})
        assert encode(again, False) == body
        assert json.loads(body, object_pairs_hook=_once)
        assert len(body) <= 6 * LIMIT


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), "a key stands twice"
    return dict(pairs)


def _passes_the_filter(environ: dict[str, Any], body: bytes) -> None:
    """The whole filter: an answer for everything, and what makes no image arrives as it was sent."""
    seen = environ["tests.seen"] = []
    started: list[str] = []
    answer = _filter()(environ, lambda status, *_: started.append(status[:3]))
    assert b"".join(answer) or started == ["202"]
    assert len(started) == 1
    if environ["REQUEST_METHOD"] in UNREAD_METHODS:
        assert seen == [body]
    elif seen:
        assert body.startswith(seen[0]) or _is_sole_key(seen[0])
    else:
        assert int(started[0]) in FAULT_NAMES


def _passes_the_gateway(environ: dict[str, Any]) -> None:
    """Filter and gateway: one request for the compute API, the one that was judged, or none and a fault."""
    started: list[str] = []
    b"".join(_gateway()(environ, lambda status, *_: started.append(status[:3])))
    assert len(started) == 1
    assert started == ["202"] or int(started[0]) in FAULT_NAMES


@functools.cache
def _gateway() -> Any:
    return filter_factory({}, **_OPTIONS)(forward)


@functools.cache
def _filter() -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["tests.seen"].append(environ["wsgi.input"].read())
        start_response("202 Accepted", [])
        return []

    return filter_factory({}, **_OPTIONS)(app)

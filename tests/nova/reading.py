"""A second reading of a request, as the documentation says that it is read, without the filter's own code."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from tests.nova.grammar import Request

_UNREAD = ("GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE")
_LIMIT = 114688
_ACTIONS = ("createImage", "createBackup", "shelve")


class Reading(NamedTuple):
    """A request as the documentation says that it is read."""

    read: bool  # not one of the methods without a body
    framed: bool  # its length is a plain number and is met
    too_long: bool
    readable: bool
    document: Any
    deep: bool  # nested more than 100 levels
    named: bool  # the body holds a guarded name, or a backslash behind which one may hide
    on_action_path: bool

    @property
    def kind(self) -> str | None:
        """The sole top-level key, if it names an image action."""
        return kind_of(self.document)


def read(request: Request) -> Reading:
    """Read a request."""
    environ = request.of("server-id")
    length, body = environ.get("CONTENT_LENGTH"), request.body
    framed = True
    if not length:
        body = body if environ.get("wsgi.input_terminated") else b""
    elif re.fullmatch("[0-9]+", length, re.ASCII):
        body, framed = body[: int(length[-30:])], int(length[-30:]) <= len(body)
    else:
        framed = False
    too_long = len(body) > _LIMIT or (framed is False and (length or "").isdecimal() and int(length[-30:]) > _LIMIT)
    document, readable = decoded(body)
    path = (environ["SCRIPT_NAME"] + environ["PATH_INFO"]).removesuffix("\n")
    return Reading(
        read=request.method not in _UNREAD,
        framed=framed,
        too_long=too_long,
        readable=readable,
        document=document,
        deep=_levels(body) > 100,
        named=b"\\" in body or any(name.encode() in body for name in _ACTIONS),
        on_action_path=request.method == "POST"
        and re.search(r"/(servers|os-volumes_boot)/+[^/]+/+action/*\Z", "/" + path) is not None,
    )


def kind_of(document: Any) -> str | None:
    kind = next(iter(document)) if isinstance(document, dict) and len(document) == 1 else None
    return kind if kind in _ACTIONS else None


def decoded(body: bytes) -> tuple[Any, bool]:
    try:
        return json.loads(body.decode("utf-8")), True
    except (ValueError, RecursionError):
        return None, False


def _levels(body: bytes) -> int:
    """How deep brackets are nested, those in texts left out."""
    level = deepest = 0
    for bracket in re.findall(rb"[][{}]", re.sub(rb'"(?:[^"\\]|\\.)*"?', b"", body, flags=re.DOTALL)):
        level += 1 if bracket in b"[{" else -1
        deepest = max(deepest, level)
    return deepest

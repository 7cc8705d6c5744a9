"""A second parser of requests, written from the documentation and without the filter's own code."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from tests.nova.grammar import Request

_UNREAD_METHODS = ("GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE")
_LIMIT = 114688
_MAX_LEVELS = 100
_ACTIONS = ("createImage", "createBackup", "shelve")
_ACTION_PATH = re.compile(r"/(servers|os-volumes_boot)/+[^/]+/+action/*\Z")
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)  # of a JSON document


class ParsedRequest(NamedTuple):
    """A request as the documentation says that the filter reads it."""

    is_read: bool  # not one of the methods without a body
    is_framed: bool  # the length is a plain number, and the body is as long as that
    is_too_long: bool
    is_json: bool
    document: Any
    is_too_deep: bool
    may_name_action: bool  # the body contains the name of an image action, or a backslash that may hide one
    is_on_action_path: bool

    @property
    def action(self) -> str | None:
        """The name of the image action, if it is the document's only key."""
        return find_action(self.document)

    @property
    def is_action(self) -> bool:
        """Whether the document is one action of any name."""
        return isinstance(self.document, dict) and len(self.document) == 1


def parse(request: Request) -> ParsedRequest:
    """Parse a request."""
    environ = request.environ_for("server-id")
    body, is_framed, is_too_long = _frame(environ, request.body)
    document, is_json = decode(body)
    return ParsedRequest(
        is_read=request.method not in _UNREAD_METHODS,
        is_framed=is_framed,
        is_too_long=is_too_long,
        is_json=is_json,
        document=document,
        is_too_deep=_count_levels(body) > _MAX_LEVELS,
        may_name_action=b"\\" in body or any(name.encode() in body for name in _ACTIONS),
        is_on_action_path=_is_on_action_path(environ),
    )


def find_action(document: Any) -> str | None:
    """Return the name of an image action, if it is the only key of a document."""
    if not isinstance(document, dict) or len(document) != 1:
        return None
    [name] = document
    if name in _ACTIONS:
        return str(name)
    return None


def decode(body: bytes) -> tuple[Any, bool]:
    """Return the document in a body, and whether there is one."""
    try:
        return json.loads(body.decode("utf-8")), True
    except (ValueError, RecursionError):
        return None, False


def _frame(environ: dict[str, Any], body: bytes) -> tuple[bytes, bool, bool]:
    """Return the body as far as it is read, whether its length is right, and whether it is too long."""
    length = environ.get("CONTENT_LENGTH")
    if not length:
        if not environ.get("wsgi.input_terminated"):
            body = b""
        return body, True, len(body) > _LIMIT
    number = 0
    if length.isdecimal():
        number = int(length[-30:])
    if not re.fullmatch("[0-9]+", length, re.ASCII):
        return body, False, max(len(body), number) > _LIMIT
    read = body[:number]
    is_complete = number <= len(body)
    return read, is_complete, len(read) > _LIMIT or (number > _LIMIT and not is_complete)


def _is_on_action_path(environ: dict[str, Any]) -> bool:
    path = (environ["SCRIPT_NAME"] + environ["PATH_INFO"]).removesuffix("\n")
    return environ["REQUEST_METHOD"] == "POST" and _ACTION_PATH.search("/" + path) is not None


def _count_levels(body: bytes) -> int:
    """Return how deep brackets are nested, without those in texts."""
    level = deepest = 0
    for bracket in re.findall(rb"[][{}]", _TEXT.sub(b"", body)):
        if bracket in b"[{":
            level += 1
        else:
            level -= 1
        deepest = max(deepest, level)
    return deepest

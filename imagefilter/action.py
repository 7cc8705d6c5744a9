"""Recognise, decode and encode an image action.

Recognition goes by the body, not by the path: Nova runs ``createImage`` for ``PUT …?_method=POST``, for
``os-volumes_boot``, for doubled slashes and trailing newlines, and with the version in a header, so a path that
does not look like an action proves nothing. What Nova then reads is what was decoded here, encoded anew: no
difference between two JSON parsers can matter.
"""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from imagefilter import fault
from imagefilter.options import ACTIONS

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

LOG = logging.getLogger(__name__)

#: Methods for which Nova reads no body, spelled exactly so. Any other (``post``, ``PUT``, ``FOO``) is read like POST:
#: Nova deserializes the bodies of POST and PUT, and HTTP clients upper-case a method on its way.
UNREAD_METHODS = frozenset(("GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE"))

#: Actions whose value is an object with a name and metadata. ``shelve`` names its image itself.
NAMED_ACTIONS = frozenset(("createImage", "createBackup"))

#: What stands in the body of one that makes an image, whether it is judged or not.
ACTION_NAMES = tuple(name.encode() for name in ACTIONS)

# os-volumes_boot is a clone of servers from Nova 16 to 32, and its routes still stand in 33 and 34.
_COLLECTIONS = frozenset(("servers", "os-volumes_boot"))
_VERSION = re.compile(r"v[0-9]+(\.[0-9]+)?")

# Levels of a document that is read as an image action; its metadata stand on the third.
_MOST_NESTING = 100

_MALFORMED = "Malformed request body"


class Target(NamedTuple):
    """What an action path names: ``…[/v2.1][/project]/servers/<server>/action``."""

    server_id: str
    project_id: str | None
    versioned: bool  # the segment before the project is a version, so Nova's route decides what a project is


class ImageAction(NamedTuple):
    """A request that would make an image, or one on an action path of which no action can be read."""

    kind: str | None  # createImage, createBackup, shelve; None if no action can be read
    entity: Any  # the action's value as decoded
    name: Any  # the name as it is forwarded if allowed: a number is the string of its digits
    media_type: str  # of the Content-Type, without parameters
    target: Target | None

    @property
    def metadata(self) -> Any:
        """The metadata as decoded, ``{}`` if none was given, or none counts: Nova reads nothing of a ``shelve``."""
        named = self.kind in NAMED_ACTIONS and type(self.entity) is dict
        return self.entity.get("metadata", {}) if named else {}


def recognise(environ: WSGIEnvironment, body: bytes, actions: Mapping[str, bytes]) -> ImageAction | None:
    """Say whether a request is an image action.

    :param body: the whole body.
    :param actions: names of the actions that are judged, each with its ASCII bytes.
    :returns: None for everything that is none of ours and can go on untouched; perhaps an image action that is not in
        ``actions``.
    """
    segments = _segments(environ)
    on_action_path = environ["REQUEST_METHOD"] == "POST" and _is_action_path(segments)
    if not on_action_path and not may_name(body, actions.values()):
        return None
    try:
        document = decode(body)
    except (ValueError, RecursionError):
        return _image_action(environ, segments)  # never passed on as if harmless
    kind: Any = None
    if type(document) is dict and len(document) == 1:
        [kind] = document
    if kind in ACTIONS:
        if _is_deep(body, document):
            return _image_action(environ, segments)
        return _image_action(environ, segments, kind, document[kind], _name(body, kind, document[kind]))
    return _image_action(environ, segments) if kind is None and on_action_path else None


def decode(body: bytes) -> Any:
    """Decode a body as Nova does: strict UTF-8, then the standard library's JSON, here without its costlier parts.

    (``json.loads`` of bytes would take UTF-16 and a byte order mark as well, where Nova answers 400.)

    :raises ValueError: if it is not JSON.
    :raises RecursionError: if it is nested too deep for this stack.
    """
    text = body.decode("utf-8").strip(" \t\n\r")  # JSON's white space, and no other
    document, end = _raw_decode(text)
    if end != len(text):
        raise ValueError("more than one document")
    return document


def encode(action: ImageAction, renamed: bool) -> bytes:
    """The canonical body of an action: what the compute API is given to read.

    :param renamed: whether a number as a name becomes text of its digits, which is all that Nova takes.
    :raises Fault: 400 if the entity is nested too deep to be written.
    """
    entity = action.entity
    if renamed and action.kind in NAMED_ACTIONS and type(entity.get("name")) is int:
        entity = {**entity, "name": action.name}
    document = {action.kind: entity}
    try:
        # Escaping would double the size of CJK texts, past the compute API's own limit.
        return _encode(document).encode("utf-8")
    except UnicodeEncodeError:  # lone surrogates: JSON can write them, UTF-8 can't
        return json.dumps(document, separators=(",", ":")).encode("ascii")
    except RecursionError:
        raise fault.Fault(400, _MALFORMED) from None


_raw_decode = json.JSONDecoder().raw_decode
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def read_body(environ: WSGIEnvironment, limit: int) -> bytes:
    """Read the whole body once and leave it to be read again.

    :param limit: bytes.
    :raises Fault: 413 over the limit; 400 for a ``Content-Length`` that is no number or a body shorter than it says.
    """
    length = _content_length(environ)
    # Without a length, PEP 3333 servers say with this key whether the stream ends by itself (chunked).
    if length is None:
        length = 0
        body = _read(environ["wsgi.input"], limit + 1) if environ.get("wsgi.input_terminated") else b""
    else:
        body = _read(environ["wsgi.input"], length) if length <= limit else b""
    if length > limit or len(body) > limit:
        LOG.warning(
            "refused a body of over %d bytes: [imagefilter] max_body_bytes must be at least the compute API's own"
            " [oslo_middleware] max_request_body_size",
            limit,
        )
        raise fault.Fault(413, f"Request is too large. Larger than max_body_bytes ({limit}).")
    if len(body) < length:
        raise fault.Fault(400, _MALFORMED)
    replay(environ, body)
    return body


def replay(environ: WSGIEnvironment, body: bytes) -> None:
    """Make ``body`` the request's body, framed by its length alone."""
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ.pop("wsgi.input_terminated", None)


def _segments(environ: WSGIEnvironment) -> list[str]:
    """The path as Nova's routes read it.

    ``paste.urlmap`` collapses ``//``, and the ``$`` of a route matches before a final newline, so that
    ``//v2.1//servers/<server>/action%0a`` runs the action. A mount moves segments into ``SCRIPT_NAME``.
    """
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return list(filter(None, path.removesuffix("\n").split("/")))


def _is_action_path(segments: list[str]) -> bool:
    return len(segments) >= 3 and segments[-1] == "action" and segments[-3] in _COLLECTIONS


def may_name(body: bytes, names: Iterable[bytes]) -> bool:
    """Whether a body may name an action: compute APIs read UTF-8 only, where a name is its bytes or escaped."""
    return b"\\" in body or any(name in body for name in names)


def _is_deep(body: bytes, document: Any) -> bool:
    """Whether a document is nested deeper than any image action has to be.

    Nova decodes with less of the stack left than the filter: what just about fits here would be its 500, not a refusal.
    """
    if not (_holds_many(body, b"[") or _holds_many(body, b"{")):  # there can't be more levels than brackets
        return False
    level = [document]
    for _ in range(_MOST_NESTING):
        level = [child for each in level for child in _children(each) if type(child) in (dict, list)]
        if not level:
            return False
    return True


def _holds_many(body: bytes, bracket: bytes) -> bool:
    """Whether a bracket stands in a body more often than half the levels: find is many times faster than count."""
    position = -1
    for _ in range(_MOST_NESTING // 2):
        position = body.find(bracket, position + 1)
        if position < 0:
            return False
    return True


def _children(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if type(value) is dict else value


def _image_action(
    environ: WSGIEnvironment, segments: list[str], kind: str | None = None, entity: Any = None, name: Any = None
) -> ImageAction:
    media_type = environ.get("CONTENT_TYPE", "").split(";", 1)[0]
    return ImageAction(kind, entity, name, media_type, _target(segments) if _is_action_path(segments) else None)


def _target(segments: list[str]) -> Target:
    prefix = segments[:-3]
    project_id = prefix.pop() if prefix and not _VERSION.fullmatch(prefix[-1]) else None
    return Target(segments[-2], project_id, bool(prefix and _VERSION.fullmatch(prefix[-1])))


def _name(body: bytes, kind: str, entity: Any) -> Any:
    """The entity's name; of a number its digits as the client wrote them, if it is written in digits alone."""
    name = entity.get("name") if kind in NAMED_ACTIONS and isinstance(entity, dict) else None
    if type(name) is not int:
        return name
    literal = json.loads(body, parse_int=str)[kind]["name"]
    return literal if literal.isdigit() else name


def _content_length(environ: WSGIEnvironment) -> int | None:
    text = environ.get("CONTENT_LENGTH")
    if not text:
        return None
    # WebOb, and so Nova, reads it with int(), to which "+5", " 5", "5_0" and Arabic digits are numbers: to the next
    # server they may not be, and then the two would not agree where the body ends.
    if not (text.isascii() and text.isdigit()):
        raise fault.Fault(400, _MALFORMED)
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) < 20 else sys.maxsize  # int() is slow, then refuses, for thousands of digits


def _read(stream: IO[bytes], size: int) -> bytes:
    chunk = stream.read(size)
    if len(chunk) == size:
        return chunk
    chunks = [chunk]
    while chunk and size > len(chunk):  # a socket may give less than was asked for
        size -= len(chunk)
        chunk = stream.read(size)
        chunks.append(chunk)
    return b"".join(chunks)

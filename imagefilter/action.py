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
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from imagefilter import fault

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

LOG = logging.getLogger(__name__)

#: Methods for which Nova reads no body, spelled exactly so. Any other (``post``, ``PUT``, ``FOO``) is read like POST:
#: Nova deserializes the bodies of POST and PUT, and HTTP clients upper-case a method on its way.
UNREAD_METHODS = frozenset(("GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE"))

#: Actions whose value is an object with a name and metadata. ``shelve`` names its image itself.
NAMED_ACTIONS = frozenset(("createImage", "createBackup"))

# os-volumes_boot is a clone of servers from Nova 16 to 32, and its routes still stand in 33 and 34.
_COLLECTIONS = frozenset(("servers", "os-volumes_boot"))
_VERSION = re.compile(r"v[0-9]+(\.[0-9]+)?")
_DIGITS = re.compile(r"[0-9]+")

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
        """The metadata as decoded, ``{}`` if none was given."""
        return self.entity.get("metadata", {})


def recognise(environ: WSGIEnvironment, body: bytes, actions: Mapping[str, bytes]) -> ImageAction | None:
    """Say whether a request is an image action.

    :param body: the whole body.
    :param actions: guarded action names, each with its ASCII bytes.
    :returns: None for everything that is none of ours and can go on untouched.
    """
    target = target_of(environ)
    on_action_path = target is not None and environ["REQUEST_METHOD"] == "POST"
    # Compute APIs read JSON in UTF-8 only, where a name is its ASCII bytes or is escaped with a backslash.
    if not on_action_path and not any(name in body for name in actions.values()) and b"\\" not in body:
        return None
    media_type = environ.get("CONTENT_TYPE", "").split(";", 1)[0]
    unreadable = ImageAction(None, None, None, media_type, target)
    try:
        text = body.decode("utf-8")  # as Nova does: json.loads(bytes) would take UTF-16 and a BOM
        document = json.loads(text)
    except (ValueError, RecursionError):
        return unreadable
    if not isinstance(document, dict) or len(document) != 1:
        return unreadable if on_action_path else None
    [(kind, entity)] = document.items()
    if kind not in actions:
        return None
    return ImageAction(kind, entity, _name(text, kind, entity), media_type, target)


def encode(action: ImageAction) -> bytes:
    """The canonical body of an allowed action: what the compute API is given to read.

    :raises Fault: 400 if the entity is nested too deep to be written.
    """
    entity = action.entity
    if action.kind in NAMED_ACTIONS and entity["name"] is not action.name:
        entity = {**entity, "name": action.name}
    document = {action.kind: entity}
    try:
        # Escaping would double the size of CJK texts, past the compute API's own limit.
        return _encoder.encode(document).encode("utf-8")
    except UnicodeEncodeError:  # lone surrogates: JSON can write them, UTF-8 can't
        return json.dumps(document, separators=(",", ":")).encode("ascii")
    except RecursionError:
        raise fault.Fault(400, _MALFORMED) from None


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def read_body(environ: WSGIEnvironment, limit: int) -> bytes:
    """Read the whole body once and leave it to be read again.

    :param limit: bytes.
    :raises Fault: 413 over the limit; 400 for a ``Content-Length`` that is no number or a body shorter than it says.
    """
    length = _content_length(environ)
    stream = environ["wsgi.input"]
    if length is None:
        # Without a length, PEP 3333 servers say with this key whether the stream ends by itself (chunked).
        body = _read(stream, limit + 1) if environ.get("wsgi.input_terminated") else b""
    else:
        body = b"" if length > limit else _read(stream, length)
    if max(len(body), length or 0) > limit:
        LOG.warning(
            "refused a body of over %d bytes: [imagefilter] max_body_bytes must be at least the compute API's own"
            " [oslo_middleware] max_request_body_size",
            limit,
        )
        raise fault.Fault(413, f"Request is too large. Larger than max_body_bytes ({limit}).")
    if len(body) < (length or 0):
        raise fault.Fault(400, _MALFORMED)
    replay(environ, body)
    return body


def replay(environ: WSGIEnvironment, body: bytes) -> None:
    """Make ``body`` the request's body, framed by its length alone."""
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ.pop("wsgi.input_terminated", None)


def target_of(environ: WSGIEnvironment) -> Target | None:
    """What the path names, or None if it is not shaped like an action path.

    The path is read as Nova's routes read it: ``paste.urlmap`` collapses ``//``, and the ``$`` of a route matches
    before a final newline, so ``//v2.1//servers/<server>/action%0a`` runs the action. A mount moves segments into
    ``SCRIPT_NAME``.
    """
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    segments = [segment for segment in path.removesuffix("\n").split("/") if segment]
    if len(segments) < 3 or segments[-1] != "action" or segments[-3] not in _COLLECTIONS:
        return None
    prefix = segments[:-3]
    project_id = prefix.pop() if prefix and not _VERSION.fullmatch(prefix[-1]) else None
    return Target(segments[-2], project_id, bool(prefix and _VERSION.fullmatch(prefix[-1])))


def _name(text: str, kind: str, entity: Any) -> Any:
    """The entity's name; of a number its digits as the client wrote them, if it is written in digits alone."""
    name = entity.get("name") if isinstance(entity, dict) else None
    if type(name) is not int:
        return name
    literal = json.loads(text, parse_int=str)[kind]["name"]
    return literal if _DIGITS.fullmatch(literal) else name


def _content_length(environ: WSGIEnvironment) -> int | None:
    text = environ.get("CONTENT_LENGTH")
    if not text:
        return None
    # WebOb, and so Nova, reads it with int(), to which "+5", " 5", "5_0" and Arabic digits are numbers: to the next
    # server they may not be, and then the two would not agree where the body ends.
    if not _DIGITS.fullmatch(text):
        raise fault.Fault(400, _MALFORMED)
    return int(text) if len(text) < 20 else sys.maxsize  # int() is slow, then refuses, for thousands of digits


def _read(stream: IO[bytes], size: int) -> bytes:
    chunks = [stream.read(size)]
    missing = size - len(chunks[0])
    while missing and chunks[-1]:  # a socket may give less than was asked for
        chunks.append(stream.read(missing))
        missing -= len(chunks[-1])
    return b"".join(chunks)

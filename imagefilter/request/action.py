"""Recognise, decode and encode an image action.

Recognition goes by the body, not by the path: Nova runs ``createImage`` for ``PUT …?_method=POST``, for
``os-volumes_boot``, for doubled slashes and trailing newlines, and with the version in a header, so a path that
does not look like an action proves nothing. Nova then reads what was decoded here, encoded anew: no difference
between two JSON parsers can matter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from imagefilter.fault import Fault
from imagefilter.request.body import MALFORMED
from imagefilter.request.codec import decode, is_too_deep

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: The server actions that make an image.
ACTIONS = ("createImage", "createBackup", "shelve")

#: Actions whose value is an object with a name and metadata. ``shelve`` names its image itself.
NAMED_ACTIONS = frozenset(("createImage", "createBackup"))

#: The bytes by which a body may name an image action, whether that action is judged or not.
ACTION_NAMES = tuple(name.encode() for name in ACTIONS)

#: Methods for which Nova reads no body, spelled exactly so. Any other (``post``, ``PUT``, ``FOO``) is read like POST:
#: Nova deserializes the bodies of POST and PUT, and HTTP clients upper-case a method on its way.
UNREAD_METHODS = frozenset(("GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE"))

#: Longest name of an image, in characters.
NAME_LENGTH = 255

# os-volumes_boot is a clone of servers from Nova 16 to 32, and its routes still exist in 33 and 34.
_COLLECTIONS = frozenset(("servers", "os-volumes_boot"))
_VERSION = re.compile(r"v[0-9]+(\.[0-9]+)?")

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Target(NamedTuple):
    """What an action path names: ``…[/v2.1][/project]/servers/<server>/action``."""

    server_id: str
    project_id: str | None
    versioned: bool  # the segment before the project is a version, so Nova's route decides what a project is


class ImageAction(NamedTuple):
    """A request that would make an image, or one on an action path whose body names no action."""

    name: str | None  # createImage, createBackup, shelve; None if no action can be read
    entity: Any  # the action's value as decoded
    image_name: Any  # as it is forwarded if allowed: a number is the string of its digits
    media_type: str  # of the Content-Type, without parameters
    target: Target | None  # None: the path is not an action path

    @property
    def metadata(self) -> Any:
        """The metadata as decoded; ``{}`` if there are none, or none that count: Nova reads nothing of a ``shelve``."""
        if self.name in NAMED_ACTIONS and type(self.entity) is dict:
            return self.entity.get("metadata", {})
        return {}


def recognise(environ: WSGIEnvironment, body: bytes, actions: Mapping[str, bytes]) -> ImageAction | None:
    """Recognise an image action.

    :param body: the whole body.
    :param actions: names of the actions that are judged, each with its ASCII bytes.
    :returns: None for a request that can be forwarded untouched. The action need not be one of ``actions``.
    """
    segments = _segments(environ)
    on_action_path = environ["REQUEST_METHOD"] == "POST" and _is_action_path(segments)
    if not on_action_path and not may_name(body, actions.values()):
        return None
    try:
        document = decode(body)
    except (ValueError, RecursionError):
        return _unreadable(environ, segments)  # never forwarded as if harmless
    name: Any = None
    if type(document) is dict and len(document) == 1:
        [name] = document
    if name in ACTIONS:
        if is_too_deep(body, document):
            return _unreadable(environ, segments)
        entity = document[name]
        image_name = _image_name(body, name, entity)
        return ImageAction(name, entity, image_name, _media_type(environ), _target(segments))
    if name is None and on_action_path:
        return _unreadable(environ, segments)
    return None


def may_name(body: bytes, names: Iterable[bytes]) -> bool:
    """Return whether a body may name an action: compute APIs read UTF-8 only, where a name is its bytes or escaped."""
    return b"\\" in body or any(name in body for name in names)


def find_target(environ: WSGIEnvironment) -> Target | None:
    """Return what the path of a request names, or None if it is not an action path."""
    return _target(_segments(environ))


def encode(action: ImageAction, renamed: bool, metadata: dict[str, Any] | None = None) -> bytes:
    """Encode the canonical body of an action, for the compute API to read.

    :param renamed: whether a number as a name becomes text of its digits, the only form that Nova accepts.
    :param metadata: instead of the client's; None leaves them.
    :raises Fault: 400 if the entity is nested too deep to be encoded.
    """
    entity = action.entity
    if renamed and action.name in NAMED_ACTIONS and type(entity.get("name")) is int:
        entity = {**entity, "name": action.image_name}
    if metadata is not None:
        entity = {**entity, "metadata": metadata}
    document = {action.name: entity}
    try:
        # Escaping would double the size of CJK texts, past the compute API's own limit.
        return _encode(document).encode("utf-8")
    except UnicodeEncodeError:  # lone surrogates: JSON can write them, UTF-8 can't
        return json.dumps(document, separators=(",", ":")).encode("ascii")
    except RecursionError:
        raise Fault(400, MALFORMED) from None


def _segments(environ: WSGIEnvironment) -> list[str]:
    """Split the path as Nova's routes read it.

    ``paste.urlmap`` collapses ``//``, and the ``$`` of a route matches before a final newline, so that
    ``//v2.1//servers/<server>/action%0a`` runs the action. A mount moves segments into ``SCRIPT_NAME``.
    """
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return list(filter(None, path.removesuffix("\n").split("/")))


def _is_action_path(segments: list[str]) -> bool:
    return len(segments) >= 3 and segments[-1] == "action" and segments[-3] in _COLLECTIONS


def _unreadable(environ: WSGIEnvironment, segments: list[str]) -> ImageAction:
    return ImageAction(None, None, None, _media_type(environ), _target(segments))


def _media_type(environ: WSGIEnvironment) -> str:
    media_type: str = environ.get("CONTENT_TYPE", "").split(";", 1)[0]
    return media_type


def _target(segments: list[str]) -> Target | None:
    if not _is_action_path(segments):
        return None
    prefix = segments[:-3]
    project_id = None
    if prefix and not _VERSION.fullmatch(prefix[-1]):
        project_id = prefix.pop()
    versioned = bool(prefix and _VERSION.fullmatch(prefix[-1]))
    return Target(segments[-2], project_id, versioned)


def _image_name(body: bytes, action_name: str, entity: Any) -> Any:
    """Return the entity's name; for a number its digits as the client wrote them, if it is written in digits alone."""
    if action_name not in NAMED_ACTIONS or not isinstance(entity, dict):
        return None
    name = entity.get("name")
    if type(name) is not int:
        return name
    literal = json.loads(body, parse_int=str)[action_name]["name"]
    if literal.isdigit():
        return literal
    return name

"""Decode JSON as Nova does, within limits of nesting, and name the types of its values."""

from __future__ import annotations

import json
import re
from typing import Any

# Levels of a document that is read as an image action; its metadata are on the third.
_MAX_NESTING = 100

_WHITE_SPACE = " \t\n\r"  # JSON's, and no other

_TYPE_NAMES = {
    str: "text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}

# nova/api/validation/parameter_types.py non_negative_integer: digits, and the "$" of its pattern matches before a final
# newline. Python refuses to read longer numbers.
_DIGITS = re.compile("[0-9]+\\n?")
_MAX_DIGITS = 4000

_raw_decode = json.JSONDecoder().raw_decode


def decode(body: bytes) -> Any:
    """Decode a body as Nova does: strict UTF-8, then the standard library's JSON, here without its costlier parts.

    (``json.loads`` of bytes would accept UTF-16 and a byte order mark as well, where Nova responds 400.)

    :raises ValueError: if it is not JSON.
    :raises RecursionError: if it is nested too deep for this stack.
    """
    text = body.decode("utf-8").strip(_WHITE_SPACE)
    document, end = _raw_decode(text)
    if end != len(text):
        raise ValueError("more than one document")
    return document


def is_too_deep(body: bytes, document: Any) -> bool:
    """Return whether a document is nested deeper than any image action needs.

    Nova decodes with less of the stack left than the filter has: a document that only just fits here would become a
    500 there instead of a refusal.

    :param body: the bytes that the document was decoded from.
    """
    if not (_holds_many(body, b"[") or _holds_many(body, b"{")):
        return False  # a document has no more levels than opening brackets
    level = [document]
    for _ in range(_MAX_NESTING):
        level = _containers_in(level)
        if not level:
            return False
    return True


def decode_latin1(text: str) -> str:
    """Return a text of a WSGI environ as the client wrote it: WSGI decodes its bytes as Latin-1, clients write UTF-8.

    A text that is not UTF-8 stays as it is.
    """
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def read_rotation(rotation: Any) -> int | None:
    """Return the rotation of a createBackup as Nova reads it, also in quotes; None if Nova refuses it.

    (To jsonschema, and so to Nova, 4.0, 4e0 and -0.0 are integers.)
    """
    if type(rotation) is str and _DIGITS.fullmatch(rotation):
        return int(rotation[:_MAX_DIGITS])
    if type(rotation) is float and rotation.is_integer():
        rotation = int(rotation)
    if type(rotation) is int and rotation >= 0:
        return rotation
    return None


def type_name(value: Any) -> str:
    """Return the name of a JSON value's type, for people: ``text``, ``a number``, ``null``."""
    return _TYPE_NAMES[type(value)]


def _holds_many(body: bytes, bracket: bytes) -> bool:
    """Return whether a bracket occurs more often than half the levels: find is many times faster than count."""
    position = -1
    for _ in range(_MAX_NESTING // 2):
        position = body.find(bracket, position + 1)
        if position < 0:
            return False
    return True


def _containers_in(level: list[Any]) -> list[Any]:
    """Return the objects and lists directly inside those of one level."""
    inner: list[Any] = []
    for container in level:
        children = container
        if type(container) is dict:
            children = container.values()
        inner += [child for child in children if type(child) in (dict, list)]
    return inner

"""Serialize JSON in ways that no client does: keys given twice, escapes where none are needed, any encoding."""

from __future__ import annotations

import json
from typing import Any

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SMALL_LETTERS = "\\u%04x"
_CAPITALS = "\\u%04X"


class Pairs(tuple[tuple[str, Any], ...]):
    """A JSON object as it is written: its members in order, a key as often as it is given."""


class Raw(str):
    """Literal JSON."""


def write(value: Any, escapes: str = "none", space: str = "") -> str:
    """Serialize a value.

    :param value: may contain :class:`Raw` and :class:`Pairs`.
    :param escapes: which characters of a text are escaped: ``none``, ``ascii`` (all others), ``all``, ``ALL`` (in
        capitals), ``first``, ``last``, ``other`` (every second one).
    :param space: white space, written between all tokens.
    """
    if isinstance(value, Raw):
        return value
    if isinstance(value, str):
        return _write_text(value, escapes)
    if isinstance(value, Pairs):
        members = [_write_member(member, escapes, space) for member in value]
        return "{" + ",".join(members) + space + "}"
    if isinstance(value, list):
        items = [space + write(item, escapes, space) for item in value]
        return "[" + ",".join(items) + "]"
    return json.dumps(value)


def encode(text: str, encoding: str) -> bytes:
    """Encode a document; ``cesu`` encodes each half of a surrogate pair as UTF-8."""
    if encoding == "cesu":
        return "".join(map(chr, _utf16_units(text))).encode("utf-8", "surrogatepass")
    if encoding == "utf-8-sig":
        return _BYTE_ORDER_MARK + text.encode("utf-8", "surrogatepass")
    if encoding.startswith("utf-") and encoding != "utf-7":
        return text.encode(encoding, "surrogatepass")
    return text.encode(encoding, "replace")


def _write_member(member: tuple[str, Any], escapes: str, space: str) -> str:
    key, value = member
    return f"{space}{_write_text(key, escapes)}{space}:{space}{write(value, escapes, space)}"


def _write_text(text: str, escapes: str) -> str:
    if escapes == "none" or not text:
        return json.dumps(text, ensure_ascii=False)
    if escapes == "ascii":
        return json.dumps(text)
    if escapes == "all":
        return f'"{_escape(text)}"'
    if escapes == "ALL":
        return f'"{_escape(text, _CAPITALS)}"'
    if escapes == "first":
        return f'"{_escape(text[0])}{json.dumps(text[1:])[1:]}'
    if escapes == "last":
        return f'{json.dumps(text[:-1])[:-1]}{_escape(text[-1])}"'
    return _escape_every_second(text)


def _escape_every_second(text: str) -> str:
    written = ""
    for position, character in enumerate(text):
        if position % 2:
            written += json.dumps(character)[1:-1]
        else:
            written += _escape(character)
    return f'"{written}"'


def _escape(text: str, form: str = _SMALL_LETTERS) -> str:
    return "".join(form % unit for unit in _utf16_units(text))


def _utf16_units(text: str) -> list[int]:
    data = text.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[start : start + 2], "big") for start in range(0, len(data), 2)]

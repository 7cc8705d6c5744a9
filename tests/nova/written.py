"""JSON as nobody else writes it: keys twice, escapes where none are needed, in encodings that it must not have."""

from __future__ import annotations

import json
from typing import Any


class Pairs(tuple[tuple[str, Any], ...]):
    """An object of JSON as it is written: in order, a key as often as it stands there."""


class Raw(str):
    """Literal JSON."""


def write(value: Any, escapes: str = "none", space: str = "") -> str:
    """Write a value; texts, with :class:`Raw` and :class:`Pairs` in it, escaped like this and with this white space."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, str):
        return _text(value, escapes)
    if isinstance(value, Pairs):
        members = (f"{space}{_text(k, escapes)}{space}:{space}{write(v, escapes, space)}" for k, v in value)
        return "{" + ",".join(members) + space + "}"
    if isinstance(value, list):
        return "[" + ",".join(space + write(each, escapes, space) for each in value) + "]"
    return json.dumps(value)


def encode(text: str, encoding: str) -> bytes:
    if encoding == "cesu":  # as some make UTF-8 of UTF-16's halves
        return "".join(map(chr, _units(text))).encode("utf-8", "surrogatepass")
    if encoding.startswith("utf-") and encoding != "utf-7":
        return (
            text.encode(encoding, "surrogatepass")
            if encoding != "utf-8-sig"
            else b"\xef\xbb\xbf" + encode(text, "utf-8")
        )
    return text.encode(encoding, "replace")


def _text(text: str, escapes: str) -> str:
    if escapes in ("none", "ascii") or not text:
        return json.dumps(text, ensure_ascii=escapes == "ascii")
    if escapes in ("all", "ALL"):
        return '"' + _escaped(text, "\\u%04x" if escapes == "all" else "\\u%04X") + '"'
    if escapes == "first":
        return '"' + _escaped(text[0]) + json.dumps(text[1:])[1:]
    if escapes == "last":
        return json.dumps(text[:-1])[:-1] + _escaped(text[-1]) + '"'
    return '"' + "".join(json.dumps(c)[1:-1] if at % 2 else _escaped(c) for at, c in enumerate(text)) + '"'


def _escaped(text: str, form: str = "\\u%04x") -> str:
    return "".join(form % unit for unit in _units(text))


def _units(text: str) -> list[int]:
    """The units of UTF-16."""
    data = text.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]

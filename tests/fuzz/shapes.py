"""Requests that can grow: the shapes an attacker would choose to make a parser slow."""

from __future__ import annotations

from typing import Callable, NamedTuple

POST = b"POST /v2.1/servers/11111111-2222-4333-8444-555555555555/action"
IMAGE = b'{"createImage": {"name": "x", "m": '
END = b"}}"


class Shape(NamedTuple):
    """A request of about any size."""

    id: str
    build: Callable[[int], bytes]


def _body(id_: str, repeated: bytes, before: bytes = b"", after: bytes = b"") -> Shape:
    """Return a shape whose body repeats something."""
    return Shape(id_, lambda size: POST + b"\n\n" + before + repeated * (size // len(repeated)) + after)


def _head(id_: str, before: bytes, repeated: bytes, after: bytes) -> Shape:
    """Return a shape whose head repeats something; its body is a ``createImage``."""
    return Shape(id_, lambda size: before + repeated * (size // len(repeated)) + after + b"\n\n" + IMAGE + b"1" + END)


def _nested(id_: str, opening: bytes, inner: bytes, closing: bytes) -> Shape:
    """Return a shape whose body nests something."""

    def build(size: int) -> bytes:
        depth = size // len(opening + closing)
        return POST + b"\n\n" + IMAGE + opening * depth + inner + closing * depth + END

    return Shape(id_, build)


def _build_keys(size: int) -> bytes:
    keys = b",".join(b'"%d":1' % number for number in range(size // 9))
    return POST + b"\n\n" + IMAGE + b"{" + keys + b"}" + END


SHAPES = (
    _nested("nested lists", b"[", b"", b"]"),
    _nested("nested objects", b'{"":', b"1", b"}"),
    _body("brackets that never close", b"[", IMAGE),
    _body("brackets in a text", b"[{", IMAGE + b'"', b'"' + END),
    _body("many empty lists", b"[],", IMAGE + b"[", b"1]" + END),
    Shape("many keys", _build_keys),
    _body("one key again and again", b'"k":1,', IMAGE + b"{", b'"k":1}' + END),
    _body("the action again and again", b'"createImage":{"name":5},', b"{", b'"createImage":{"name":7}}'),
    _body("escapes", b"\\u0041", IMAGE + b'"', b'"' + END),
    _body("backslashes", b"\\", IMAGE),
    _body("digits", b"9", b'{"createImage": {"name": ', END),
    _body("white space", b" ", IMAGE + b"1" + END),
    _head("a path of slashes", b"POST ", b"/", b"servers/x/action"),
    _head("a path of segments", b"POST ", b"/x", b"/servers/x/action"),
    _head("a path of line ends", b"POST /servers/x/action", b"%0a", b""),
    _head("a length of digits", POST + b"\nCONTENT_LENGTH=", b"9", b""),
    _head("a content type", POST + b"\nCONTENT_TYPE=", b";", b""),
)

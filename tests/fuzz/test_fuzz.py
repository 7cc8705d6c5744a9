"""The fuzzer's corpus without the fuzzer; and that no request takes longer than its length explains."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Callable

import pytest

from imagefilter import action
from tests.fuzz.target import LIMIT, check, parse

CORPUS = sorted(Path(__file__).with_name("corpus").iterdir())
NAMES = {name: name.encode() for name in action.ACTIONS}
POST = b"POST /v2.1/servers/11111111-2222-4333-8444-555555555555/action"


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_the_corpus(path: Path) -> None:
    check(path.read_bytes())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_every_beginning_of_the_corpus(path: Path) -> None:
    data = path.read_bytes()
    for length in range(0, len(data), 3):
        check(data[:length])


def _shapes() -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """Requests that grow: what an attacker would try to be slow with."""
    image, end = b'{"createImage": {"name": "x", "m": ', b"}}"

    def body(repeated: bytes, before: bytes = b"", after: bytes = b"") -> Callable[[int], bytes]:
        return lambda size: POST + b"\n\n" + before + repeated * (size // len(repeated)) + after

    yield "nested lists", lambda size: POST + b"\n\n" + image + b"[" * (size // 2) + b"]" * (size // 2) + end
    yield (
        "nested objects",
        lambda size: POST + b"\n\n" + image + b'{"":' * (size // 5) + b"1" + b"}" * (size // 5) + end,
    )
    yield "brackets that never close", body(b"[", image)
    yield "brackets in a text", body(b"[{", image + b'"', b'"' + end)
    yield "many empty lists", body(b"[],", image + b"[", b"1]" + end)
    yield (
        "many keys",
        lambda size: POST + b"\n\n" + image + b"{" + b",".join(b'"%d":1' % n for n in range(size // 9)) + b"}" + end,
    )
    yield "one key again and again", body(b'"k":1,', image + b"{", b'"k":1}' + end)
    yield "the action again and again", body(b'"createImage":{"name":5},', b"{", b'"createImage":{"name":7}}')
    yield "escapes", body(b"\\u0041", image + b'"', b'"' + end)
    yield "backslashes", body(b"\\", image)
    yield "digits", body(b"9", b'{"createImage": {"name": ', b"}}")
    yield "white space", body(b" ", image + b"1" + end)
    yield "a path of slashes", lambda size: b"POST " + b"/" * size + b"servers/x/action\n\n" + image + b"1" + end
    yield (
        "a path of segments",
        lambda size: b"POST " + b"/x" * (size // 2) + b"/servers/x/action\n\n" + image + b"1" + end,
    )
    yield (
        "a path of line ends",
        lambda size: b"POST /servers/x/action" + b"%0a" * (size // 3) + b"\n\n" + image + b"1" + end,
    )
    yield "a length of digits", lambda size: POST + b"\nCONTENT_LENGTH=" + b"9" * size + b"\n\n" + image + b"1" + end
    yield "a content type", lambda size: POST + b"\nCONTENT_TYPE=" + b";" * size + b"\n\n" + image + b"1" + end


class _Steps:
    """Counts the lines of action.py that are run."""

    def __init__(self) -> None:
        self.count = 0

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != action.__file__:
            return None
        self.count += 1
        return self.trace


def _steps(data: bytes) -> int:
    environ, _ = parse(data)
    steps = _Steps()
    sys.settrace(steps.trace)
    try:
        body = action.read_body(environ, LIMIT)
        found = action.recognise(environ, body, NAMES)
        if found and isinstance(found.entity, dict):
            action.encode(found, True)
    except action.fault.Fault:
        pass
    finally:
        sys.settrace(None)
    return steps.count


@pytest.mark.parametrize(("name", "grown"), _shapes(), ids=[name for name, _ in _shapes()])
def test_twice_the_request_is_at_most_twice_the_work(name: str, grown: Callable[[int], bytes]) -> None:
    """Lines of Python are counted, not seconds: the count is the same on a busy machine."""
    small, large = _steps(grown(20_000)), _steps(grown(40_000))
    assert 0 < large <= 2 * small + 100


def test_a_body_is_not_read_in_more_pieces_than_it_comes_in() -> None:
    class Drip(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1) -> bytes:
            self.reads += 1
            return super().read(min(size or 0, 10))

    stream = Drip(b"x" * 10_000)
    environ: dict[str, Any] = {"CONTENT_LENGTH": "10000", "wsgi.input": stream}
    assert action.read_body(environ, LIMIT) == b"x" * 10_000
    assert stream.reads == 1000

"""The fuzzer's corpus without the fuzzer; and no request takes more work than its length explains."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from imagefilter import request
from imagefilter.fault import Fault
from imagefilter.request.action import encode, recognise
from imagefilter.request.body import read_body
from tests.fuzz.shapes import SHAPES, Shape
from tests.fuzz.target import LIMIT, NAMES, check, parse

CORPUS = sorted(Path(__file__).with_name("corpus").iterdir())
PACKAGE = str(Path(request.__file__).parent)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_the_corpus(path: Path) -> None:
    check(path.read_bytes())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_every_beginning_of_the_corpus(path: Path) -> None:
    data = path.read_bytes()
    for length in range(0, len(data), 3):
        check(data[:length])


class LineCounter:
    """Counts the lines that are run of the package that reads requests."""

    def __init__(self) -> None:
        self.count = 0

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        self.count += 1
        return self.trace


def count_lines(data: bytes) -> int:
    """Return how many lines are run to read, recognise and encode a request."""
    environ, _ = parse(data)
    counter = LineCounter()
    sys.settrace(counter.trace)
    try:
        with contextlib.suppress(Fault):
            action = recognise(environ, read_body(environ, LIMIT), NAMES)
            if action and isinstance(action.entity, dict):
                encode(action, True)
    finally:
        sys.settrace(None)
    return counter.count


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.id for shape in SHAPES])
def test_twice_the_request_is_at_most_twice_the_work(shape: Shape) -> None:
    """Lines of Python are counted, not seconds: the count is the same on a busy machine."""
    small, large = count_lines(shape.build(20_000)), count_lines(shape.build(40_000))
    assert 0 < large <= 2 * small + 100


class Drip(io.BytesIO):
    """A stream that returns ten bytes at a time."""

    reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        return super().read(min(size or 0, 10))


def test_a_body_is_read_in_as_many_pieces_as_it_arrives_in() -> None:
    stream = Drip(b"x" * 10_000)
    environ: dict[str, Any] = {"CONTENT_LENGTH": "10000", "wsgi.input": stream}
    assert read_body(environ, LIMIT) == b"x" * 10_000
    assert stream.reads == 1000

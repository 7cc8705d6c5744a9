"""Which file of a journal comes next, decided from a listing and a position alone."""

from __future__ import annotations

import json

import pytest

from imagefilter.journal.files import File
from imagefilter.journal.position import Position, Step, next_step, unread_bytes


def file(digest: str, size: int, live: bool = False, path: str = "j.1") -> File:
    return File(path=path, digest=digest, head_length=1, started="", size=size, live=live)


OLD, LAST, LIVE = file("old", 10), file("last", 20), file("live", 30, live=True, path="j")


def test_a_position_survives_a_file_of_json() -> None:
    position = Position("last", 5, {"old": 10})
    assert Position(*json.loads(json.dumps(position))) == position


def test_moves_in_the_file_that_is_being_read() -> None:
    assert Position("last", 5, {"old": 10}).move("last", 7) == Position("last", 7, {"old": 10})


def test_moves_in_a_file_that_had_ended() -> None:
    assert Position("last", 5, {"old": 10}).move("old", 12) == Position("last", 5, {"old": 12})


def test_leaves_a_file() -> None:
    assert Position("last", 5, {"old": 10}).leave() == Position("", 0, {"old": 10, "last": 5})


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (Position(), Position("last", 0)),
        (Position("last", 7), Position("last", 7)),
        (Position("", 0, {"last": 9}), Position("last", 9, {"last": 9})),
        (Position("last", 99), Position("last", 20)),
    ],
)
def test_enters_a_file_where_reading_goes_on(position: Position, expected: Position) -> None:
    assert position.enter(LAST) == expected


def test_a_compressed_file_may_be_longer_than_it_says() -> None:
    compressed = file("last", 20, path="j.1.gz")
    assert Position("last", 99).enter(compressed) == Position("last", 99)


def test_forgets_other_files() -> None:
    assert Position("last", 5, {"old": 10, "gone": 3}).forget_others({"old"}) == Position("last", 5, {"old": 10})


def test_reads_the_oldest_file_first() -> None:
    assert next_step([OLD, LAST, LIVE], Position()) == Step(OLD, Position())


def test_goes_on_with_a_rotated_file() -> None:
    position = Position("last", 5, {"old": 10})
    assert next_step([OLD, LAST, LIVE], position) == Step(LAST, position)


def test_goes_on_with_the_live_file() -> None:
    position = Position("live", 5, {"old": 10, "last": 20})
    assert next_step([OLD, LAST, LIVE], position) == Step(LIVE, position)


def test_a_file_that_has_grown_comes_before_the_live_one() -> None:
    """A late writer has written into it."""
    position = Position("live", 5, {"old": 10, "last": 15})
    assert next_step([OLD, LAST, LIVE], position) == Step(LAST, position.leave())


def test_a_compressed_file_does_not_grow() -> None:
    compressed = file("last", 20, path="j.1.gz")
    position = Position("", 0, {"last": 15})
    assert next_step([compressed], position) == Step(None, position)


def test_a_file_that_is_gone_is_left_when_another_is_there() -> None:
    position = Position("last", 5)
    assert next_step([LIVE], position) == Step(LIVE, position.leave(), is_lost=True)
    assert next_step([], position) == Step(None, position)


def test_counts_unread_bytes() -> None:
    assert unread_bytes([OLD, LAST, LIVE], Position("last", 5, {"old": 10, "gone": 7})) == 15 + 30
    assert unread_bytes([LIVE], Position("live", 99)) == 0

"""A question is asked once, and its failure is an answer."""

from __future__ import annotations

import pytest

from imagefilter.lookup.once import Once
from imagefilter.rules.case import LookupFailed, ServerNotFound


class Question:
    """A question; it raises what a test says, or has None as its answer."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.count = 0
        self._failure = failure

    def __call__(self) -> None:
        self.count += 1
        if self._failure:
            raise self._failure


def test_an_answer_is_remembered_also_if_it_is_none() -> None:
    once, question, other = Once(), Question(), Question()
    assert once.was_asked(question) is False
    assert [once.get(question) for _ in range(2)] == [None, None]  # type: ignore[func-returns-value]
    assert once.was_asked(question) is True
    assert once.was_asked(other) is False
    assert question.count == 1


@pytest.mark.parametrize("failure", [LookupFailed("down"), ServerNotFound()])
def test_a_failure_is_remembered(failure: Exception) -> None:
    once, question = Once(), Question(failure)
    for _ in range(2):
        with pytest.raises(type(failure)) as raised:
            once.get(question)
        assert raised.value is failure
    assert once.was_asked(question) is True
    assert question.count == 1

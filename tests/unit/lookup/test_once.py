"""A question is asked once, and its failure is an answer."""

from __future__ import annotations

from typing import Any

import pytest

from imagefilter.lookup.once import Once
from imagefilter.rules.case import LookupFailed, ServerNotFound


class Question:
    """A question; a test says its answer, or what it raises."""

    def __init__(self, answer: Any = None, failure: Exception | None = None) -> None:
        self.count = 0
        self._answer, self._failure = answer, failure

    def __call__(self) -> Any:
        self.count += 1
        if self._failure:
            raise self._failure
        return self._answer


@pytest.mark.parametrize("answer", [None, 0, "yes"])
def test_an_answer_is_remembered(answer: Any) -> None:
    once, question, other = Once(), Question(answer), Question()
    assert once.was_asked(question) is False
    assert [once.get(question) for _ in range(2)] == [answer, answer]
    assert once.was_asked(question) is True
    assert once.was_asked(other) is False
    assert question.count == 1


@pytest.mark.parametrize("failure", [LookupFailed("down"), ServerNotFound()])
def test_a_failure_is_remembered(failure: Exception) -> None:
    once, question = Once(), Question(failure=failure)
    for _ in range(2):
        with pytest.raises(type(failure)) as raised:
            once.get(question)
        assert raised.value is failure
    assert once.was_asked(question) is True
    assert question.count == 1

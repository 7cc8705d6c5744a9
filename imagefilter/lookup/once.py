"""Questions that are asked at most once about a request."""

from __future__ import annotations

from typing import Any, Callable, TypeVar

from imagefilter.rules.case import LookupFailed, ServerNotFound

Answer = TypeVar("Answer")


class Once:
    """Asks each question at most once: whoever asks again gets the same answer, or the same failure."""

    def __init__(self) -> None:
        self._answers: dict[Callable[[], Any], Any] = {}
        self._failures: dict[Callable[[], Any], LookupFailed | ServerNotFound] = {}

    def get(self, ask: Callable[[], Answer]) -> Answer:
        """Return the answer to a question.

        :param ask: raises LookupFailed or ServerNotFound if there is no answer.
        :raises LookupFailed: if there is none.
        :raises ServerNotFound: if the compute API says that there is no such server.
        """
        if not self.was_asked(ask):
            try:
                self._answers[ask] = ask()
            except (LookupFailed, ServerNotFound) as failure:
                self._failures[ask] = failure
        if ask in self._failures:
            raise self._failures[ask]
        answer: Answer = self._answers[ask]
        return answer

    def was_asked(self, ask: Callable[[], Any]) -> bool:
        """Return whether a question has an answer, or failed."""
        return ask in self._answers or ask in self._failures

"""A question that is asked at most once about a request."""

from __future__ import annotations

from typing import Callable, Generic, TypeVar

from imagefilter.rules.case import LookupFailed, ServerNotFound

Answer = TypeVar("Answer")


class Once(Generic[Answer]):
    """Asks once; whoever asks again gets the same answer, or the same failure.

    :param ask: raises LookupFailed or ServerNotFound if there is no answer.
    """

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self.was_asked = False
        self._ask = ask
        self._answers: list[Answer] = []  # one, or none
        self._failure: LookupFailed | ServerNotFound | None = None

    def get(self) -> Answer:
        """Return the answer.

        :raises LookupFailed: if there is none.
        :raises ServerNotFound: if the compute API says that there is no such server.
        """
        if not self.was_asked:
            try:
                self._answers.append(self._ask())
            except (LookupFailed, ServerNotFound) as failure:
                self._failure = failure
            self.was_asked = True
        if self._failure:
            raise self._failure
        return self._answers[0]

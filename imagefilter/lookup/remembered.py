"""Answers about projects that are remembered for a while, failures for a second."""

from __future__ import annotations

import threading
from typing import Callable, Generic, TypeVar

from cachetools import TTLCache

from imagefilter.rules.case import LookupFailed

_MAX_PROJECTS = 10_000  # remembered at a time
_FAILURE_TTL = 1  # seconds
_STRIPES = 64

Answer = TypeVar("Answer")


class ServerFailed(LookupFailed):
    """A failure that has nothing to do with the caller. It is remembered, so that a sick API is not asked more."""


class Remembered(Generic[Answer]):
    """Remembers one answer about each project. One thread asks for the others of the same project, who wait.

    :param ttl: seconds.
    """

    def __init__(self, ttl: int) -> None:
        self.ttl = ttl
        self._answers: TTLCache[str, Answer] = TTLCache(_MAX_PROJECTS, ttl)
        self._failures: TTLCache[str, str] = TTLCache(_MAX_PROJECTS, _FAILURE_TTL)
        self._cache_lock = threading.Lock()
        # Stripes: one lock a project would grow forever.
        self._question_locks = tuple(threading.Lock() for _ in range(_STRIPES))

    def get(self, project_id: str, ask: Callable[[], Answer], seconds: float = -1) -> Answer:
        """Return what is remembered, or ask and remember it.

        :param ask: raises LookupFailed; only a ServerFailed is remembered.
        :param seconds: how long to wait for another thread's question; -1 is without end.
        :raises LookupFailed: if there is no answer.
        """
        question_lock = self._question_locks[hash(project_id) % _STRIPES]
        if not question_lock.acquire(timeout=seconds):
            raise LookupFailed("another request has asked the same, and got no answer in time (api_timeout)")
        try:
            answer = self._recall(project_id)
            if answer is None:
                answer = self._ask(project_id, ask)
            return answer
        finally:
            question_lock.release()

    def _recall(self, project_id: str) -> Answer | None:
        with self._cache_lock:
            failure = self._failures.get(project_id)
            answer: Answer | None = self._answers.get(project_id)
        if answer is None and failure is not None:
            raise LookupFailed(failure)
        return answer

    def _ask(self, project_id: str, ask: Callable[[], Answer]) -> Answer:
        try:
            answer = ask()
        except ServerFailed as failure:
            with self._cache_lock:
                self._failures[project_id] = str(failure)
            raise
        with self._cache_lock:
            self._answers[project_id] = answer
        return answer

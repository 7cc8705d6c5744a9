"""Questions to the compute API behind the filter, asked through the wrapped application itself.

So they work in Nova's pipeline and in the gateway alike, as the caller, and need no credentials and no client.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import webob
from cachetools import TTLCache

from imagefilter.lookup.question import build_question
from imagefilter.policy.context import RequestContext
from imagefilter.rules.case import LookupFailed, NotAuthenticated

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

LOG = logging.getLogger(__name__)

_MAX_PROJECTS = 10_000  # remembered at a time
_FAILURE_TTL = 1  # seconds
_STRIPES = 64
_MAX_RESPONSE_BYTES = 65536

# A longer question may itself be why the compute API failed: uWSGI's buffer for a request's head has 4 KiB.
_ORDINARY_BYTES = 2048


class ComputeAPI:
    """The compute API behind the filter. What it says of a project is remembered for a while.

    :param ttl: seconds.
    """

    def __init__(self, app: WSGIApplication, ttl: int) -> None:
        self.ttl = ttl
        self._app = app
        self._limits: TTLCache[str, int] = TTLCache(_MAX_PROJECTS, ttl)
        self._failures: TTLCache[str, str] = TTLCache(_MAX_PROJECTS, _FAILURE_TTL)
        self._cache_lock = threading.Lock()
        # One thread asks for the others of the same project, who wait. Stripes: one lock a project would grow forever.
        self._question_locks = tuple(threading.Lock() for _ in range(_STRIPES))

    def metadata_items(self, environ: WSGIEnvironment, context: RequestContext) -> int:
        """Return the project's own quota of metadata items; -1 is no limit.

        :raises LookupFailed: if it could not be looked up.
        :raises NotAuthenticated: if the compute API responds 401.
        """
        # For a caller nobody vouches for the project is the one in the URL: the compute API refuses others the answer.
        project_id = context.project_id
        if not project_id:
            return self._ask(environ, context)
        with self._question_locks[hash(project_id) % _STRIPES]:
            limit = self._remembered(project_id)
            if limit is None:
                limit = self._ask_and_remember(environ, context, project_id)
            return limit

    def _remembered(self, project_id: str) -> int | None:
        with self._cache_lock:
            failure = self._failures.get(project_id)
            limit: int | None = self._limits.get(project_id)
        if limit is None and failure is not None:
            raise LookupFailed(failure)
        return limit

    def _ask_and_remember(self, environ: WSGIEnvironment, context: RequestContext, project_id: str) -> int:
        try:
            limit = self._ask(environ, context)
        except _ServerFailed as failure:
            # A stranger chooses his project, and what his question looks like: with a token that is too long for the
            # compute API he could make anybody's quota unknown.
            if context.identity.authenticated:
                with self._cache_lock:
                    self._failures[project_id] = str(failure)
            raise
        with self._cache_lock:
            self._limits[project_id] = limit
        return limit

    def _ask(self, environ: WSGIEnvironment, context: RequestContext) -> int:
        target = context.action.target
        if target is None:
            raise LookupFailed("the path of the request does not say where the compute API is")
        # At the base microversion: maxImageMeta is gone from 2.39 on.
        question = build_question(environ, target, "limits")
        try:
            return self._get_limit(question, context)
        except _ServerFailed as failure:
            if _length_of(question) > _ORDINARY_BYTES:
                raise LookupFailed(str(failure)) from failure
            raise

    def _get_limit(self, question: WSGIEnvironment, context: RequestContext) -> int:
        try:
            response = webob.Request(question).get_response(self._app)
            body = response.body[: _MAX_RESPONSE_BYTES + 1]
        except Exception as error:
            LOG.exception("the question about a quota failed")
            raise _ServerFailed(f"the compute API failed: {type(error).__name__}") from error
        if response.status_int == 401 and not context.identity.authenticated:
            raise NotAuthenticated
        # A 401 about a caller who is vouched for: the access rules of an application credential have no GET of limits.
        if 300 <= response.status_int < 500:  # because of this request: nothing to remember about its project
            raise LookupFailed(f"the compute API responded {response.status_int}")
        if response.status_int != 200:
            raise _ServerFailed(f"the compute API responded {response.status_int}")
        return _limit_in(body)


class _ServerFailed(LookupFailed):
    """A failure that has nothing to do with the caller. It is remembered, so that a sick API is not asked more."""


def _length_of(question: WSGIEnvironment) -> int:
    """Return how long the client's part of a question is, in characters."""
    return sum(len(text) for key, text in question.items() if key.startswith(("HTTP_", "PATH_")))


def _limit_in(body: bytes) -> int:
    try:
        limit: Any = json.loads(body)["limits"]["absolute"]["maxImageMeta"]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise _ServerFailed("the compute API's response has no limits.absolute.maxImageMeta") from None
    if type(limit) is not int or limit < -1:
        raise _ServerFailed("the compute API's response has no number as maxImageMeta")
    return limit

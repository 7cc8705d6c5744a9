"""Questions to the compute API behind the filter, asked through the wrapped application itself.

So they work in Nova's pipeline and in the gateway alike, as the caller, and need no credentials and no client.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import webob

from imagefilter.lookup.question import build_question
from imagefilter.lookup.remembered import Remembered, ServerFailed
from imagefilter.policy.context import RequestContext
from imagefilter.rules.case import LookupFailed, NotAuthenticated

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

LOG = logging.getLogger(__name__)

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
        self._remembered: Remembered[int] = Remembered(ttl)

    def metadata_items(self, environ: WSGIEnvironment, context: RequestContext) -> int:
        """Return the project's own quota of metadata items; -1 is no limit.

        :raises LookupFailed: if it could not be looked up.
        :raises NotAuthenticated: if the compute API responds 401.
        """
        # For a caller nobody vouches for the project is the one in the URL: the compute API refuses others the answer.
        project_id = context.project_id
        if not project_id:
            return self._ask(environ, context)
        return self._remembered.get(project_id, lambda: self._ask_for_project(environ, context))

    def _ask_for_project(self, environ: WSGIEnvironment, context: RequestContext) -> int:
        try:
            return self._ask(environ, context)
        except ServerFailed as failure:
            # A stranger chooses his project, and what his question looks like: with a token that is too long for the
            # compute API he could make anybody's quota unknown.
            if context.identity.authenticated:
                raise
            raise LookupFailed(str(failure)) from failure

    def _ask(self, environ: WSGIEnvironment, context: RequestContext) -> int:
        target = context.action.target
        if target is None:
            raise LookupFailed("the path of the request does not say where the compute API is")
        # At the base microversion: maxImageMeta is gone from 2.39 on.
        question = build_question(environ, target, "limits")
        try:
            return self._get_limit(question, context)
        except ServerFailed as failure:
            if _length_of(question) > _ORDINARY_BYTES:
                raise LookupFailed(str(failure)) from failure
            raise

    def _get_limit(self, question: WSGIEnvironment, context: RequestContext) -> int:
        try:
            response = webob.Request(question).get_response(self._app)
            body = response.body[: _MAX_RESPONSE_BYTES + 1]
        except Exception as error:
            LOG.exception("the question about a quota failed")
            raise ServerFailed(f"the compute API failed: {type(error).__name__}") from error
        if response.status_int == 401 and not context.identity.authenticated:
            raise NotAuthenticated
        # A 401 about a caller who is vouched for: the access rules of an application credential have no GET of limits.
        if 300 <= response.status_int < 500:  # because of this request: nothing to remember about its project
            raise LookupFailed(f"the compute API responded {response.status_int}")
        if response.status_int != 200:
            raise ServerFailed(f"the compute API responded {response.status_int}")
        return _limit_in(body)


def _length_of(question: WSGIEnvironment) -> int:
    """Return how long the client's part of a question is, in characters."""
    return sum(len(text) for key, text in question.items() if key.startswith(("HTTP_", "PATH_")))


def _limit_in(body: bytes) -> int:
    try:
        limit: Any = json.loads(body)["limits"]["absolute"]["maxImageMeta"]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise ServerFailed("the compute API's response has no limits.absolute.maxImageMeta") from None
    if type(limit) is not int or limit < -1:
        raise ServerFailed("the compute API's response has no number as maxImageMeta")
    return limit

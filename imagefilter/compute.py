"""Questions to the compute API behind the filter, asked through the wrapped application itself.

So they work in Nova's pipeline and in the gateway alike, as the caller, and need no credentials and no client.
"""

from __future__ import annotations

import io
import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import webob
from cachetools import TTLCache

from imagefilter.action import ImageAction
from imagefilter.caller import Caller

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

LOG = logging.getLogger(__name__)

_PROJECTS = 10_000  # at most kept
_FAILURE_TTL = 1  # seconds
_STRIPES = 64
_ANSWER_BYTES = 65536

# Of the client's request only this goes into the question: what says who asks, of whom, and through which server.
_KEPT = (
    *("SCRIPT_NAME", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "REMOTE_ADDR", "HTTP_HOST", "HTTP_X_AUTH_TOKEN"),
    *("HTTP_X_STORAGE_TOKEN", "HTTP_X_SERVICE_TOKEN", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_FOR"),
    *(
        "HTTP_X_FORWARDED_HOST",
        "wsgi.version",
        "wsgi.url_scheme",
        "wsgi.errors",
        "wsgi.multithread",
        "wsgi.multiprocess",
        "wsgi.run_once",
    ),
    *("nova.context", "keystone.token_auth", "keystone.token_info", "openstack.request_id"),
    *("openstack.global_request_id", "nova.best_content_type"),
)


class FactUnknown(Exception):
    """The compute API did not answer the question."""


class NotAuthenticated(Exception):
    """The compute API does not know the caller's token: its answer to the question is its answer to the caller."""


class Compute:
    """What the compute API behind the filter knows, remembered for a while.

    :param ttl: seconds.
    """

    def __init__(self, app: WSGIApplication, ttl: int) -> None:
        self.ttl = ttl
        self._app = app
        self._limits: TTLCache[str, int] = TTLCache(_PROJECTS, ttl)
        self._failures: TTLCache[str, str] = TTLCache(_PROJECTS, _FAILURE_TTL)
        self._cache_lock = threading.Lock()
        # One asks for many of the same project, who wait for the answer. Stripes: a lock a project would grow for ever.
        self._asking = tuple(threading.Lock() for _ in range(_STRIPES))

    def metadata_items(self, environ: WSGIEnvironment, action: ImageAction, caller: Caller) -> int:
        """The project's own quota of metadata items; -1 is no limit.

        :raises FactUnknown: if it can't be had.
        :raises NotAuthenticated: if the compute API answers 401.
        """
        # Of an unvouched caller the project is the one in the URL, and the compute API refuses the question to others.
        project_id = caller.project_id if caller.vouched else action.target and action.target.project_id
        if not project_id:
            return self._ask(environ, action)
        with self._asking[hash(project_id) % _STRIPES]:
            known = self._remembered(project_id)
            if known is None:
                known = self._ask_and_remember(environ, action, project_id)
            return known

    def _remembered(self, project_id: str) -> int | None:
        with self._cache_lock:
            failure = self._failures.get(project_id)
            known: int | None = self._limits.get(project_id)
        if known is None and failure is not None:
            raise FactUnknown(failure)
        return known

    def _ask_and_remember(self, environ: WSGIEnvironment, action: ImageAction, project_id: str) -> int:
        try:
            limit = self._ask(environ, action)
        except _Failure as failure:
            with self._cache_lock:
                self._failures[project_id] = str(failure)
            raise
        with self._cache_lock:
            self._limits[project_id] = limit
        return limit

    def _ask(self, environ: WSGIEnvironment, action: ImageAction) -> int:
        try:
            response = webob.Request(_question(environ, action)).get_response(self._app)
            body = response.body[: _ANSWER_BYTES + 1]
        except FactUnknown:
            raise
        except Exception as error:
            LOG.exception("asking the compute API for a quota failed")
            raise _Failure(f"the compute API failed: {type(error).__name__}") from error
        if response.status_int == 401:
            raise NotAuthenticated
        if 300 <= response.status_int < 500:  # about this request, so nothing to remember against its project
            raise FactUnknown(f"the compute API answered {response.status_int}")
        if response.status_int != 200:
            raise _Failure(f"the compute API answered {response.status_int}")
        return _limit_in(body)


class _Failure(FactUnknown):
    """A failure that has nothing to do with the caller: worth remembering, so that a sick API is not asked more."""


def _question(environ: WSGIEnvironment, action: ImageAction) -> WSGIEnvironment:
    """``GET …/limits`` at the base microversion: ``maxImageMeta`` is gone from 2.39 on."""
    if action.target is None:
        raise FactUnknown("the path of the request does not say where the compute API is")
    path = environ.get("PATH_INFO", "").removesuffix("\n").rstrip("/")
    segments = [segment for segment in path.split("/") if segment]
    # Without a version in its path a request may have it in Accept; ours would be answered with a list of them (300).
    version = [] if action.target.versioned else ["v2.1"]
    question = {key: environ[key] for key in _KEPT if key in environ}
    question.update(
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/" + "/".join([*version, *segments[:-3], "limits"]),
            "QUERY_STRING": "",
            "CONTENT_LENGTH": "0",
            "HTTP_ACCEPT": "application/json",
            "wsgi.input": io.BytesIO(),
        }
    )
    return question


def _limit_in(body: bytes) -> int:
    try:
        limit: Any = json.loads(body)["limits"]["absolute"]["maxImageMeta"]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise _Failure("the compute API's answer holds no limits.absolute.maxImageMeta") from None
    if type(limit) is not int or limit < -1:
        raise _Failure("the compute API's answer holds no number as maxImageMeta")
    return limit

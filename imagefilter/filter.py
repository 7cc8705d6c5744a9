"""The filter: the life of a request, from the client to the compute API."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Callable

from imagefilter.action import UNREAD_METHODS, ImageAction, encode, read_body, recognise, replay
from imagefilter.caller import Caller, caller_of
from imagefilter.fault import Fault
from imagefilter.policy import Policy, load, paste_place
from imagefilter.rules import Verdict, judge

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOG = logging.getLogger(__name__)


class ImageFilter:
    """A WSGI application in front of another: :meth:`respond` is the callable."""

    __slots__ = ("_app", "_policy")

    def __init__(self, app: WSGIApplication, policy: Policy) -> None:
        self._app = app
        self._policy = policy

    def respond(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, or hand it on: untouched if it makes no image, else exactly as it was judged."""
        if environ["REQUEST_METHOD"] in UNREAD_METHODS:
            return self._app(environ, start_response)
        try:
            body = read_body(environ, self._policy.max_body_bytes)
            action = recognise(environ, body, self._policy.actions)
            if action is not None:
                self._admit(action, environ)
        except Fault as fault:
            return fault(environ, start_response)
        return self._app(environ, start_response)

    def _admit(self, action: ImageAction, environ: WSGIEnvironment) -> None:
        """Judge an image action and make its canonical body the request's, or raise a Fault."""
        caller = caller_of(environ)
        verdict = judge(action, caller, self._policy.settings)
        if not verdict.allowed:
            _log_refusal(action, caller, verdict)
            raise Fault(verdict.status, verdict.message, self._challenge(verdict))
        replay(environ, encode(action))
        environ["CONTENT_TYPE"] = "application/json"

    def _challenge(self, verdict: Verdict) -> str | None:
        """The ``WWW-Authenticate`` of a 401, as keystonemiddleware writes it."""
        uri = self._policy.www_authenticate_uri
        return None if verdict.status != 401 else f'Keystone uri="{uri}"' if uri else "Keystone"


def filter_factory(
    global_conf: Mapping[str, str] | None, **local_conf: str
) -> Callable[[WSGIApplication], WSGIApplication]:
    """The paste filter factory.

    :param global_conf: paste's global options; none of them is an option of ours.
    :param local_conf: the keys of the filter's section.
    :raises ConfigError: for unknown options and values that can't be used.
    """
    policy = load(local_conf, paste_place(global_conf or {}, local_conf))
    LOG.info("imagefilter judges %s by %s", ", ".join(policy.actions), policy.settings)
    # A bound method costs half of what an instance with __call__ does, and every request of the API pays it.
    return lambda app: ImageFilter(app, policy).respond


def _log_refusal(action: ImageAction, caller: Caller, verdict: Verdict) -> None:
    LOG.warning(
        "refused %s of server %a, user %s, project %s, from %a, request %s: %s: %a",
        action.kind or "an unreadable action",
        action.target.server_id if action.target else "?",
        caller.user_id,
        caller.project_id,
        caller.address,
        caller.request_id,
        verdict.rule,
        verdict.message,
    )

"""The filter: the life of a request, from the client to the compute API."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Callable

from imagefilter.action import (
    ACTION_NAMES,
    UNREAD_METHODS,
    ImageAction,
    encode,
    may_name,
    read_body,
    recognise,
    replay,
)
from imagefilter.answer import Answer
from imagefilter.audit import Audit
from imagefilter.caller import Caller, caller_of
from imagefilter.checks import project_of
from imagefilter.compute import Compute
from imagefilter.fault import Fault, warning
from imagefilter.policy import Policy
from imagefilter.reload import PolicySource, log_policy
from imagefilter.rules import Verdict, judge
from imagefilter.sources import paste_place

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOG = logging.getLogger(__name__)


class ImageFilter:
    """A WSGI application in front of another: :meth:`respond` is the callable."""

    __slots__ = ("_app", "_audit", "_compute", "_source")

    def __init__(self, app: WSGIApplication, source: PolicySource) -> None:
        self._app = app
        self._source = source
        self._compute = Compute(app, source.policy.facts_ttl)
        self._audit = Audit()

    def respond(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, or hand it on: untouched if it makes no image, else exactly as it was judged."""
        if environ["REQUEST_METHOD"] in UNREAD_METHODS:
            return self._app(environ, start_response)
        policy = self._source.policy
        try:
            body = read_body(environ, policy.max_body_bytes)
            if may_name(body, ACTION_NAMES):  # of any action: those that are judged may just have changed
                policy = self._current_policy()
            action = recognise(environ, body, policy.actions)
            answer = None if action is None else self._admit(action, policy, environ, start_response)
        except Fault as fault:
            return fault(environ, start_response)
        return self._app(environ, start_response) if answer is None else answer.of(self._app, environ)

    def _admit(
        self, action: ImageAction, policy: Policy, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Answer | None:
        """Judge an image action, record the verdict, and make its canonical body the request's; or raise a Fault.

        :returns: the answer to come; None if the action is not judged, so that the request goes on untouched.
        """
        if action.kind is not None and action.kind not in policy.actions:
            return None
        caller = caller_of(environ)
        verdict = judge(action, caller, policy, lambda: self._compute.metadata_items(environ, action, caller))
        if verdict.rule:
            _log(action, caller, verdict)
            start_response = _warning(start_response, verdict)
        body = _canonical_body(action, caller, verdict, policy)
        # On disk before anything happens: there is no image without a record.
        record = self._audit.verdict(environ, action, caller, verdict, policy)
        if verdict.outcome == "deny":
            raise Fault(verdict.status, verdict.message, _challenge(verdict, policy))
        if body is not None:
            replay(environ, body)
            environ["CONTENT_TYPE"] = "application/json"
        return Answer(start_response, lambda answer: self._audit.answer(record, answer, policy))

    def _current_policy(self) -> Policy:
        policy = self._source.current()
        if policy.facts_ttl != self._compute.ttl:
            self._compute = Compute(self._app, policy.facts_ttl)
        return policy


def filter_factory(
    global_conf: Mapping[str, str] | None, **local_conf: str
) -> Callable[[WSGIApplication], WSGIApplication]:
    """The paste filter factory.

    :param global_conf: paste's global options; none of them is an option of ours.
    :param local_conf: the keys of the filter's section.
    :raises ConfigError: for unknown options and values that can't be used.
    """
    source = PolicySource(local_conf, paste_place(global_conf or {}, local_conf))
    log_policy(source.policy)
    # A bound method costs half of what an instance with __call__ does, and every request of the API pays it.
    return lambda app: ImageFilter(app, source).respond


def _canonical_body(action: ImageAction, caller: Caller, verdict: Verdict, policy: Policy) -> bytes | None:
    """What the compute API is given to read; None if the request is refused, or where nothing is judged."""
    settings = policy.for_project(project_of(action, caller))
    if verdict.outcome == "deny" or not settings.judging:
        return None
    return encode(action, renamed=settings.mode == "enforce" and not verdict.rule)


def _challenge(verdict: Verdict, policy: Policy) -> str | None:
    """The ``WWW-Authenticate`` of a 401, as keystonemiddleware writes it."""
    uri = policy.www_authenticate_uri
    return None if verdict.status != 401 else f'Keystone uri="{uri}"' if uri else "Keystone"


def _warning(start_response: StartResponse, verdict: Verdict) -> StartResponse:
    """Tell the client of a request that is only warned about; nothing else of the answer changes."""
    header = ("Warning", warning(verdict.rule, verdict.message))

    def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
        return start_response(status, [*headers, header], *exc_info)

    return start


def _log(action: ImageAction, caller: Caller, verdict: Verdict) -> None:
    LOG.warning(
        "%s %s of server %a, user %s, project %s, from %a, request %s: %s: %a",
        "refused" if verdict.outcome == "deny" else "would deny",
        action.kind or "an unreadable action",
        action.target.server_id if action.target else "?",
        caller.user_id,
        caller.project_id,
        caller.address,
        caller.request_id,
        verdict.rule,
        verdict.message,
    )

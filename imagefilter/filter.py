"""The filter: the life of a request, from the client to the compute API."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Callable

from imagefilter.audit.recorder import Recorder
from imagefilter.fault import Fault, warning
from imagefilter.lookup.apis import APIs
from imagefilter.lookup.request import RequestLookups
from imagefilter.pipeline import describe_stranger, unwrap
from imagefilter.policy.config import paste_location
from imagefilter.policy.context import RequestContext, build_context, find_project
from imagefilter.policy.policy import Policy
from imagefilter.policy.stamps import stamp
from imagefilter.policy.store import PolicyStore
from imagefilter.request.action import (
    ACTION_NAMES,
    UNREAD_METHODS,
    ImageAction,
    encode,
    find_target,
    may_name,
    recognise,
)
from imagefilter.request.body import read_body, set_body
from imagefilter.request.identity import identify
from imagefilter.response import ObservedResponse
from imagefilter.rules.engine import Decision, Verdict, judge
from imagefilter.rules.limits import describe_usage
from imagefilter.rules.table import load_policy

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from pycadf.event import Event

LOG = logging.getLogger(__name__)

#: An app sets this key of the environ if its response does not tell whether the request has been carried out.
UNKNOWN_OUTCOME = "imagefilter.unknown_outcome"


class ImageFilter:
    """A WSGI application in front of another: :meth:`respond` is the callable."""

    __slots__ = ("_apis", "_app", "_recorder", "_store")

    def __init__(self, app: WSGIApplication, store: PolicyStore) -> None:
        self._app = app
        self._store = store
        self._apis = APIs(app, unwrap(app))
        self._recorder = Recorder()

    def respond(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Refuse a request, or forward it: untouched if it makes no image, otherwise exactly as it was judged."""
        if environ["REQUEST_METHOD"] in UNREAD_METHODS:
            return self._app(environ, start_response)
        try:
            responder = self._choose_responder(environ)
        except Fault as fault:
            responder = fault
        return responder(environ, start_response)

    def _choose_responder(self, environ: WSGIEnvironment) -> WSGIApplication:
        """Return the application that responds: the compute API, or a refusal.

        :raises Fault: if the request can't be read, encoded or recorded.
        """
        action, policy = self._recognise(environ)
        if action is None:
            return self._app
        context = build_context(action, identify(environ), policy)
        lookups = self._apis.build_lookups(environ, context)
        try:
            verdict = judge(context, lookups)
            _log(context, verdict)
            body = _canonical_body(context, verdict)
            # On disk before anything happens: there is no image without a record.
            record = self._recorder.record_verdict(environ, context, verdict, lookups.measured)
        except BaseException:
            lookups.locks.release()
            raise
        if verdict.decision is Decision.DENY:
            lookups.locks.release()
            return _refusal(context, verdict, lookups)
        if body is not None:
            set_body(environ, body)
            environ["CONTENT_TYPE"] = "application/json"
        # The locks are held until the response has begun: then its image is in Glance, for the next request to count.
        return self._forwarder(context, verdict, record, lookups)

    def _recognise(self, environ: WSGIEnvironment) -> tuple[ImageAction | None, Policy]:
        """Read the request; return the image action to judge, or None, and the policy to judge it by."""
        policy = self._store.policy
        try:
            body = read_body(environ, policy.max_body_bytes)
        except Fault:
            if self._is_off(environ):
                return None, policy  # unread, as if the filter were not there
            raise
        if may_name(body, ACTION_NAMES):  # of any action: the list of those that are judged may just have changed
            policy = self._store.current()
        action = recognise(environ, body, policy.actions)
        if action is not None and action.name is not None and action.name not in policy.actions:
            action = None
        return action, policy

    def _is_off(self, environ: WSGIEnvironment) -> bool:
        """Return whether nothing is judged of the request's project."""
        project_id = find_project(find_target(environ), identify(environ))
        return not self._store.current().for_project(project_id).judging

    def _forwarder(
        self, context: RequestContext, verdict: Verdict, record: Event | None, lookups: RequestLookups
    ) -> WSGIApplication:
        """Return the compute API as an application whose response is observed and recorded."""

        def forward(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            if verdict.decision is Decision.WOULD_DENY:
                start_response = _with_warning(start_response, verdict)

            def begin(response: ObservedResponse) -> list[tuple[str, str]]:
                lookups.locks.end(is_known=UNKNOWN_OUTCOME not in environ)
                return _usage_headers(context, lookups, response.status == 202)

            def end(response: ObservedResponse) -> None:
                lookups.locks.end(is_known=not response.error)
                self._recorder.record_outcome(record, response, context.policy, lookups.locks.is_lost)

            return ObservedResponse(start_response, begin, end).call(self._app, environ)

        return forward


def filter_factory(
    global_conf: Mapping[str, str] | None, **local_conf: str
) -> Callable[[WSGIApplication], WSGIApplication]:
    """Build the filter from a paste section.

    :param global_conf: paste's global options; none of them is an option of the filter.
    :param local_conf: the keys of the filter's section.
    :raises ConfigError: for unknown options and values that can't be used.
    """
    store = PolicyStore(local_conf, paste_location(global_conf or {}, local_conf), load_policy)
    store.log()

    def build(app: WSGIApplication) -> WSGIApplication:
        stranger = describe_stranger(app)
        if stranger:
            LOG.warning(
                "the filter is not directly before the compute API: behind it is %s. Requests that this makes by itself"
                " are neither judged nor recorded; `imagefilter check` shows the right place",
                stranger,
            )
        # A bound method costs half of what an instance with __call__ does, and every request of the API pays it.
        return ImageFilter(app, store).respond

    return build


def _canonical_body(context: RequestContext, verdict: Verdict) -> bytes | None:
    """Encode what the compute API reads; None if the request is refused, or where nothing is judged."""
    if verdict.decision is Decision.DENY or not context.settings.judging:
        return None
    renamed = context.settings.mode == "enforce" and not verdict.rule
    return encode(context.action, renamed, stamp(context))


def _usage_headers(context: RequestContext, lookups: RequestLookups, is_made: bool) -> list[tuple[str, str]]:
    """Tell a client how many images there are, with this one, beside the limits."""
    limits = lookups.measured.limits or context.settings.limits
    text = describe_usage(limits, lookups.measured.usage, int(is_made))
    if not text:
        return []
    return [("X-Snapshot-Usage", text)]


def _refusal(context: RequestContext, verdict: Verdict, lookups: RequestLookups) -> Fault:
    """Build the response to a refused request; a 401 has a ``WWW-Authenticate`` as keystonemiddleware writes it."""
    challenge = None
    if verdict.status == 401:
        challenge = "Keystone"
        if context.policy.www_authenticate_uri:
            challenge = f'Keystone uri="{context.policy.www_authenticate_uri}"'
    headers = _usage_headers(context, lookups, is_made=False)
    return Fault(verdict.status or 400, verdict.message, challenge, verdict.retry_after, headers)


def _with_warning(start_response: StartResponse, verdict: Verdict) -> StartResponse:
    """Add a ``Warning`` header for the client of a request that would be refused; the rest stays as it is."""
    header = ("Warning", warning(verdict.rule, verdict.message))

    def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
        return start_response(status, [*headers, header], *exc_info)

    return start


def _log(context: RequestContext, verdict: Verdict) -> None:
    """Log a broken rule."""
    if not verdict.rule:
        return
    decided = str(verdict.decision)
    if verdict.decision is Decision.DENY:
        decided = "refused"
    server_id = "?"
    if context.action.target:
        server_id = context.action.target.server_id
    if verdict.reason:
        LOG.warning("rule %s had no result, so it counts as broken: %s", verdict.rule, verdict.reason)
    LOG.warning(
        "%s %s of server %a, user %s, project %s, from %a, request %s: %s: %a",
        decided,
        context.action.name or "an unreadable action",
        server_id,
        context.identity.user_id,
        context.identity.project_id,
        context.identity.address,
        context.identity.request_id,
        verdict.rule,
        verdict.message,
    )

"""What one filter asks: the compute API behind it, the image API, and the back end of locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagefilter.coordination.coordinator import Coordinator
from imagefilter.coordination.url import load_backend
from imagefilter.lookup.compute import ComputeAPI
from imagefilter.lookup.request import RequestLookups, Services
from imagefilter.policy.context import RequestContext
from imagefilter.policy.policy import Policy

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

    from imagefilter.lookup.identity import IdentityAPI


class APIs:
    """The APIs around one filter; what is remembered of them lasts until a reload changes how they are asked."""

    def __init__(self, app: WSGIApplication, unwrapped: WSGIApplication) -> None:
        """Remember whom to ask.

        :param app: the compute API behind the filter.
        :param unwrapped: the same, where questions can name a microversion.
        """
        self._app = app
        self._unwrapped = unwrapped
        self._compute = ComputeAPI(app, 0)
        self._identity: IdentityAPI | None = None
        self._identified_by: tuple[object, ...] = ()
        self._coordinator: Coordinator | None = None
        self._coordinated_by: tuple[object, ...] = ()

    def build_lookups(self, environ: WSGIEnvironment, context: RequestContext) -> RequestLookups:
        """Return the lookups of one request."""
        policy = context.policy
        if policy.lookup_ttl != self._compute.ttl:
            self._compute = ComputeAPI(self._app, policy.lookup_ttl)
        identity = self._find_identity(context)
        services = Services(self._compute, self._unwrapped, identity, self._find_coordinator(policy))
        return RequestLookups(services, environ, context)

    def _find_identity(self, context: RequestContext) -> IdentityAPI | None:
        """Return the identity API if the limits of the request's project are there."""
        policy = context.policy
        if not context.settings.limits.from_keystone:
            return None
        wanted = (policy.image_api, policy.lookup_ttl)
        if wanted != self._identified_by:
            from imagefilter.lookup.identity import IdentityAPI  # noqa: PLC0415  # it loads an HTTP client

            self._identity = IdentityAPI(policy.image_api, policy.lookup_ttl)
            self._identified_by = wanted
        return self._identity

    def _find_coordinator(self, policy: Policy) -> Coordinator | None:
        wanted = (policy.coordination_url, policy.lock_lease, policy.image_api.timeout, policy.needs_locks)
        if wanted != self._coordinated_by:
            self._coordinator = _build_coordinator(policy)
            self._coordinated_by = wanted
        return self._coordinator


def _build_coordinator(policy: Policy) -> Coordinator | None:
    if not policy.needs_locks or policy.coordination_url is None:
        return None
    try:
        # Half the time for each of the two calls of a request: to get a lock, and to give it back.
        backend = load_backend(policy.coordination_url, policy.image_api.timeout / 2)
    except ValueError:  # only a trial was loaded in spite of it, and that takes no lock
        return None
    return Coordinator(backend, policy.lock_lease)

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
        self._services: Services | None = None

    def build_lookups(self, environ: WSGIEnvironment, context: RequestContext) -> RequestLookups:
        """Return the lookups of one request."""
        services = self._services
        if services is None or services.policy is not context.policy:
            services = self._services = self._build_services(context.policy, services)
        return RequestLookups(services, environ, context)

    def _build_services(self, policy: Policy, before: Services | None) -> Services:
        """Return what a policy asks.

        :param before: what was asked by the policy before; as much of it is kept as the new one asks in the same way.
        """
        compute = identity = coordinator = None
        if before:
            old = before.policy
            if policy.lookup_ttl == old.lookup_ttl:
                compute = before.compute
            if (policy.image_api, policy.lookup_ttl) == (old.image_api, old.lookup_ttl):
                identity = before.identity
            if _describe_coordinator(policy) == _describe_coordinator(old):
                coordinator = before.coordinator
        return Services(
            policy=policy,
            compute=compute or ComputeAPI(self._app, policy.lookup_ttl),
            app=self._unwrapped,
            identity=identity or _build_identity(policy),
            coordinator=coordinator or _build_coordinator(policy),
        )


def _build_identity(policy: Policy) -> IdentityAPI | None:
    if policy.image_api.identity_url is None:
        return None
    from imagefilter.lookup.identity import IdentityAPI  # noqa: PLC0415  # it loads an HTTP client

    return IdentityAPI(policy.image_api, policy.lookup_ttl)


def _describe_coordinator(policy: Policy) -> tuple[object, ...]:
    """Return all that a coordinator depends on."""
    return policy.coordination_url, policy.lock_lease, policy.image_api.timeout, policy.needs_locks


def _build_coordinator(policy: Policy) -> Coordinator | None:
    if not policy.needs_locks or policy.coordination_url is None:
        return None
    try:
        # Half the time for each of the two calls of a request: to get a lock, and to give it back.
        backend = load_backend(policy.coordination_url, policy.image_api.timeout / 2)
    except ValueError:  # only a trial was loaded in spite of it, and that takes no lock
        return None
    return Coordinator(backend, policy.lock_lease)

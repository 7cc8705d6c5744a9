"""The lookups of one request: what its rules may ask, each once."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from imagefilter.coordination.backend import BackendFailed
from imagefilter.coordination.coordinator import Coordinator
from imagefilter.lookup.compute import ComputeAPI
from imagefilter.lookup.locks import RequestLocks
from imagefilter.lookup.once import Once
from imagefilter.lookup.server import look_up_server
from imagefilter.policy.context import RequestContext
from imagefilter.policy.limits import Limits, apply_keystone
from imagefilter.policy.policy import Policy
from imagefilter.request.codec import read_rotation
from imagefilter.rules.case import LockState, LookupFailed, Quota, ServerFacts, Usage

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

    from imagefilter.lookup.identity import IdentityAPI
    from imagefilter.lookup.images import Image


class Measured(NamedTuple):
    """What was found out for a request, and how long that took, in seconds; None: nobody asked."""

    usage: Usage = Usage()
    limits: Limits | None = None  # that apply, where they are Keystone's
    image_quota: Mapping[str, Quota] | None = None
    lock_seconds: float | None = None
    lookup_seconds: float | None = None
    facts: ServerFacts | None = None
    server_seconds: float | None = None


class Services(NamedTuple):
    """What the requests of one policy ask.

    :ivar app: the compute API, where questions can name a microversion.
    :ivar identity: the identity API, if the policy names it.
    :ivar coordinator: of the locks, if there are any.
    """

    policy: Policy
    compute: ComputeAPI
    app: WSGIApplication
    identity: IdentityAPI | None
    coordinator: Coordinator | None


class RequestLookups:
    """Answers the questions of the rules about one request, each once."""

    def __init__(self, services: Services, environ: WSGIEnvironment, context: RequestContext) -> None:
        self.measured = Measured()
        self.locks = RequestLocks(services.coordinator, _find_patience(environ, context))
        self._services = services
        self._environ = environ
        self._context = context
        self._once = Once()

    def metadata_items(self) -> int:
        """See :meth:`imagefilter.lookup.compute.ComputeAPI.metadata_items`."""
        return self._services.compute.metadata_items(self._environ, self._context)

    def limits(self) -> Limits:
        """See :class:`imagefilter.rules.case.Lookups`."""
        return self._once.get(self._ask_for_limits)

    def lock(self) -> LockState:
        """See :class:`imagefilter.rules.case.Lookups`."""
        return self._once.get(self._acquire)

    def usage(self) -> Usage:
        """See :class:`imagefilter.rules.case.Lookups`."""
        images = self._once.get(self._ask_for_images)
        of_server = sum(image.server_id == self._context.server_id for image in images)
        usage = Usage(server=of_server)
        if self._counts_project():
            usage = Usage(of_server, len(images), sum(not image.is_finished for image in images))
        self.measured = self.measured._replace(usage=usage)
        return usage

    def server(self) -> ServerFacts:
        """See :class:`imagefilter.rules.case.Lookups`."""
        return self._once.get(self._ask_for_server)

    def now(self) -> datetime.datetime:
        """See :class:`imagefilter.rules.case.Lookups`."""
        return datetime.datetime.now(datetime.timezone.utc)

    def count_rotated_out(self) -> int | None:
        """See :class:`imagefilter.rules.case.Lookups`."""
        from imagefilter.lookup.images import count_rotated_out  # noqa: PLC0415

        entity = self._context.action.entity
        rotation, backup_type = read_rotation(entity.get("rotation")), entity.get("backup_type")
        if rotation is None or type(backup_type) is not str:
            return 0
        images = self._once.get(self._ask_for_images)
        return count_rotated_out(images, self._context.server_id, backup_type, rotation)

    def image_quota(self) -> Mapping[str, Quota]:
        """See :class:`imagefilter.rules.case.Lookups`."""
        return self._once.get(self._ask_for_image_quota)

    def _find_limits(self) -> Limits:
        """Return the limits that apply; Keystone is not asked for a caller who is bound by none."""
        limits = self._context.settings.limits
        if limits.from_keystone and not self._once.was_asked(self._ask_for_limits) and not self._context.is_limited:
            return limits
        if limits.from_keystone:
            return self.limits()
        return limits

    def _counts_project(self) -> bool:
        """Return whether all images of the project are counted; Keystone is not asked if they are anyway."""
        return self._context.settings.limits.count_project or self._find_limits().count_project

    def _acquire(self) -> LockState:
        limits = self._context.settings.limits
        with contextlib.suppress(LookupFailed):  # then the limits themselves report it, each by its own mode
            limits = self._find_limits()
        began = time.monotonic()
        try:
            return self.locks.acquire(self._context.find_locks(limits))
        except BackendFailed as error:
            raise LookupFailed(str(error)) from error
        finally:
            self.measured = self.measured._replace(lock_seconds=time.monotonic() - began)

    def _ask_for_limits(self) -> Limits:
        caller = self._find_caller()
        if self._services.identity is None:
            raise LookupFailed("identity_api_url is not set")
        with self._measuring():
            found = self._services.identity.limits(caller.token, caller.project_id, self._remaining_seconds())
        limits = apply_keystone(self._context.settings.limits, found)
        self.measured = self.measured._replace(limits=limits)
        return limits

    def _ask_for_images(self) -> list[Image]:
        from imagefilter.lookup import catalog, images  # noqa: PLC0415  # they load an HTTP client

        caller, options = self._find_caller(), self._context.policy.image_api
        server_id: str | None = self._context.server_id
        if self._counts_project():
            server_id = None
        url = catalog.find_image_api(self._environ, options)
        query = images.ImageQuery(caller.project_id, server_id)
        with self._measuring():
            return images.list_images(url, caller.token, query, options, self._remaining_seconds())

    def _ask_for_image_quota(self) -> dict[str, Quota]:
        from imagefilter.lookup import catalog, quota  # noqa: PLC0415  # as above

        caller, options = self._find_caller(), self._context.policy.image_api
        url = catalog.find_image_api(self._environ, options)
        with self._measuring():
            found = quota.ask_image_quota(url, caller.token, caller.project_id, options, self._remaining_seconds())
        self.measured = self.measured._replace(image_quota=found)
        return found

    def _ask_for_server(self) -> ServerFacts:
        began = time.monotonic()
        try:
            facts = look_up_server(self._services.app, self._environ, self._context)
        finally:
            self.measured = self.measured._replace(server_seconds=time.monotonic() - began)
        self.measured = self.measured._replace(facts=facts)
        return facts

    def _find_caller(self) -> _Caller:
        context = self._context
        token = self._environ.get("HTTP_X_AUTH_TOKEN") or self._environ.get("HTTP_X_STORAGE_TOKEN")
        if not context.identity.authenticated or not context.project_id or not token:
            raise LookupFailed("nobody vouches for the caller, or he has no token: no API can be asked as the caller")
        return _Caller(context.project_id, token)

    def _remaining_seconds(self) -> float:
        spent = (self.measured.lock_seconds or 0) + (self.measured.lookup_seconds or 0)
        return max(self._context.policy.image_api.timeout - spent, 0.1)

    @contextlib.contextmanager
    def _measuring(self) -> Iterator[None]:
        """Add the time that a question takes to that of the others."""
        began = time.monotonic()
        try:
            yield
        finally:
            seconds = (self.measured.lookup_seconds or 0) + time.monotonic() - began
            self.measured = self.measured._replace(lookup_seconds=seconds)


class _Caller(NamedTuple):
    """As whom an API is asked."""

    project_id: str
    token: str


def _find_patience(environ: WSGIEnvironment, context: RequestContext) -> float:
    """Return how long a request may wait for a lock, in seconds."""
    if environ.get("wsgi.multithread"):
        return context.policy.lock_wait
    return 0.0  # nobody else would be served meanwhile

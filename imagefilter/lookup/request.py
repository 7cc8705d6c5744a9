"""The lookups of one request: what its rules may ask, and the lock that it holds until its response has begun."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING, NamedTuple

from imagefilter.coordination.backend import BackendFailed
from imagefilter.coordination.coordinator import Coordinator, Held
from imagefilter.lookup.compute import ComputeAPI
from imagefilter.lookup.server import look_up_server
from imagefilter.policy.context import RequestContext
from imagefilter.policy.limits import LockKeys
from imagefilter.request.codec import read_rotation
from imagefilter.rules.case import LockState, LookupFailed, ServerFacts, ServerNotFound, Usage

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

    from imagefilter.lookup.images import Image


class Measured(NamedTuple):
    """What was counted for a request, and how long that took, in seconds; None: nobody asked."""

    usage: Usage = Usage()
    lock_seconds: float | None = None
    lookup_seconds: float | None = None
    facts: ServerFacts | None = None
    server_seconds: float | None = None


class RequestLookups:
    """Answers the questions of the rules about one request, each once."""

    def __init__(
        self,
        compute: ComputeAPI,
        app: WSGIApplication,
        coordinator: Coordinator | None,
        environ: WSGIEnvironment,
        context: RequestContext,
    ) -> None:
        self.measured = Measured()
        self.lost_lock = False  # while the request was forwarded: the limit may be exceeded
        self._compute = compute
        self._app = app
        self._coordinator = coordinator
        self._environ = environ
        self._context = context
        self._held: list[Held] = []
        self._state: LockState | LookupFailed | None = None
        self._images: list[Image] | LookupFailed | None = None
        self._server: ServerFacts | LookupFailed | ServerNotFound | None = None

    def metadata_items(self) -> int:
        """See :meth:`imagefilter.lookup.compute.ComputeAPI.metadata_items`."""
        return self._compute.metadata_items(self._environ, self._context)

    def lock(self) -> LockState:
        """See :class:`imagefilter.rules.case.Lookups`."""
        if self._state is None:
            began = time.monotonic()
            try:
                self._state = self._lock(self._context.find_locks())
            except BackendFailed as error:
                self._state = LookupFailed(str(error))
            self.measured = self.measured._replace(lock_seconds=time.monotonic() - began)
        if isinstance(self._state, LookupFailed):
            raise self._state
        return self._state

    def usage(self) -> Usage:
        """See :class:`imagefilter.rules.case.Lookups`."""
        images, limits = self._list_images(), self._context.settings.limits
        of_server = sum(image.server_id == self._context.server_id for image in images)
        usage = Usage(server=of_server)
        if limits.count_project:
            usage = Usage(of_server, len(images), sum(not image.is_finished for image in images))
        self.measured = self.measured._replace(usage=usage)
        return usage

    def server(self) -> ServerFacts:
        """See :class:`imagefilter.rules.case.Lookups`."""
        if self._server is None:
            began = time.monotonic()
            try:
                self._server = look_up_server(self._app, self._environ, self._context)
            except (LookupFailed, ServerNotFound) as error:
                self._server = error
            else:
                self.measured = self.measured._replace(facts=self._server)
            self.measured = self.measured._replace(server_seconds=time.monotonic() - began)
        if isinstance(self._server, Exception):
            raise self._server
        return self._server

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
        return count_rotated_out(self._list_images(), self._context.server_id, backup_type, rotation)

    def end(self, is_known: bool) -> None:
        """Give the locks back, once.

        :param is_known: False: nobody knows whether the request has an image to come, so the locks run out.
        """
        if is_known:
            self.release()
        held, self._held = self._held, []
        for lock in held:
            lock.abandon()

    def release(self) -> None:
        """Give the locks back."""
        held, self._held = self._held, []
        for lock in reversed(held):
            self.lost_lock |= not lock.release()

    def _lock(self, keys: LockKeys) -> LockState:
        wait = 0.0
        if self._environ.get("wsgi.multithread"):  # else nobody else would be served meanwhile
            wait = self._context.policy.lock_wait
        wait_for_server = wait
        if not keys.waits_for_server:
            wait_for_server = 0.0
        if not self._acquire(keys.server, wait_for_server):
            return LockState.SERVER_BUSY
        if not self._acquire(keys.project, wait):
            self.release()
            return LockState.PROJECT_BUSY
        return LockState.HELD

    def _acquire(self, key: str | None, wait: float) -> bool:
        if key is None:
            return True
        if self._coordinator is None:
            raise BackendFailed("there is no back end of locks")
        try:
            held = self._coordinator.acquire(key, wait)
        except BackendFailed:
            self.release()
            raise
        if held is None:
            return False
        self._held.append(held)
        return True

    def _list_images(self) -> list[Image]:
        if self._images is None:
            began = time.monotonic()
            try:
                self._images = self._ask_for_images()
            except LookupFailed as error:
                self._images = error
            self.measured = self.measured._replace(lookup_seconds=time.monotonic() - began)
        if isinstance(self._images, LookupFailed):
            raise self._images
        return self._images

    def _ask_for_images(self) -> list[Image]:
        from imagefilter.lookup import catalog, images  # noqa: PLC0415  # they load an HTTP client

        context, options = self._context, self._context.policy.image_api
        token = self._environ.get("HTTP_X_AUTH_TOKEN") or self._environ.get("HTTP_X_STORAGE_TOKEN")
        if not context.identity.authenticated or not context.project_id or not token:
            raise LookupFailed("nobody vouches for the caller, or he has no token: images can't be counted")
        server_id: str | None = self._context.server_id
        if context.settings.limits.count_project:
            server_id = None
        seconds = max(options.timeout - (self.measured.lock_seconds or 0), 0.1)
        query = images.ImageQuery(context.project_id, server_id)
        return images.list_images(catalog.find_image_api(self._environ, options), token, query, options, seconds)

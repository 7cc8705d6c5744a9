"""Look a server up: ask the compute API behind the filter, as the caller, for what own rules read of it.

Nothing of it is remembered beyond the request.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Protocol, TypeVar

import webob

from imagefilter.lookup.question import build_question
from imagefilter.lookup.server_facts import (
    EXTRA_SPECS,
    FLAVOR,
    IMAGE_NAME,
    PROPERTIES,
    VOLUME_BACKED,
    Answers,
    read_facts,
)
from imagefilter.policy.context import RequestContext
from imagefilter.rules.case import LookupFailed, NotAuthenticated, ServerFacts, ServerNotFound

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

Answer = TypeVar("Answer")

LOG = logging.getLogger(__name__)

# locked is in a server from 2.9 on, its tags from 2.26, its flavor from 2.47; at 2.69 and newer the compute API answers
# part of a server whose cell is down. All Novas that the filter supports have it.
_VERSION = "2.69"
_PROPERTIES_VERSION = "2.98"  # Nova 31

_MAX_BYTES = 1 << 20  # an administrator is shown 64 KiB of user data, and more


class Response(NamedTuple):
    """What the compute API responded to a GET."""

    status: int
    document: dict[str, Any]  # empty if the response has none


class Ask(Protocol):
    """Asks the compute API."""

    def __call__(self, *path: str, version: str | None = None) -> Response:
        """Return the response to a GET.

        :param path: below the version and the project.
        :param version: the microversion; None: the base one.
        :raises LookupFailed: if there is none.
        """


def look_up_server(app: WSGIApplication, environ: WSGIEnvironment, context: RequestContext) -> ServerFacts:
    """Return what the rules that apply to a request read of its server.

    :param app: the compute API.
    :raises LookupFailed: if it could not be looked up.
    :raises ServerNotFound: if there is no such server.
    :raises NotAuthenticated: if the compute API responds 401.
    """
    target = context.action.target
    if target is None:
        raise LookupFailed("the path of the request does not name a server")

    def ask(*path: str, version: str | None = None) -> Response:
        question = build_question(environ, target, *path, version=version)
        return _ask(app, question, context.identity.authenticated)

    return ServerLookup(ask, target.server_id, context.settings.server_fields).run()


class ServerLookup:
    """The questions about one server.

    :param fields: what is read of it.
    """

    def __init__(self, ask: Ask, server_id: str, fields: Collection[str]) -> None:
        self._ask = ask
        self._server_id = server_id
        self._fields = frozenset(fields)
        self._failed: dict[str, str] = {}

    def run(self) -> ServerFacts:
        """Return the facts. See :func:`look_up_server`."""
        server = self._get_server()
        answers = Answers(
            server=server,
            flavor=self._try(self._get_flavor, server, *FLAVOR),
            extra_specs=self._try(self._get_extra_specs, server, EXTRA_SPECS),
            image=self._try(self._get_image, server, IMAGE_NAME, PROPERTIES),
            attachments=self._try(self._get_attachments, server, VOLUME_BACKED),
        )
        facts = read_facts(answers, self._fields)
        failed = {field: why for field, why in self._failed.items() if field not in facts.values}
        return facts._replace(failed=failed)

    def _try(
        self, get: Callable[[dict[str, Any]], Answer | None], server: dict[str, Any], *fields: str
    ) -> Answer | None:
        """Return an answer beside the server itself. A rule that needs none of it is not to fail with it."""
        try:
            return get(server)
        except LookupFailed as error:
            self._failed.update(dict.fromkeys(fields, str(error)))
            return None

    def _get_server(self) -> dict[str, Any]:
        path = ("servers", self._server_id)
        response = None
        if PROPERTIES in self._fields and IMAGE_NAME not in self._fields:
            response = self._ask(*path, version=_PROPERTIES_VERSION)
        if response is None or response.status == 406:  # an older Nova
            response = self._ask(*path, version=_VERSION)
        if response.status == 404 and "itemNotFound" in response.document:
            raise ServerNotFound
        return _read(response, "server")

    def _get_flavor(self, server: dict[str, Any]) -> dict[str, Any] | None:
        """Return the flavor, where the server has only its id: on ``/v2``, which knows no microversions."""
        flavor_id = _flavor_id(server)
        if flavor_id is None or self._fields.isdisjoint(FLAVOR):
            return None
        response = self._ask("flavors", flavor_id)
        if response.status == 404:
            return {}
        return _read(response, "flavor")

    def _get_extra_specs(self, server: dict[str, Any]) -> dict[str, Any] | None:
        flavor_id = _flavor_id(server)
        if flavor_id is None or EXTRA_SPECS not in self._fields:
            return None
        response = self._ask("flavors", flavor_id, "os-extra_specs")
        if response.status in (403, 404):  # the policy hides them, or the flavor is gone
            return None
        return _read(response, "extra_specs")

    def _get_image(self, server: dict[str, Any]) -> dict[str, Any] | None:
        """Return the image that a server was booted from, if a rule reads what the server does not have of it."""
        image = server.get("image")
        if type(image) is not dict or type(image.get("id")) is not str:
            return None
        needs_properties = PROPERTIES in self._fields and "properties" not in image
        if not needs_properties and IMAGE_NAME not in self._fields:
            return None
        response = self._ask("images", image["id"])
        if response.status == 404:
            return {}
        return _read(response, "image")

    def _get_attachments(self, server: dict[str, Any]) -> list[Any] | None:
        """Return where volumes are attached, if only that tells whether one of them is the root device."""
        if VOLUME_BACKED not in self._fields or not server.get("os-extended-volumes:volumes_attached"):
            return None
        response = self._ask("servers", self._server_id, "os-volume_attachments")
        if response.status != 200 or type(response.document.get("volumeAttachments")) is not list:
            raise LookupFailed(f"the compute API responded {response.status} about the volumes of the server")
        attachments: list[Any] = response.document["volumeAttachments"]
        return attachments


def _ask(app: WSGIApplication, question: WSGIEnvironment, authenticated: bool) -> Response:
    try:
        response = webob.Request(question).get_response(app)
        body = response.body
    except Exception as error:
        LOG.exception("the question about a server failed")
        raise LookupFailed(f"the compute API failed: {type(error).__name__}") from error
    if response.status_int == 401 and not authenticated:
        raise NotAuthenticated
    if len(body) > _MAX_BYTES:
        raise LookupFailed(f"the compute API's response has more than {_MAX_BYTES} bytes")
    return Response(response.status_int, decode(body))


def _read(response: Response, key: str) -> dict[str, Any]:
    found = response.document.get(key)
    if response.status != 200:
        raise LookupFailed(f"the compute API responded {response.status} to the question about a {key}")
    if type(found) is not dict:
        raise LookupFailed(f"the compute API's response has no {key}")
    return found


def _flavor_id(server: dict[str, Any]) -> str | None:
    """Return the id of the flavor, if the server has nothing else of it."""
    flavor = server.get("flavor")
    if type(flavor) is not dict or "original_name" in flavor or type(flavor.get("id")) is not str:
        return None
    flavor_id: str = flavor["id"]
    return flavor_id


def decode(body: bytes) -> dict[str, Any]:
    """Return the object in a body; an empty one if there is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if type(document) is not dict:
        return {}
    return document

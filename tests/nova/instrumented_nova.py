"""Instrument a real Nova for thousands of requests: observe what it reads and makes, and what is recorded by then.

For speed, whatever lies *below* Nova's API is remembered after the first time: the rows of the one server and of the
quotas. The casts to the compute host are dropped, so that no snapshot is ever under way and nothing changes the server.
The validators of schemas and the rules of policies, which Nova builds again for each request, are remembered too.
Routing, serialization, schemas, policies, quotas, checks of state, and the calls to the image service are Nova's own.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple

from nova import objects
from nova.api.openstack import wsgi
from nova.api.openstack.compute.versionsV21 import VersionsController
from nova.api.validation import validators
from nova.compute import api, rpcapi
from nova.tests.fixtures import glance
from oslo_policy import policy as oslo_policy

from tests.nova.cloud import Cloud
from tests.nova.grammar import Request
from tests.nova.senders import Response, Send
from tests.waiting import holds_within

_CASTS = {"snapshot_instance": "createImage", "backup_instance": "createBackup", "shelve_instance": "shelve"}
# Of a server that boots from a volume no image is made to shelve it.
_CASTS["shelve_offload_instance"] = ""
_VERSION_CONTROLLERS = (VersionsController, type(None))
_QUOTA_METHODS = ("get_all_by_project", "get_all_by_project_and_user", "get_default_class", "get_all_class_by_name")
_JOURNAL_BYTES = 10_000_000


class MadeImage(NamedTuple):
    """An image that Nova asked the image service to make."""

    action: str  # the action's name; empty if Nova gave up on it
    id: str
    name: str
    properties: dict[str, Any]
    recorded: int  # number of records of the request that were on disk by then


class Observation(NamedTuple):
    """The response to a request, and what happened on Nova's side of the filter."""

    response: Response
    images: tuple[MadeImage, ...]
    reads: tuple[tuple[str, bytes], ...]  # media type and body, as Nova's controllers get them
    records: tuple[dict[str, Any], ...]


class InstrumentedNova:
    """A cloud under observation.

    :param quick: whether what lies below its API is remembered.
    """

    def __init__(self, cloud: Cloud, quick: bool) -> None:
        self.cloud = cloud
        self.quick = quick
        self._images: list[MadeImage] = []
        self._reads: list[tuple[str, bytes]] = []
        self._records: list[dict[str, Any]] = []

    def observe(self, send: Send, request: Request) -> Observation:
        """Send a request and observe what Nova does."""
        self._images, self._reads, self._records = [], [], []
        response = send(request)
        self._read_journal()
        holds_within(30, self._is_recorded, 0.001)  # over a socket a client may be faster than the journal
        self.cloud.images()  # forgets them
        if not self.quick:
            self.cloud.settle()
        return Observation(response, tuple(self._images), tuple(self._reads), tuple(self._records))

    def add_image(self, created: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Note an image that the image service was asked for.

        :param created: the image service's image.
        :param metadata: what Nova sent.
        """
        self._read_journal()
        properties = metadata["properties"]
        if isinstance(properties.get("block_device_mapping"), list):
            for mapping in properties["block_device_mapping"]:
                mapping["snapshot_id"] = "(new each time)"
        self._images.append(
            MadeImage(
                action="",
                id=created["id"],
                name=metadata["name"],
                properties=properties,
                recorded=len(self._records),
            )
        )

    def add_cast(self, action: str) -> None:
        """Note that the compute host is asked for the last image."""
        if action:
            self._images[-1] = self._images[-1]._replace(action=action)

    def add_read(self, media_type: str, body: bytes) -> None:
        """Note a body that a controller of Nova's reads."""
        self._reads.append((media_type, body))

    def _is_recorded(self) -> bool:
        """Return whether each admitted request has its outcome recorded."""
        admitted = outcomes = 0
        for record in self._records:
            admitted += record["action"] == "evaluate" and record["outcome"] == "success"
            outcomes += record["eventType"] == "activity"
        if admitted <= outcomes:
            return True
        self._read_journal()
        return False

    def _read_journal(self) -> None:
        self._records += self.cloud.records()
        self.cloud.shorten_journal(_JOURNAL_BYTES)


@contextlib.contextmanager
def instrument(cloud: Cloud, quick: bool = True) -> Iterator[InstrumentedNova]:
    """Instrument a cloud for a while.

    :param quick: whether to remember what lies below its API.
    """
    nova = InstrumentedNova(cloud, quick)
    with contextlib.ExitStack() as stack:
        _observe_nova(nova, stack)
        if quick:
            _remember(cloud.server, stack)
            logging.disable(logging.CRITICAL)
            stack.callback(logging.disable, logging.NOTSET)
        yield nova


def _replace(stack: contextlib.ExitStack, owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    """Replace an attribute by what ``wrap`` makes of it, until the stack is left."""
    original = owner.__dict__[name]
    stack.callback(setattr, owner, name, original)
    setattr(owner, name, wrap(original))


def _observe_nova(nova: InstrumentedNova, stack: contextlib.ExitStack) -> None:
    _replace(stack, glance.GlanceFixture, "create", lambda original: _observed_create(nova, original))
    _replace(stack, wsgi.Resource, "get_body", lambda original: _observed_get_body(nova, original))
    for name, action in _CASTS.items():
        _replace(stack, rpcapi.ComputeAPI, name, _cast_wrapper(nova, action))
    _replace(stack, api.API, "snapshot_volume_backed", lambda original: _observed_volume_snapshot(nova, original))


def _observed_create(nova: InstrumentedNova, original: Any) -> Any:
    def create(fixture: Any, context: Any, metadata: dict[str, Any], data: Any = None) -> Any:
        given = copy.deepcopy(metadata)
        created = original(fixture, context, metadata, data)
        nova.add_image(created, given)
        fixture.images.pop(created["id"])
        return created

    return create


def _observed_get_body(nova: InstrumentedNova, original: Any) -> Any:
    def get_body(resource: Any, request: Any) -> Any:
        media_type, body = original(resource, request)
        # The list of versions is a resource too, but ignores the body.
        if request.method in ("POST", "PUT") and not isinstance(resource.controller, _VERSION_CONTROLLERS):
            nova.add_read(media_type, body)
        return media_type, body

    return get_body


def _cast_wrapper(nova: InstrumentedNova, action: str) -> Callable[[Any], Any]:
    def wrap(original: Any) -> Any:
        def cast(self: Any, *args: Any, **kwargs: Any) -> Any:
            nova.add_cast(action)
            if nova.quick:
                return None
            return original(self, *args, **kwargs)

        return cast

    return wrap


def _observed_volume_snapshot(nova: InstrumentedNova, original: Any) -> Any:
    """No host is asked for the image of a server that boots from a volume: it has no content."""

    def snapshot(*args: Any, **kwargs: Any) -> Any:
        image = original(*args, **kwargs)
        nova.add_cast("createImage")
        return image

    return snapshot


def _remember(server: str, stack: contextlib.ExitStack) -> None:
    known: dict[Any, Any] = {}
    _replace(stack, api.API, "get", lambda original: _remembered_server(server, known, original))
    _replace(stack, api.API, "_record_action_start", lambda _: lambda *args, **kwargs: None)
    for name in ("event_start", "event_finish_with_failure"):  # of such an action
        _replace(stack, objects.InstanceActionEvent, name, lambda _: classmethod(lambda *args, **kwargs: None))
    _replace(stack, objects.Instance, "save", lambda _: lambda self, *args, **kwargs: self.obj_reset_changes())
    for name in _QUOTA_METHODS:
        _replace(stack, objects.Quotas, name, lambda original: _remembered_rows(known, original))
    mappings = objects.BlockDeviceMappingList
    _replace(stack, mappings, "get_by_instance_uuid", lambda original: _remembered_rows(known, original))
    _replace(stack, validators._SchemaValidator, "__init__", lambda original: _remembered_validator(known, original))
    _replace(stack, oslo_policy.Enforcer, "load_rules", lambda _: lambda self, force_reload=False: None)


def _remembered_server(server: str, known: dict[Any, Any], original: Any) -> Any:
    def get(self: Any, context: Any, instance_id: str, *args: Any, **kwargs: Any) -> Any:
        if instance_id != server:
            return original(self, context, instance_id, *args, **kwargs)
        # The database decides whether this caller may see the server; its decision is the same each time.
        key = (instance_id, context.project_id, context.is_admin, repr((args, kwargs)))
        if key not in known:
            known[key] = original(self, context, instance_id, *args, **kwargs)
            known[key].flavor  # noqa: B018  # loaded when first asked for
        instance = copy.deepcopy(known[key])
        instance._context = context
        return instance

    return get


def _remembered_rows(known: dict[Any, Any], original: Any) -> Any:
    function = original.__func__

    def read(cls: Any, context: Any, *args: Any, **kwargs: Any) -> Any:
        key = (function, repr((args, kwargs)))
        if key not in known:
            known[key] = function(cls, context, *args, **kwargs)
        return copy.deepcopy(known[key])

    return classmethod(read)


def _remembered_validator(known: dict[Any, Any], original: Any) -> Any:
    def init(self: Any, schema: Any, *args: Any, **kwargs: Any) -> None:
        key = (id(schema), repr((args, kwargs)))
        if key not in known:
            original(self, schema, *args, **kwargs)
            known[key] = (schema, vars(self).copy())
        vars(self).update(known[key][1])

    return init

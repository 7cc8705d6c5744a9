"""A real Nova that is watched, and asked thousands of times: what it read, what it made, and what was recorded by then.

For speed, what lies *below* Nova's API is asked once and remembered: the rows of the one server and of the quotas, and
the casts to the compute host go nowhere, so that no snapshot is ever under way and nothing changes the server. So are
the validators of schemas and the rules of policies, which Nova builds anew for each request. Routing, serialization,
schemas, policies, quotas, checks of state, and the calls to the image service are Nova's own.
"""

from __future__ import annotations

import contextlib
import copy
import http.client
import logging
import os
import time
from collections.abc import Iterable, Iterator
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

_CASTS = {"snapshot_instance": "createImage", "backup_instance": "createBackup", "shelve_instance": "shelve"}
_VERSIONS = (VersionsController, type(None))
_OF_THE_SERVER = ("server", "via", "connection", "keep-alive", "transfer-encoding")
_PATIENCE = 30.0  # seconds
_JOURNAL_BYTES = 10_000_000


class Answer(NamedTuple):
    status: int  # 0: the application raised
    headers: tuple[tuple[str, str], ...]
    body: bytes


Send = Callable[[Request], Answer]


class Made(NamedTuple):
    """An image that Nova had made."""

    kind: str  # of the action; empty if Nova gave up on it
    id: str
    name: str
    properties: dict[str, Any]
    recorded: int  # how many records of the request were on disk by then


class Seen(NamedTuple):
    """What became of a request: the answer, and what happened on Nova's side of the filter."""

    answer: Answer
    images: tuple[Made, ...]
    reads: tuple[tuple[str, bytes], ...]  # media type and body, as Nova's controllers are given them
    records: tuple[dict[str, Any], ...]


def sender(app: Any, server: str) -> Send:
    """Send requests to a WSGI application."""

    def send(request: Request) -> Answer:
        started: list[Any] = []
        environ = request.of(server)
        try:
            chunks: Iterable[bytes] = app(environ, lambda *args: started.append(args) or (lambda data: None))
            body = b"".join(chunks)
            getattr(chunks, "close", lambda: None)()
        except Exception as error:
            return Answer(0, (), f"{type(error).__name__}".encode())
        status, headers, *_ = started[-1]
        return Answer(int(status[:3]), tuple(headers), body)

    return send


def over_http(port: int, server: str) -> Send:
    """Send requests to a port of this host; those that fit HTTP (:attr:`Request.fits_http`)."""

    def send(request: Request) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.closing(connection):
            target = request.target.replace("{server}", server).replace("{SERVER}", server.upper())
            connection.putrequest(request.method, target, skip_host=True, skip_accept_encoding=True)
            length = {"Transfer-Encoding": "chunked"} if request.is_chunked else {"Content-Length": len(request.body)}
            own = {"Host": "localhost", "Content-Type": "application/json"}
            for name, value in {**own, **request.headers, **length}.items():
                connection.putheader(name, str(value))
            connection.endheaders(request.body, encode_chunked=request.is_chunked)
            response = connection.getresponse()
            kept = [(name, value) for name, value in response.getheaders() if name.lower() not in _OF_THE_SERVER]
            return Answer(response.status, tuple(kept), response.read())

    return send


class Watched:
    """A cloud under observation."""

    def __init__(self, cloud: Cloud, quick: bool) -> None:
        self.cloud = cloud
        self._quick = quick
        self.server = cloud.server
        self.own_properties = cloud._own_properties
        self._images: list[Made] = []
        self._reads: list[tuple[str, bytes]] = []
        self._records: list[dict[str, Any]] = []

    def see(self, send: Send, request: Request) -> Seen:
        """Send a request and tell what became of it."""
        self._images, self._reads, self._records = [], [], []
        answer = send(request)
        self._read_journal()
        deadline = time.monotonic() + _PATIENCE
        while self._is_open() and time.monotonic() < deadline:  # over a socket a client may be faster than the journal
            time.sleep(0.001)
            self._read_journal()
        self.cloud.images()  # forgets them
        if not self._quick:
            self.cloud.settle()
        return Seen(answer, tuple(self._images), tuple(self._reads), tuple(self._records))

    def _is_open(self) -> bool:
        """Whether a request was admitted whose answer is not recorded yet."""
        admitted = [each for each in self._records if each["eventType"] == "control" and each["outcome"] == "success"]
        return len(admitted) > len([each for each in self._records if each["eventType"] == "activity"])

    def _read_journal(self) -> None:
        self._records += self.cloud.records()
        if self.cloud._read > _JOURNAL_BYTES:
            os.truncate(self.cloud.journal, 0)
            self.cloud._read = 0

    def _image(self, fixture: Any, made: dict[str, Any], given: dict[str, Any]) -> None:
        self._read_journal()
        self._images.append(Made("", made["id"], given["name"], given["properties"], len(self._records)))
        fixture.images.pop(made["id"])

    def _cast(self, kind: str) -> None:
        self._images[-1] = self._images[-1]._replace(kind=kind)


@contextlib.contextmanager
def watched(cloud: Cloud, quick: bool = True) -> Iterator[Watched]:
    """Watch a cloud; ``quick``: remember what lies below its API."""
    watch = Watched(cloud, quick)
    with contextlib.ExitStack() as stack:
        _observe(watch, stack, quick)
        if quick:
            _remember(watch, stack)
            logging.disable(logging.CRITICAL)
            stack.callback(logging.disable, logging.NOTSET)
        yield watch


def _replace(stack: contextlib.ExitStack, owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    """Replace an attribute by what ``wrap`` makes of it, until the stack is left."""
    original = owner.__dict__[name]
    stack.callback(setattr, owner, name, original)
    setattr(owner, name, wrap(original))


def _observe(watch: Watched, stack: contextlib.ExitStack, quick: bool) -> None:
    def create(original: Any) -> Any:
        def creating(fixture: Any, context: Any, metadata: dict[str, Any], data: Any = None) -> Any:
            given = copy.deepcopy(metadata)
            made = original(fixture, context, metadata, data)
            watch._image(fixture, made, given)
            return made

        return creating

    def get_body(original: Any) -> Any:
        def getting(resource: Any, request: Any) -> Any:
            media_type, body = original(resource, request)
            # The list of versions is a resource too, and takes no notice of what it reads.
            if request.method in ("POST", "PUT") and not isinstance(resource.controller, _VERSIONS):
                watch._reads.append((media_type, body))
            return media_type, body

        return getting

    def cast(kind: str) -> Any:
        def casting(original: Any) -> Any:
            def called(self: Any, *args: Any, **kwargs: Any) -> Any:
                watch._cast(kind)
                return None if quick else original(self, *args, **kwargs)

            return called

        return casting

    _replace(stack, glance.GlanceFixture, "create", create)
    _replace(stack, wsgi.Resource, "get_body", get_body)
    for name, kind in _CASTS.items():
        _replace(stack, rpcapi.ComputeAPI, name, lambda original, kind=kind: cast(kind)(original))


def _remember(watch: Watched, stack: contextlib.ExitStack) -> None:
    known: dict[Any, Any] = {}
    _replace(stack, api.API, "get", lambda original: _server_remembered(watch.server, known, original))
    _replace(stack, api.API, "_record_action_start", lambda _: lambda *args, **kwargs: None)
    _replace(stack, objects.Instance, "save", lambda _: lambda self, *args, **kwargs: self.obj_reset_changes())
    for name in ("get_all_by_project", "get_all_by_project_and_user", "get_default_class", "get_all_class_by_name"):
        _replace(stack, objects.Quotas, name, lambda original: _rows_remembered(known, original))
    _replace(
        stack,
        objects.BlockDeviceMappingList,
        "get_by_instance_uuid",
        lambda original: _rows_remembered(known, original),
    )
    _replace(stack, validators._SchemaValidator, "__init__", lambda original: _validator_remembered(known, original))
    _replace(stack, oslo_policy.Enforcer, "load_rules", lambda _: lambda self, force_reload=False: None)


def _server_remembered(server: str, known: dict[Any, Any], original: Any) -> Any:
    def get(self: Any, context: Any, instance_id: str, *args: Any, **kwargs: Any) -> Any:
        if instance_id != server:
            return original(self, context, instance_id, *args, **kwargs)
        # Whether this caller may see the server is the database's to say; the answer is the same each time.
        key = (instance_id, context.project_id, context.is_admin, repr((args, kwargs)))
        if key not in known:
            known[key] = original(self, context, instance_id, *args, **kwargs)
            known[key].flavor  # noqa: B018  # loaded when first asked for
        instance = copy.deepcopy(known[key])
        instance._context = context
        return instance

    return get


def _rows_remembered(known: dict[Any, Any], original: Any) -> Any:
    function = original.__func__

    def read(cls: Any, context: Any, *args: Any, **kwargs: Any) -> Any:
        key = (function, repr((args, kwargs)))
        if key not in known:
            known[key] = function(cls, context, *args, **kwargs)
        return copy.deepcopy(known[key])

    return classmethod(read)


def _validator_remembered(known: dict[Any, Any], original: Any) -> Any:
    def init(self: Any, schema: Any, *args: Any, **kwargs: Any) -> None:
        key = (id(schema), repr((args, kwargs)))
        if key not in known:
            original(self, schema, *args, **kwargs)
            known[key] = (schema, vars(self).copy())
        vars(self).update(known[key][1])

    return init

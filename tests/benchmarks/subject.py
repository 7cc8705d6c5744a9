"""The subject of the benchmarks: requests, and the filters in front of the same bare app."""

from __future__ import annotations

import atexit
import io
import json
import logging
import os
import shutil
import tempfile
import types
from typing import Any, Callable

from imagefilter import filter_factory
from tests.cases import PROJECT, SERVER
from tests.wsgi import build_environ

CONTEXT = types.SimpleNamespace(user_id="alice", project_id=PROJECT, roles=["member"])
ACTION = f"/v2.1/servers/{SERVER}/action"
ENDPOINTS = [{"id": "1", "publicURL": "http://localhost/v2.1"}]
IDENTITY = {
    "HTTP_X_USER_ID": "alice",
    "HTTP_X_USER_NAME": "alice",
    "HTTP_X_PROJECT_ID": PROJECT,
    "HTTP_X_ROLES": "member",
    "HTTP_X_IDENTITY_STATUS": "Confirmed",
    "HTTP_X_AUTH_TOKEN": "token",
    "HTTP_X_SERVICE_CATALOG": json.dumps([{"type": "compute", "name": "nova", "id": "1", "endpoints": ENDPOINTS}]),
}

AUDIT_MAP = """
[custom_actions]
createImage = create/image
[path_keywords]
servers = server
[service_endpoints]
compute = service/compute
"""

SAP_AUDIT_MAP = """
service_type: compute
service_name: nova
prefix: '/v2.1'
resources:
  servers:
    custom_actions:
      createImage: create/image
"""

Request = tuple[str, str, bytes]


def image(items: int, size: int) -> bytes:
    """Return the body of a ``createImage``.

    :param items: number of metadata items.
    :param size: length of each value, in bytes.
    """
    metadata = {f"key{number}": "v" * size for number in range(items)}
    return json.dumps({"createImage": {"name": "nightly", "metadata": metadata}}).encode()


def create_image(items: int, size: int) -> Request:
    """Return a ``createImage`` as method, path and body."""
    return "POST", ACTION, image(items, size)


REQUESTS: dict[str, Request] = {
    "GET": ("GET", "/v2.1/servers/detail", b""),
    "POST reboot": ("POST", ACTION, b'{"reboot": {"type": "SOFT"}}'),
    "POST boot, 64 KB": ("POST", "/v2.1/servers", json.dumps({"server": {"user_data": "A" * 65536}}).encode()),
    "createImage, 3 items": create_image(3, 8),
    "createImage, 128 x 255": create_image(128, 255),
}


def bare(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Respond 202 to everything."""
    start_response("202 Accepted", [("Content-Length", "0")])
    return [b""]


def start_response(status: str, headers: list[Any], exc_info: Any = None) -> None:
    """Take the response's head, as a server does."""


def caller(app: Any, request: Request) -> Callable[[], None]:
    """Return a call of an app with a request, as a server makes it: the response is read and closed."""
    method, target, body = request
    template = build_environ(method, target, body, **IDENTITY, **{"nova.context": CONTEXT})

    def call() -> None:
        environ = template.copy()
        environ["wsgi.input"] = io.BytesIO(body)
        chunks = app(environ, start_response)
        for _ in chunks:
            pass
        close = getattr(chunks, "close", None)
        if close:
            close()

    return call


def filters() -> dict[str, Any]:
    """Return imagefilter and the filters that it is compared with, each as its own factory builds it."""
    from oslo_middleware import RequestBodySizeLimiter

    apps = {
        "imagefilter": filter_factory({})(bare),
        "imagefilter, recording": filter_factory({}, audit_journal=_in_memory("audit.jsonl"))(bare),
        "wsgify pass-through": wsgify(),
        "oslo sizelimit": RequestBodySizeLimiter.factory({})(bare),
        "keystonemiddleware audit, log": _keystonemiddleware_audit(),
    }
    apps.update(_sap_audit())
    return apps


def wsgify() -> Any:
    """Return the simplest filter made with webob: it changes nothing."""
    import webob.dec

    @webob.dec.wsgify.middleware
    def pass_through(request: Any, app: Any) -> Any:
        return app

    return pass_through(bare)


def _keystonemiddleware_audit() -> Any:
    from keystonemiddleware import audit

    # Otherwise its notifications go to oslo.messaging, which drops them.
    return audit.filter_factory({}, audit_map_file=_file(AUDIT_MAP), use_oslo_messaging="false")(bare)


def _sap_audit() -> dict[str, Any]:
    """Return SAP's audit-middleware, if it is installed; the import replaces pycadf's clock, which is undone."""
    import pycadf.timestamp
    from oslo_config import cfg

    clock = pycadf.timestamp.get_utc_now
    try:
        import auditmiddleware
    except ImportError:
        return {}
    finally:
        pycadf.timestamp.get_utc_now = clock
    # Its default is a queue and a thread in front of oslo.messaging. Its options are oslo.config's global ones.
    group = "audit_middleware_notifications"
    cfg.CONF.set_override("use_oslo_messaging", False, group)
    try:
        app = auditmiddleware.filter_factory({}, audit_map_file=_file(SAP_AUDIT_MAP))(bare)
    finally:
        cfg.CONF.clear_override("use_oslo_messaging", group)
    return {"SAP audit-middleware, log": app}


def _in_memory(name: str) -> str:
    """Return the path of a file in a folder of its own, where a sync costs nothing."""
    folder = tempfile.mkdtemp(dir="/dev/shm")
    atexit.register(shutil.rmtree, folder)
    return f"{folder}/{name}"


def _file(content: str) -> str:
    descriptor, name = tempfile.mkstemp(suffix=".conf")
    atexit.register(os.unlink, name)
    os.write(descriptor, content.encode())
    os.close(descriptor)
    return name


def nova_body_handling(body: bytes) -> Callable[[], None] | None:
    """Return what Nova itself does with the body of an action, before routing, policy and database.

    :returns: None if there is no Nova.
    """
    try:
        from nova.api.openstack import wsgi
        from nova.api.openstack.compute.schemas import servers
        from nova.api.validation import validators
        from oslo_utils import strutils
    except ImportError:
        return None
    schema = validators._SchemaValidator(servers.create_image)

    def handle() -> None:
        wsgi.action_peek(body)
        schema.validate(wsgi.JSONDeserializer().deserialize(body)["body"])
        strutils.mask_password(str(body))  # for its debug line, whether that is written or not

    return handle


def quiet() -> None:
    """Disable logging."""
    logging.disable(logging.CRITICAL)

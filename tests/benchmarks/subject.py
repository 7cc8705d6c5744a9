"""What is measured: requests, and the filters in front of the same bare app."""

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
from tests.requests import environ_of

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

Request = tuple[str, str, bytes]


def image(items: int, size: int) -> bytes:
    metadata = {f"key{number}": "v" * size for number in range(items)}
    return json.dumps({"createImage": {"name": "nightly", "metadata": metadata}}).encode()


def create_image(items: int, size: int) -> Request:
    return "POST", ACTION, image(items, size)


REQUESTS: dict[str, Request] = {
    "GET": ("GET", "/v2.1/servers/detail", b""),
    "POST reboot": ("POST", ACTION, b'{"reboot": {"type": "SOFT"}}'),
    "POST boot, 64 KB": ("POST", "/v2.1/servers", json.dumps({"server": {"user_data": "A" * 65536}}).encode()),
    "createImage, 3 items": create_image(3, 8),
    "createImage, 128 x 255": create_image(128, 255),
}


def bare(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("202 Accepted", [("Content-Length", "0")])
    return [b""]


def start_response(status: str, headers: list[Any], exc_info: Any = None) -> None:
    pass


def caller(app: Any, request: Request) -> Callable[[], None]:
    """A call of an app with a request, as a server makes it: the answer is read and closed."""
    method, target, body = request
    template = environ_of(method, target, body, **IDENTITY, **{"nova.context": CONTEXT})

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
    """Ours and the ones beside it; each is what its own factory makes."""
    import webob.dec
    from oslo_middleware import RequestBodySizeLimiter

    @webob.dec.wsgify.middleware
    def passing(request: Any, app: Any) -> Any:
        return app

    return {
        "imagefilter": filter_factory({})(bare),
        "imagefilter, recording": filter_factory({}, audit_journal=_in_memory("audit.jsonl"))(bare),
        "wsgify pass-through": passing(bare),
        "oslo sizelimit": RequestBodySizeLimiter.factory({})(bare),
        "keystonemiddleware audit, log": _ksm_audit(),
        **_sap_audit(),
    }


def _ksm_audit() -> Any:
    from keystonemiddleware import audit

    actions = "[custom_actions]\ncreateImage = create/image\n[path_keywords]\nservers = server\n"
    audit_map = _file(actions + "[service_endpoints]\ncompute = service/compute\n")
    # Without that, its notifications go to oslo.messaging, and from there nowhere.
    return audit.filter_factory({}, audit_map_file=audit_map, use_oslo_messaging="false")(bare)


def _sap_audit() -> dict[str, Any]:
    """SAP's audit-middleware, if it is there; importing it replaces pycadf's clock for everybody, which is undone."""
    import pycadf.timestamp
    from oslo_config import cfg

    clock = pycadf.timestamp.get_utc_now
    try:
        import auditmiddleware
    except ImportError:
        return {}
    finally:
        pycadf.timestamp.get_utc_now = clock
    sap_map = "service_type: compute\nservice_name: nova\nprefix: '/v2.1'\n"
    sap_map += "resources:\n  servers:\n    custom_actions:\n      createImage: create/image\n"
    # Its default is a queue and a thread in front of oslo.messaging. Its options are oslo.config's global ones.
    group = "audit_middleware_notifications"
    cfg.CONF.set_override("use_oslo_messaging", False, group)
    try:
        app = auditmiddleware.filter_factory({}, audit_map_file=_file(sap_map))(bare)
    finally:
        cfg.CONF.clear_override("use_oslo_messaging", group)
    return {"SAP audit-middleware, log": app}


def _in_memory(name: str) -> str:
    """A file in a folder of its own where a sync costs nothing."""
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
    """What Nova itself does with the body of an action, before routing, policy and database."""
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
        strutils.mask_password(str(body))  # its debug line, which is made whether it is written or not

    return handle


def quiet() -> None:
    logging.disable(logging.CRITICAL)

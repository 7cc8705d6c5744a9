"""What the filter costs a request, side by side with others, in one run: ``make bench``.

The machine's speed drifts, so all cases are interleaved, their order rotates, and what is compared are minima over many
rounds. A cost is the time over the bare app in the same run; ratios are the figures to quote.
"""

from __future__ import annotations

import atexit
import functools
import gc
import io
import itertools
import json
import logging
import os
import platform
import shutil
import tempfile
import time
import types
from collections.abc import Iterable
from typing import Any, Callable

from imagefilter import filter_factory
from imagefilter.action import recognise
from imagefilter.caller import caller_of
from imagefilter.event import Observer, encode
from imagefilter.journal import append
from imagefilter.policy import load
from imagefilter.rules import Verdict
from tests.cases import PROJECT, SERVER
from tests.requests import environ_of

CONTEXT = types.SimpleNamespace(user_id="alice", project_id=PROJECT, roles=["member"])
ACTION = f"/v2.1/servers/{SERVER}/action"
IDENTITY = {
    "HTTP_X_USER_ID": "alice",
    "HTTP_X_USER_NAME": "alice",
    "HTTP_X_PROJECT_ID": PROJECT,
    "HTTP_X_ROLES": "member",
    "HTTP_X_IDENTITY_STATUS": "Confirmed",
    "HTTP_X_AUTH_TOKEN": "token",
    "HTTP_X_SERVICE_CATALOG": json.dumps(
        [
            {
                "type": "compute",
                "name": "nova",
                "id": "1",
                "endpoints": [{"id": "1", "publicURL": "http://localhost/v2.1"}],
            }
        ]
    ),
}


def image(items: int, size: int) -> bytes:
    metadata = {f"key{number}": "v" * size for number in range(items)}
    return json.dumps({"createImage": {"name": "nightly", "metadata": metadata}}).encode()


REQUESTS = {
    "GET": ("GET", "/v2.1/servers/detail", b""),
    "POST reboot": ("POST", ACTION, b'{"reboot": {"type": "SOFT"}}'),
    "POST boot, 64 KB": ("POST", "/v2.1/servers", json.dumps({"server": {"user_data": "A" * 65536}}).encode()),
    "createImage, 3 items": ("POST", ACTION, image(3, 8)),
    "createImage, 128 x 255": ("POST", ACTION, image(128, 255)),
}

#: µs over the bare app, at most.
TARGETS = {"GET": 0.1, "POST reboot": 3.0, "createImage, 3 items": 25.0}


def bare(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("202 Accepted", [("Content-Length", "0")])
    return [b""]


def peers() -> dict[str, Any]:
    """The filters beside ours; each is what its own factory makes."""
    import webob.dec
    from keystonemiddleware import audit
    from oslo_middleware import RequestBodySizeLimiter

    @webob.dec.wsgify.middleware
    def passing(request: Any, app: Any) -> Any:
        return app

    audit_map = tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False)  # noqa: SIM115
    audit_map.write("[custom_actions]\ncreateImage = create/image\n[path_keywords]\nservers = server\n")
    audit_map.write("[service_endpoints]\ncompute = service/compute\n")
    audit_map.close()
    return {
        "imagefilter": filter_factory({})(bare),
        "wsgify pass-through": passing(bare),
        "oslo sizelimit": RequestBodySizeLimiter.factory({})(bare),
        "ksm audit, log": audit.filter_factory({}, audit_map_file=audit_map.name)(bare),
    }


def start_response(status: str, headers: list[Any], exc_info: Any = None) -> None:
    pass


def caller(app: Any, request: tuple[str, str, bytes]) -> Callable[[], None]:
    method, target, body = request
    template = environ_of(method, target, body, **IDENTITY, **{"nova.context": CONTEXT})

    def call() -> None:
        environ = template.copy()
        environ["wsgi.input"] = io.BytesIO(body)
        app(environ, start_response)

    return call


def measure(calls: dict[Any, Callable[[], None]], rounds: int, span: float) -> dict[Any, float]:
    """The least time of each call in seconds: interleaved, in an order that rotates."""
    repeats = {}
    for key, call in calls.items():
        begin = time.perf_counter()
        for _ in range(20):
            call()
        repeats[key] = max(3, int(span / max((time.perf_counter() - begin) / 20, 1e-9)))
    least = dict.fromkeys(calls, float("inf"))
    keys = list(calls)
    gc.disable()
    for turn in range(rounds):
        shift = turn * 7 % len(keys)
        for key in keys[shift:] + keys[:shift]:
            call, repeat = calls[key], repeats[key]
            begin = time.perf_counter()
            for _ in itertools.repeat(None, repeat):
                call()
            least[key] = min(least[key], (time.perf_counter() - begin) / repeat)
    gc.enable()
    return least


def nova_body_handling(body: bytes) -> Callable[[], None] | None:
    """What Nova itself does with the body of an action, before routing, policy and database."""
    try:
        from nova.api.openstack import wsgi
        from nova.api.openstack.compute.schemas import servers
        from nova.api.validation import validators
    except ImportError:
        return None
    schema = validators._SchemaValidator(servers.create_image)

    def handle() -> None:
        wsgi.action_peek(body)
        schema.validate(wsgi.JSONDeserializer().deserialize(body)["body"])

    return handle


def main(rounds: int = 41, span: float = 0.004) -> None:
    logging.disable(logging.CRITICAL)
    apps = {"bare": bare, **peers()}
    calls: dict[Any, Callable[[], None]] = {
        (name, what): caller(app, request) for name, app in apps.items() for what, request in REQUESTS.items()
    }
    for what, (_, _, body) in REQUESTS.items():
        if body:
            calls["json.loads alone", what] = functools.partial(json.loads, body.decode())
        nova = nova_body_handling(body) if "createImage" in what else None
        if nova:
            calls["Nova's own body handling", what] = nova
    report(measure(calls, rounds, span), apps)
    report_records(measure(record_calls(), rounds, span))
    logging.disable(logging.NOTSET)


def record_calls() -> dict[Any, Callable[[], None]]:
    """An accepted image action with a journal, where a sync is free and on the disk; and the parts of its records."""
    memory, disk = (tempfile.mkdtemp(dir=folder) for folder in ("/dev/shm", None))
    for folder in (memory, disk):
        atexit.register(shutil.rmtree, folder)
    what = REQUESTS["createImage, 3 items"]
    environ = environ_of(*what, **IDENTITY, **{"nova.context": CONTEXT})
    policy = load({"audit_journal": f"{memory}/audit.jsonl"})
    action = recognise(environ, what[2], policy.actions)
    assert action
    caller_, verdict, observer = caller_of(environ), Verdict("allow"), Observer()
    record = observer.verdict(environ, action, caller_, verdict, policy)
    line = encode(record)
    target = open(f"{disk}/sync", "ab", buffering=0)  # noqa: SIM115

    def sync() -> None:
        target.write(line)
        os.fdatasync(target.fileno())

    return {
        "request, no record": caller(filter_factory({})(bare), what),
        "request, journal in memory": answered(filter_factory({}, audit_journal=f"{memory}/audit.jsonl")(bare), what),
        "request, journal on disk": answered(filter_factory({}, audit_journal=f"{disk}/audit.jsonl")(bare), what),
        "event of the verdict": lambda: observer.verdict(environ, action, caller_, verdict, policy) and None,
        "event of the answer": lambda: observer.answer(record, 202, None, 0.1, "") and None,
        "encode": lambda: encode(record) and None,
        "open, lock, write, close": functools.partial(append, f"{memory}/parts.jsonl", line),
        "write and sync on disk": sync,
    }


def answered(app: Any, request: tuple[str, str, bytes]) -> Callable[[], None]:
    method, target, body = request
    template = environ_of(method, target, body, **IDENTITY, **{"nova.context": CONTEXT})

    def call() -> None:
        chunks = app({**template, "wsgi.input": io.BytesIO(body)}, start_response)
        list(chunks)
        chunks.close()

    return call


def report_records(least: dict[Any, float]) -> None:
    print("\nAn accepted image action and its two records, µs\n")
    for what, time_ in least.items():
        print(f"{what:28} {time_ * 1e6:10.1f}")
    own = (least["request, journal in memory"] - least["request, no record"]) * 1e6
    print(f"\nthe two records, beside their syncs: {own:.0f} µs, at most 400: {'yes' if own <= 400 else 'NO'}")


def report(least: dict[Any, float], apps: Iterable[str]) -> None:
    """Print each cost over the bare app in µs, and its ratio to ours."""
    ours = {what: least["imagefilter", what] - least["bare", what] for what in REQUESTS}
    costs = {key: time - (least["bare", key[1]] if key[0] in apps else 0) for key, time in least.items()}
    print(f"Python {platform.python_version()} on {platform.machine()}: µs over the bare app (ratio to imagefilter)\n")
    print(f"{'':26}" + "".join(f"{what:>26}" for what in REQUESTS))
    for name in dict.fromkeys(name for name, _ in least if name != "bare"):
        cells = (
            f"{costs[name, what] * 1e6:.3f} ({costs[name, what] / ours[what]:.1f} x)" if (name, what) in costs else "-"
            for what in REQUESTS
        )
        print(f"{name:26}" + "".join(f"{cell:>26}" for cell in cells))
    print()
    for what, limit in TARGETS.items():
        verdict = "yes" if ours[what] * 1e6 <= limit else "NO"
        print(f"{what:26} {ours[what] * 1e6:8.3f} µs over the bare app, at most {limit}: {verdict}")
    what = "createImage, 128 x 255"
    ratio = ours[what] / least["json.loads alone", what]
    print(f"{what:26} {ratio:8.2f} x json.loads alone, at most 4.5: {'yes' if ratio <= 4.5 else 'NO'}")


if __name__ == "__main__":
    main()

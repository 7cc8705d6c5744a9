"""A small compute API behind the filter: it says 202 and keeps what it was asked."""

from __future__ import annotations

import types
from typing import Any

from imagefilter import filter_factory
from tests.cases import PROJECT, SERVER
from tests.requests import send

PATH = f"/v2.1/servers/{SERVER}/action"
CONTEXT = types.SimpleNamespace(user_id="alice", project_id=PROJECT, roles=["member"])
VOUCHED = {"nova.context": CONTEXT}


class Compute:
    """``seen`` holds the environ of every request, with the whole body under ``body``."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.seen.append({**environ, "body": environ["wsgi.input"].read()})
        start_response("202 Accepted", [("Content-Length", "0")])
        return [b""]


class Guarded:
    """The filter in front of a small compute API."""

    def __init__(self, **options: str) -> None:
        self.compute = Compute()
        self.app = filter_factory({}, **options)(self.compute)

    def post(self, document: Any, target: str = PATH, **environ: Any) -> Any:
        return self.send("POST", target, document, **environ)

    def send(self, method: str, target: str, document: Any, **environ: Any) -> Any:
        return send(self.app, method, target, document, None, **{**VOUCHED, **environ})

    @property
    def bodies(self) -> list[bytes]:
        return [each["body"] for each in self.compute.seen]

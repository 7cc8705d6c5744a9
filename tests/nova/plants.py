"""Mistakes planted in the filter, each a way round that somebody once left open: the search must find them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest.mock import patch

from imagefilter import action
from imagefilter import filter as pipeline


@contextlib.contextmanager
def _servers_only() -> Iterator[None]:
    """os-volumes_boot and versions in headers are forgotten: only what goes to ``servers`` is looked at."""

    def recognise(environ: dict[str, Any], body: bytes, actions: Mapping[str, bytes]) -> Any:
        return action.recognise(environ, body, actions) if "servers" in action._segments(environ) else None

    with patch.object(pipeline, "recognise", recognise):
        yield


@contextlib.contextmanager
def _path_only() -> Iterator[None]:
    """What is not POST …/servers/{id}/action is none of ours."""

    def recognise(environ: dict[str, Any], body: bytes, actions: Mapping[str, bytes]) -> Any:
        ours = environ["REQUEST_METHOD"] == "POST" and action._is_action_path(action._segments(environ))
        return action.recognise(environ, body, actions) if ours else None

    with patch.object(pipeline, "recognise", recognise):
        yield


@contextlib.contextmanager
def _clients_bytes() -> Iterator[None]:
    """What was judged is forwarded as the client wrote it."""

    def recognise(environ: dict[str, Any], body: bytes, actions: Mapping[str, bytes]) -> Any:
        environ["client's bytes"] = body
        return action.recognise(environ, body, actions)

    def replay(environ: dict[str, Any], body: bytes) -> None:
        action.replay(environ, environ["client's bytes"])

    with patch.object(pipeline, "recognise", recognise), patch.object(pipeline, "replay", replay):
        yield


def _loads_bytes() -> Any:
    """``json.loads`` of bytes: it takes UTF-16, UTF-32 and a byte order mark, which Nova does not."""
    return patch.object(action, "decode", json.loads)


def _skip_put() -> Any:
    """PUT is taken for a method that runs no action."""
    return patch.object(pipeline, "UNREAD_METHODS", pipeline.UNREAD_METHODS | {"PUT"})


Plant = Callable[[], contextlib.AbstractContextManager[Any]]

PLANTS: dict[str, Plant] = {
    "recognise on `servers` paths alone": _servers_only,
    "recognise on action paths alone": _path_only,
    "forward the client's bytes": _clients_bytes,
    "`json.loads` of bytes": _loads_bytes,
    "skip PUT": _skip_put,
}

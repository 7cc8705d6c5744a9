"""Bugs seeded in the filter, each of which once let requests bypass a filter: the search must find them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest.mock import patch

from imagefilter import filter as filter_module
from imagefilter.request import action
from imagefilter.request.body import set_body

SeededBug = Callable[[], contextlib.AbstractContextManager[Any]]


@contextlib.contextmanager
def _servers_only() -> Iterator[None]:
    """Recognise actions on ``servers`` paths alone: os-volumes_boot and versions in headers are forgotten."""

    def recognise(environ: dict[str, Any], body: bytes, actions: Mapping[str, bytes]) -> Any:
        if "servers" not in action._segments(environ):
            return None
        return action.recognise(environ, body, actions)

    with patch.object(filter_module, "recognise", recognise):
        yield


@contextlib.contextmanager
def _action_paths_only() -> Iterator[None]:
    """Recognise actions in ``POST …/servers/{id}/action`` alone."""

    def recognise(environ: dict[str, Any], body: bytes, actions: Mapping[str, bytes]) -> Any:
        if environ["REQUEST_METHOD"] != "POST" or not action._is_action_path(action._segments(environ)):
            return None
        return action.recognise(environ, body, actions)

    with patch.object(filter_module, "recognise", recognise):
        yield


@contextlib.contextmanager
def _clients_bytes() -> Iterator[None]:
    """Forward a judged request as the client wrote it."""

    def recognise(environ: dict[str, Any], body: bytes, actions: Mapping[str, bytes]) -> Any:
        environ["client's bytes"] = body
        return action.recognise(environ, body, actions)

    def restore(environ: dict[str, Any], body: bytes) -> None:
        set_body(environ, environ["client's bytes"])

    with patch.object(filter_module, "recognise", recognise), patch.object(filter_module, "set_body", restore):
        yield


def _loads_bytes() -> Any:
    """Decode with ``json.loads`` of bytes: it accepts UTF-16, UTF-32 and a byte order mark, which Nova does not."""
    return patch.object(action, "decode", json.loads)


def _skip_put() -> Any:
    """Take PUT for a method that runs no action."""
    return patch.object(filter_module, "UNREAD_METHODS", filter_module.UNREAD_METHODS | {"PUT"})


SEEDED_BUGS: dict[str, SeededBug] = {
    "recognise on `servers` paths alone": _servers_only,
    "recognise on action paths alone": _action_paths_only,
    "forward the client's bytes": _clients_bytes,
    "`json.loads` of bytes": _loads_bytes,
    "skip PUT": _skip_put,
}

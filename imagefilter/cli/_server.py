"""Options that say what the server of a request is, for the operator's own rules."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from imagefilter.cli._clouds import Login, add_cloud, log_in
from imagefilter.cli._output import fail
from imagefilter.lookup.server import Response, ServerLookup, decode
from imagefilter.lookup.server_facts import Answers, read_facts
from imagefilter.rules.case import LookupFailed, ServerFacts, ServerNotFound


def add_server(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what the server is."""
    sources = parser.add_mutually_exclusive_group()
    sources.add_argument(
        "--server",
        metavar="SERVER.json",
        help="a file with the server, as in the response to GET /servers/ID at microversion 2.69 or newer, for rules of"
        " your own",
    )
    sources.add_argument(
        "--server-id", metavar="ID", help="look up this server in the cloud of --os-cloud, for rules of your own"
    )
    add_cloud(parser, service="compute")


def find_facts(args: argparse.Namespace, fields: Collection[str]) -> ServerFacts | None:
    """Return what rules read of the server; None if nothing says what it is."""
    if args.server is not None:
        return read_facts(Answers(server=_read_server(args.server)), fields)
    if args.server_id is None or not fields:
        return None
    try:
        return ServerLookup(_CloudAsk(log_in(args)), args.server_id, fields).run()
    except ServerNotFound:
        fail(f"the cloud has no server {args.server_id}, or does not show it")
    except LookupFailed as error:
        fail(f"the server {args.server_id} can't be looked up: {error}")


class _CloudAsk:
    """Asks a cloud's compute API."""

    def __init__(self, login: Login) -> None:
        self._compute = login.connection.compute

    def __call__(self, *path: str, version: str | None = None) -> Response:
        """See :class:`imagefilter.lookup.server.Ask`."""
        try:
            response = self._compute.get("/" + "/".join(path), microversion=version, raise_exc=False)
        except Exception as error:  # of keystoneauth1 and requests, which only this needs
            raise LookupFailed(f"{type(error).__name__}: {error}") from error
        return Response(response.status_code, decode(response.content))


def _read_server(path: str) -> dict[str, Any]:
    try:
        document = json.loads(Path(path).read_bytes())
    except OSError as error:
        fail(f"the server {path} can't be read: {error.strerror}")
    except (ValueError, RecursionError) as error:
        fail(f"the server {path} is not JSON: {error}")
    if isinstance(document, dict) and isinstance(document.get("server"), dict):
        document = document["server"]
    if not isinstance(document, dict):
        fail(f"the server {path} is no object")
    return document

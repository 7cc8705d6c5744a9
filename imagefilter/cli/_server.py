"""Options that say what the server of a request is, for the operator's own rules."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from imagefilter.cli._output import fail
from imagefilter.lookup.server_facts import Answers, read_facts
from imagefilter.rules.case import ServerFacts


def add_server(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what the server is."""
    parser.add_argument(
        "--server",
        metavar="SERVER.json",
        help="the server, as GET /servers/ID answers at microversion 2.69 or newer, for rules of your own",
    )


def find_facts(args: argparse.Namespace, fields: Collection[str]) -> ServerFacts | None:
    """Return what rules read of the server; None if nothing says what it is."""
    if args.server is None:
        return None
    return read_facts(Answers(server=_read_server(args.server)), fields)


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

"""The application of a gunicorn that serves a real Nova, for the gateway's benchmark."""

from __future__ import annotations

from typing import Any


def application() -> Any:
    """Start a real Nova, with one server, in this process; return its API."""
    from tests.nova.cloud import Cloud  # starts threads, which must be the worker's own

    cloud = Cloud()
    cloud.setUp()
    return cloud.bare

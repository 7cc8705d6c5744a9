"""The application of a gunicorn that serves a real Nova, for the gateway's benchmark."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

SERVER_FILE = "BENCHMARK_SERVER_FILE"


def application() -> Any:
    """Start a real Nova in this process, write the id of its server to a file, and return its API."""
    from tests.nova.cloud import Cloud  # starts threads, which must be the worker's own

    cloud = Cloud()
    cloud.setUp()
    Path(os.environ[SERVER_FILE]).write_text(cloud.server)
    return cloud.bare

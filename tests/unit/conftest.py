"""Fixtures of several packages' unit tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _keep_log_handlers() -> Iterator[None]:
    """Cliff adds a handler to the root logger that writes to the stderr of the moment."""
    before = list(logging.root.handlers)
    yield
    logging.root.handlers[:] = before

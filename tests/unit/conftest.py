"""Fixtures of several packages' unit tests."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _keep_log_handlers() -> Iterator[None]:
    """Cliff adds a handler to the root logger that writes to the stderr of the moment."""
    before = list(logging.root.handlers)
    yield
    logging.root.handlers[:] = before


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can reach: pytest's own are for its user alone."""
    folder = Path(os.path.realpath("/var/tmp"), f"imagefilter-test-{os.getpid()}")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)

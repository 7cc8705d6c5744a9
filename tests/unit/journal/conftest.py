from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Path]:
    """A folder where a sync costs nothing: tests of interleaving need no disk."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    folder = Path("/dev/shm", f"imagefilter-{os.getpid()}")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)

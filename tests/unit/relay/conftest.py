from __future__ import annotations

from pathlib import Path

import pytest

from tests.relay.fakes import NO_BUS, Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """The files of a host whose bus can't be reached."""
    return Folder(tmp_path, NO_BUS)

"""Fixtures of the audit's unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.fakes import Journalled


@pytest.fixture
def guarded(tmp_path: Path) -> Journalled:
    """The filter with a journal and no other option."""
    return Journalled(tmp_path)

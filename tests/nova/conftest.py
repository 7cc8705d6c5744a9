from __future__ import annotations

import pytest

pytest.importorskip("tests.nova.cloud", reason="no Nova in this virtualenv")

"""Where the parts of the repository are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
ETC = ROOT / "etc" / "imagefilter"
DOCS = ROOT / "docs"

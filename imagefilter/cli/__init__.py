"""The operator's commands. Cliff is needed for them alone: the filter itself never imports it."""

from __future__ import annotations

import sys


def main() -> int:
    """The program ``imagefilter``."""
    try:
        from imagefilter.cli import app  # noqa: PLC0415

        return app.main()
    except ImportError as error:
        sys.stderr.write(f"imagefilter: a library is missing: {error}. In a clone of it: pip install '.[tools]'\n")
        return 2

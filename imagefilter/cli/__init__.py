"""The operator's commands, one module each.

To add one: a module here with cliff's ``Command``, and its entry point in the group ``imagefilter.cli`` of
``setup.cfg``. Only the commands need cliff: the filter never imports this package.
"""

from __future__ import annotations

import sys

from imagefilter.cli._output import describe_missing


def main() -> int:
    """Run the program ``imagefilter``."""
    try:
        from imagefilter.cli import app  # noqa: PLC0415

        return app.main()
    except ImportError as error:
        sys.stderr.write(f"error: {describe_missing(error, 'tools')}\n")
        return 2

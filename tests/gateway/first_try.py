"""A gateway for a first try, in front of a compute API: ``make gateway COMPUTE_URL=...``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from imagefilter.policy import ConfigError
from imagefilter.upstream import connector
from tests.gateway.servers import COMMANDS, paste_text


def main() -> int:
    options = argparse.ArgumentParser(prog="make gateway", description=__doc__)
    options.add_argument("--compute-url", default="", help="the compute API: make gateway COMPUTE_URL=http://...")
    options.add_argument("--port", type=int, default=8775, help="where to serve on 127.0.0.1 (make gateway PORT=...)")
    given = options.parse_args()
    try:
        connector({"compute_url": given.compute_url}, "the command line")
    except ConfigError as error:
        sys.stderr.write(f"gateway: {error}\nTry make gateway COMPUTE_URL=http://127.0.0.1:8774\n")
        return 2
    folder = Path(tempfile.mkdtemp(prefix="imagefilter-gateway-"))
    paste, journal = folder / "gateway.ini", folder / "audit.jsonl"
    settings = {"filter:imagefilter": {"audit_journal": str(journal)}}
    paste.write_text(paste_text(given.compute_url, settings, "gateway-without-authtoken"))
    sys.stdout.write(
        f"The gateway, without auth_token, in front of {given.compute_url}: http://127.0.0.1:{given.port}\n"
        f"Its paste file: {paste}\nIts records: tail -f {journal}\n\n"
    )
    sys.stdout.flush()
    command = COMMANDS["granian"](paste, given.port, 2, 16)
    os.environ["IMAGEFILTER_PASTE"] = str(paste)
    os.execv(sys.executable, [sys.executable, "-W", "ignore", "-m", *command])  # Ctrl-C is the server's
    return 0


if __name__ == "__main__":
    sys.exit(main())

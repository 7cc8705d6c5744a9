"""Run a gateway for a first try, in front of a compute API: ``make gateway COMPUTE_URL=...``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from imagefilter.cli.gateway_start import check_address
from imagefilter.gateway import upstream
from imagefilter.policy.config import ConfigError
from tests.gateway.servers import fill_in_paste_file, granian_command


def main() -> int:
    parser = argparse.ArgumentParser(prog="make gateway", description=__doc__)
    parser.add_argument("--compute-url", default="", help="the compute API: make gateway COMPUTE_URL=http://...")
    parser.add_argument("--port", type=int, default=8784, help="the port on 127.0.0.1 (make gateway PORT=...)")
    args = parser.parse_args()
    try:
        upstream.load({"compute_url": args.compute_url}, "the command line")
    except ConfigError as error:
        sys.stderr.write(f"gateway: {error}\nTry make gateway COMPUTE_URL=http://127.0.0.1:8774\n")
        return 2
    for finding in check_address(f"127.0.0.1:{args.port}").findings:
        sys.stderr.write(f"gateway: {finding}: make gateway PORT=...\n")
        return 2
    folder = Path(tempfile.mkdtemp(prefix="imagefilter-gateway-"))
    paste, journal = folder / "gateway.ini", folder / "audit.jsonl"
    sections = {"filter:imagefilter": {"audit_journal": str(journal)}}
    paste.write_text(fill_in_paste_file(args.compute_url, sections, "gateway-without-authtoken"))
    sys.stdout.write(
        f"The gateway, without auth_token, in front of {args.compute_url}: http://127.0.0.1:{args.port}\n"
        f"Its paste file: {paste}\nIts records: tail -f {journal}\n\n"
    )
    sys.stdout.flush()
    command = granian_command(paste, args.port, workers=2, threads=16)
    os.environ["IMAGEFILTER_PASTE"] = str(paste)
    os.execv(sys.executable, [sys.executable, "-W", "ignore", "-m", *command])  # Ctrl-C is the server's
    return 0


if __name__ == "__main__":
    sys.exit(main())

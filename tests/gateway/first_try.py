"""Run a gateway for a first try, in front of a compute API: ``make gateway COMPUTE_URL=...``."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from imagefilter.cli.gateway_start import check_address
from imagefilter.gateway import upstream
from imagefilter.policy.config import ConfigError
from tests.gateway.servers import fill_in_paste_file, granian_command
from tests.nova.demo import report_errors


def main() -> int:
    parser = argparse.ArgumentParser(prog="make gateway", description=__doc__)
    parser.add_argument("--compute-url", default="", help="the compute API: make gateway COMPUTE_URL=http://...")
    parser.add_argument("--port", type=int, default=8784, help="the port on 127.0.0.1 (make gateway PORT=...)")
    parser.add_argument(
        "--config", metavar="FILE", default="", help="a policy of your own (make gateway CONFIG=my.conf)"
    )
    args = parser.parse_args()
    if args.config and report_errors(args.config):
        return 2
    try:
        upstream.load({"compute_url": args.compute_url}, "the command line")
    except ConfigError as error:
        sys.stderr.write(f"gateway: {error}\nTry make gateway COMPUTE_URL=http://127.0.0.1:8774\n")
        return 2
    for finding in check_address(f"127.0.0.1:{args.port}").findings:
        sys.stderr.write(f"gateway: {finding}: make gateway PORT=...\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="imagefilter-gateway-") as folder:
        return serve(args, Path(folder))


def serve(args: argparse.Namespace, folder: Path) -> int:
    """Run the gateway's server until Ctrl-C or SIGTERM; return the exit status."""
    paste, journal = folder / "gateway.ini", folder / "audit.jsonl"
    options = {"audit_journal": str(journal)}
    if args.config:
        options.update(oslo_config_file=str(Path(args.config).absolute()), reload_interval="1")
    paste.write_text(fill_in_paste_file(args.compute_url, {"filter:imagefilter": options}, "gateway-without-authtoken"))
    sys.stdout.write(
        f"The gateway, without auth_token, in front of {args.compute_url}: http://127.0.0.1:{args.port}\n"
        f"Its paste file: {paste}\nIts records: tail -f {journal}\n\n"
    )
    sys.stdout.flush()
    command = [sys.executable, "-W", "ignore", "-m", *granian_command(paste, args.port, workers=2, threads=16)]
    server = subprocess.Popen(command, env={**os.environ, "IMAGEFILTER_PASTE": str(paste)})
    signal.signal(signal.SIGTERM, lambda number, frame: server.terminate())
    while True:
        with contextlib.suppress(KeyboardInterrupt):  # it is the server's, too
            return server.wait()


if __name__ == "__main__":
    sys.exit(main())

"""The config file that a command is about."""

from __future__ import annotations

import argparse
import sys

from imagefilter.policy import ConfigError, Policy, load

DEFAULT = "/etc/imagefilter/imagefilter.conf"


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--config`` to a command's options."""
    help_ = f"a config file with a section [imagefilter], which may be nova.conf (default: {DEFAULT})"
    parser.add_argument("--config", metavar="FILE", default=DEFAULT, help=help_)


def load_file(path: str) -> Policy:
    """The policy of a config file alone; ends the program, with all errors and status 2, if it is not a good one."""
    try:
        return load({"oslo_config_file": path})
    except ConfigError as error:
        sys.stderr.writelines(f"error: {each}\n" for each in error.errors)
        raise SystemExit(2) from None

"""Options and output of commands that ask a cloud as its administrator."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any, NamedTuple

from imagefilter.cli._output import describe_missing, fail
from imagefilter.housekeeping.cloud import AskFailed, Cloud

_SECONDS = 2.0  # between two lines of progress


class Login(NamedTuple):
    """A cloud, and who asks it."""

    cloud: Cloud
    access: Any  # keystoneauth1's
    connection: Any  # openstacksdk's


def add_cloud(parser: argparse.ArgumentParser, service: str = "image") -> None:
    """Add the options that choose a cloud.

    :param service: whose region it is, where a cloud has several.
    """
    parser.add_argument(
        "--os-cloud",
        metavar="NAME",
        help="an entry in clouds.yaml, usually of an administrator (default: OS_CLOUD, or the other variables OS_*)",
    )
    parser.add_argument("--os-region-name", metavar="NAME", help=f"the region of the {service} service")


def log_in(args: argparse.Namespace) -> Login:
    """Log in to the cloud; end the program with exit status 2 if that fails."""
    try:
        # Only these commands need them.
        import openstack  # noqa: PLC0415
        from keystoneauth1.exceptions import ClientException  # noqa: PLC0415

        from imagefilter.housekeeping.openstack import connect  # noqa: PLC0415
    except ImportError as error:
        fail(describe_missing(error, "housekeeping"))
    names = {}
    if args.os_region_name:
        names["region_name"] = args.os_region_name
    try:
        connection: Any = openstack.connect(cloud=args.os_cloud, app_name="imagefilter", **names)
        access = connection.session.auth.get_access(connection.session)
        return Login(connect(connection), access, connection)
    except (AskFailed, ClientException, openstack.exceptions.SDKException) as error:
        fail(f"cloud {args.os_cloud or 'of the environment'}: {error}")


class ProgressMeter:
    """Reports on standard error how far a command is, every few seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _SECONDS

    def __call__(self, count: int, things: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            sys.stderr.write(f"{count} {things} ...\n")
            self._next = now + _SECONDS

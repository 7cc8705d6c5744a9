"""``imagefilter usage``: who has how many images of servers."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Iterator
from typing import Any

from imagefilter.cli._base import StatusLister
from imagefilter.cli._clouds import Login, ProgressMeter, add_cloud, log_in
from imagefilter.cli._durations import parse_duration
from imagefilter.cli._limits import LimitSource, refusals
from imagefilter.cli._numbers import parse_count
from imagefilter.cli._options import add_config
from imagefilter.cli._output import fail, printable_rows
from imagefilter.housekeeping.census import Census, Count, take_census
from imagefilter.housekeeping.cloud import AskFailed
from imagefilter.housekeeping.decision import Terms

_COUNTS = ("Images", "GiB", "In Progress", "Expired", "Unstamped", "Orphans", "Refused By")
_PROJECT_COLUMNS = ("Project", "Name", "Servers", *_COUNTS)
_SERVER_COLUMNS = ("Project", "Name", "Server", *_COUNTS)


class Usage(StatusLister):
    """Count the images of servers by project or server, as an administrator of the cloud.

    The column Unstamped counts images that the filter did not stamp. Orphans counts images that have waited for their
    data for longer than --older although no host is making them. Refused By names the limits that would refuse one
    more image: those of the config file, or the one of --limit. Exit status: 0 the images were counted, 2 the cloud or
    the config can't be read.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add_cloud(parser)
        add_config(parser)
        help_text = "what to count by (default: project)"
        parser.add_argument("--by", choices=("project", "server"), default="project", help=help_text)
        help_text = "try this limit for each project (with --by server: for each server) instead of those of --config"
        parser.add_argument("--limit", metavar="N", type=parse_count, help=help_text)
        help_text = "list only projects or servers whose next image would be refused"
        parser.add_argument("--refused", action="store_true", help=help_text)
        parser.add_argument("--project", metavar="ID", help="list this project only")
        help_text = "how long an image must have waited to be an orphan: 90m, 24h, 7d, 2w (default: 24h)"
        parser.add_argument("--older", metavar="TIME", type=parse_duration, default="24h", help=help_text)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        limits = LimitSource(parsed_args)
        login = log_in(parsed_args)
        limits.log_in(login.connection.session.get_token)
        now = datetime.datetime.now(datetime.timezone.utc)
        terms = Terms(now=now, lock_lease=datetime.timedelta(0), older=parsed_args.older)
        try:
            census = take_census(login.cloud, terms, ProgressMeter())
        except AskFailed as error:
            fail(str(error))
        names = _read_project_names(login)
        columns, rows = _PROJECT_COLUMNS, _project_rows(census, limits, names)
        if parsed_args.by == "server":
            columns, rows = _SERVER_COLUMNS, _server_rows(census, limits, names)
        chosen = [row for row in rows if _is_chosen(row, parsed_args)]
        chosen.sort(key=lambda row: (-row[3], row[0], row[2]))
        return columns, printable_rows(chosen, parsed_args, "images of servers")


def _is_chosen(row: tuple[Any, ...], args: argparse.Namespace) -> bool:
    if args.project and row[0] != args.project:
        return False
    return bool(row[-1]) or not args.refused


def _project_rows(census: Census, source: LimitSource, names: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    refused_servers: dict[str, int] = {}
    for place, count in census.places.items():
        if list(refusals("server-limit", source.for_project(place.project_id).per_server, count.images)):
            refused_servers[place.project_id] = refused_servers.get(place.project_id, 0) + 1
    for project_id, (count, servers) in census.by_project().items():
        limits = source.for_project(project_id)
        refused = [*refusals("project-limit", limits.per_project, count.images)]
        refused += refusals("progress-limit", limits.in_progress, count.in_progress)
        if project_id in refused_servers:
            refused.append(f"server-limit ({refused_servers[project_id]} servers)")
        yield (project_id, names.get(project_id, ""), servers, *_numbers(count), "; ".join(refused))


def _server_rows(census: Census, source: LimitSource, names: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    for place, count in census.places.items():
        limits = source.for_project(place.project_id)
        refused = "; ".join(refusals("server-limit", limits.per_server, count.images))
        name = names.get(place.project_id, "")
        yield (place.project_id, name, place.server_id or "unknown", *_numbers(count), refused)


def _numbers(count: Count) -> tuple[Any, ...]:
    gibibytes = round(count.size / 2**30, 1)
    return (count.images, gibibytes, count.in_progress, count.expired, count.unstamped, count.orphans)


def _read_project_names(login: Login) -> dict[str, str]:
    """Return the names of projects; without the right to list them there are none."""
    try:
        return {project.id: project.name for project in login.connection.identity.projects()}
    except Exception as error:
        sys.stderr.write(f"projects are shown without names: {error}\n")
        return {}

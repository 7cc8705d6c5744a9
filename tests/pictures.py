"""Take the picture of the report, ``docs/report.png``: ``python -m tests.pictures`` (``make pictures``).

A fortnight of a small cloud is sent through the real filter, and Chromium shows what ``imagefilter audit report``
makes of the journal.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import random
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from imagefilter.cli.app import main as run_command
from tests.cases import backup, image
from tests.paths import ROOT
from tests.unit.journal_fixtures import Writer

PICTURE = ROOT / "docs/report.png"
DAYS = 14
BEGIN = datetime.datetime(2026, 11, 9, tzinfo=datetime.timezone.utc)  # a Monday
POLICY = {
    "exempt_roles": "backup",
    "metadata_required": "owner-team",
    "name_pattern": "[a-z0-9-]+",
    "rule_modes": "metadata-required:warn",
}
CHROMIUM = (
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)


class Project(NamedTuple):
    """A project of the cloud, and how its people use images."""

    name: str
    users: tuple[str, ...]
    a_day: int  # image actions of people
    nightly: int  # backups by the backup service


class Request(NamedTuple):
    """An image action at a time."""

    time: datetime.datetime
    project: Project
    user: str
    role: str
    document: dict[str, Any]


PROJECTS = (
    Project("web-shop", ("alice", "bruno"), 9, 12),
    Project("data-lake", ("chen",), 4, 8),
    Project("ci", ("robot-ci",), 14, 0),
    Project("hr", ("dana", "emil"), 2, 3),
)


def find_requests(chosen: random.Random) -> Iterator[Request]:
    """Yield the requests of the fortnight: people by day, and fewer at weekends; the backup service by night."""
    for day in range(DAYS):
        midnight = BEGIN + datetime.timedelta(days=day)
        for project in PROJECTS:
            for _ in range(project.nightly):
                time = midnight + datetime.timedelta(minutes=chosen.randrange(60, 240))
                yield Request(time, project, "night", "backup", backup(name="nightly", rotation=7))
            count = project.a_day
            if midnight.weekday() >= 5:
                count //= 3
            for _ in range(count):
                time = midnight + datetime.timedelta(minutes=chosen.randrange(8 * 60, 18 * 60))
                yield Request(time, project, chosen.choice(project.users), "member", _choose_image(chosen))


def _choose_image(chosen: random.Random) -> dict[str, Any]:
    """Return what somebody asks for: mostly fine, and sometimes what the policy refuses."""
    team = {"owner-team": "web"}
    documents = [
        image("before-upgrade", team),
        image("golden", team),
        image("release-42", {}),
        image("My Laptop (old)", team),
        image("nightly", {**team, "owner": "me"}),
    ]
    [document] = chosen.choices(documents, weights=(8, 7, 2, 1, 1))
    return document


def write_journal(path: Path) -> None:
    """Send the requests through the filter, and give their records the requests' own times."""
    chosen = random.Random(2026)
    logging.disable(logging.CRITICAL)  # a line for each refusal
    new_id = mock.patch("uuid.uuid4", side_effect=lambda: uuid.UUID(int=chosen.getrandbits(128), version=4))
    with new_id, mock.patch("socket.gethostname", return_value="api1"):
        writer = Writer(path, **POLICY)
        lines: list[str] = []
        for request in sorted(find_requests(chosen), key=lambda request: request.time):
            server = f"/v2.1/servers/{uuid.uuid4()}/action"
            project_id = uuid.uuid5(uuid.NAMESPACE_DNS, request.project.name).hex
            names = {"HTTP_X_PROJECT_NAME": request.project.name, "HTTP_X_ROLES": request.role}
            writer.post(request.document, server, project_id, request.user, **names)
            lines += _move(path.read_text(), request.time)
            path.write_text("")
    path.write_text("".join(lines))


def _move(records: str, time: datetime.datetime) -> Iterator[str]:
    for line in records.splitlines():
        record = json.loads(line)
        record["eventTime"] = time.isoformat(timespec="microseconds")
        yield json.dumps(record) + "\n"


def take_picture(page: Path, picture: Path, size: tuple[int, int]) -> None:
    """Show a page in Chromium.

    :param size: width and height of the picture, in pixels.
    """
    width, height = size
    with tempfile.TemporaryDirectory() as profile:
        options = (f"--user-data-dir={profile}", f"--window-size={width},{height}", f"--screenshot={picture}")
        subprocess.run([*CHROMIUM, *options, page.as_uri()], check=True, capture_output=True, timeout=60)


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description=__doc__.partition("\n")[0])
    parser.add_argument("--picture", type=Path, default=PICTURE, metavar="FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        journal, page = Path(folder, "audit.jsonl"), Path(folder, "report.html")
        write_journal(journal)
        run_command(["audit", "report", "--journal", str(journal), "--html", str(page)])
        take_picture(page, args.picture, (1200, 900))


if __name__ == "__main__":
    main()

"""What the filter, tenants and operators do to images of servers, on the real components."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from tests.gateway.keystone import ADMIN, PASSWORD, REGION
from tests.paths import ROOT
from tests.real.site import Site

_UTC = datetime.timezone.utc
_names = itertools.count(1)


def iso(time: datetime.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(**duration: float) -> datetime.datetime:
    return datetime.datetime.now(_UTC) - datetime.timedelta(**duration)


def stamps(server: str, made: datetime.datetime, expires: datetime.datetime | None) -> dict[str, str]:
    """Return the properties that the filter sets."""
    properties = {"imagefilter_server": server, "imagefilter_record": str(uuid.uuid4())}
    properties["imagefilter_stamped"] = iso(made)
    if expires:
        properties["imagefilter_expires"] = iso(expires)
    return properties


def snapshot(site: Site, user: str, server: str, **members: Any) -> str:
    """Let Nova make an image of a server, stamped as by the filter; return the image's id.

    It was made an hour ago, and expired a minute ago unless ``expires`` says otherwise (None: never).
    """
    made = ago(hours=1)
    metadata = stamps(server, made, members.pop("expires", ago(minutes=1)))
    metadata.update(members)
    document = {"createImage": {"name": f"snapshot-{next(_names)}", "metadata": metadata}}
    response = site.post_action(site.bare, user, server, document)
    assert response.status_int == 202, response.text
    image_id: str = response.json["image_id"]
    site.glance.set_created(image_id, made.strftime("%Y-%m-%d %H:%M:%S"))
    return image_id


class Result(NamedTuple):
    """What a command printed."""

    status: int
    rows: list[dict[str, Any]]
    err: str

    @property
    def decisions(self) -> dict[str, tuple[str, str]]:
        """By the id of the image: what became of it, and why."""
        return {row["Image"]: (row["Decision"], row["Reason"]) for row in self.rows}


def write_clouds(folder: Path, auth_url: str, user: str = ADMIN, project: str = ADMIN) -> Path:
    """Write a clouds.yaml with one entry, ``test``."""
    auth = {"auth_url": auth_url, "username": user, "password": PASSWORD, "project_name": project}
    auth.update(user_domain_id="default", project_domain_id="default")
    path = folder / "clouds.yaml"
    path.write_text(json.dumps({"clouds": {"test": {"auth": auth, "region_name": REGION}}}))
    return path


def start_command(clouds: Path, *args: str) -> subprocess.Popen[str]:
    """Start ``imagefilter`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "imagefilter.cli.app", *args],
        env={**os.environ, "OS_CLIENT_CONFIG_FILE": str(clouds), "OS_CLOUD": "test", "COLUMNS": "500"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish_command(process: subprocess.Popen[str]) -> Result:
    out, err = process.communicate(timeout=240)
    rows = []
    if out.strip():
        rows = json.loads(out)
    return Result(process.returncode, rows, err)


def run_command(clouds: Path, *args: str) -> Result:
    """Run ``imagefilter`` until it ends, and read its JSON."""
    return finish_command(start_command(clouds, *args, "-f", "json"))

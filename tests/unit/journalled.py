"""Journals to be read back: written by the real filter in front of a small compute API."""

from __future__ import annotations

import datetime
import gzip
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from imagefilter.cli.app import main
from tests.unit.small import CONTEXT, Guarded


class Ran:
    """A command that was run, as an operator runs it."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *args: object) -> None:
        capsys.readouterr()
        try:
            self.status: Any = main([str(arg) for arg in args])
        except SystemExit as end:
            self.status = end.code
        self.out, self.err = capsys.readouterr()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What a list printed with ``-f json``."""
        found: list[dict[str, Any]] = json.loads(self.out)
        return found


class Writer:
    """Writes a journal through the filter; each request has an id of its own, and the project that is asked for."""

    def __init__(self, path: Path, **options: str) -> None:
        self.path = path
        self.guarded = Guarded(audit_journal=str(path), **options)

    def post(self, document: Any, project: str = CONTEXT.project_id, user: str = "alice", **environ: Any) -> str:
        """Send an action; returns its request id."""
        request_id = f"req-{uuid.uuid4()}"
        identity = {
            "nova.context": None,
            "keystone.token_auth": object(),
            "HTTP_X_USER_ID": f"{user}-id",
            "HTTP_X_USER_NAME": user,
            "HTTP_X_PROJECT_ID": project,
            "HTTP_X_PROJECT_NAME": f"{project[:4]}-name",
            "HTTP_X_ROLES": "member",
            "openstack.request_id": request_id,
        }
        self.guarded.post(document, **{**identity, **environ})
        return request_id

    def rotate(self, suffix: str) -> Path:
        """Rename the journal as logrotate does, compressed if the suffix says so."""
        target = self.path.with_name(self.path.name + suffix)
        if suffix.endswith(".gz"):
            target.write_bytes(gzip.compress(self.path.read_bytes()))
            self.path.unlink()
        else:
            self.path.rename(target)
        return target


def shift(path: Path, **ago: float) -> None:
    """Make the records of a journal older."""
    span = datetime.timedelta(**ago)
    lines = []
    for line in path.read_text().splitlines():
        record = json.loads(line)
        time = datetime.datetime.fromisoformat(record["eventTime"]) - span
        lines.append(json.dumps({**record, "eventTime": time.isoformat(timespec="microseconds")}) + "\n")
    path.write_text("".join(lines))

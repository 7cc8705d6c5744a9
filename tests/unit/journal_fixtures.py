"""Journals to read back, written by the real filter in front of a small compute API, and commands that read them."""

from __future__ import annotations

import datetime
import gzip
import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagefilter import filter_factory
from tests.cases import PROJECT, SERVER
from tests.records import parse_requests
from tests.wsgi import send

if TYPE_CHECKING:
    import pytest

PATH = f"/v2.1/servers/{SERVER}/action"


class Run:
    """A command, run as an operator runs it: its exit status and what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *args: object) -> None:
        from imagefilter.cli.app import main

        capsys.readouterr()
        try:
            self.status: Any = main([str(arg) for arg in args])
        except SystemExit as end:
            self.status = end.code
        self.out, self.err = capsys.readouterr()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What a list printed with ``-f json``."""
        rows: list[dict[str, Any]] = json.loads(self.out)
        return rows


class Accepting:
    """A compute API that accepts every request.

    :param headers: of its responses.
    """

    def __init__(self, **headers: str) -> None:
        self.headers = [*headers.items(), ("Content-Length", "0")]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        start_response("202 Accepted", self.headers)
        return [b""]


class Writer:
    """Writes a journal through the filter; each request has its own id and the project that the test gives it."""

    def __init__(self, path: Path, compute: Any = None, **options: str) -> None:
        self.path = path
        self._app = filter_factory({}, audit_journal=str(path), **options)(compute or Accepting())

    def post(
        self, document: Any, target: str = PATH, project: str = PROJECT, user: str = "alice", **environ: Any
    ) -> str:
        """Send an action; return its request id."""
        request: dict[str, Any] = {
            "keystone.token_auth": object(),
            "HTTP_X_USER_ID": f"{user}-id",
            "HTTP_X_USER_NAME": user,
            "HTTP_X_PROJECT_ID": project,
            "HTTP_X_PROJECT_NAME": f"{project[:4]}-name",
            "HTTP_X_ROLES": "member",
            "openstack.request_id": f"req-{uuid.uuid4()}",
        }
        request.update(environ)
        send(self._app, "POST", target, document, None, **request)
        request_id: str = request["openstack.request_id"]
        return request_id

    def records(self) -> list[dict[str, Any]]:
        """Return the records of requests in the file, not those in rotated ones."""
        return parse_requests(self.path.read_text().splitlines())

    def rotate(self, suffix: str) -> Path:
        """Rename the journal as logrotate does, and compress it if the suffix says so."""
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
        record["eventTime"] = time.isoformat(timespec="microseconds")
        lines.append(json.dumps(record) + "\n")
    path.write_text("".join(lines))

"""Fakes that unit tests share: a small compute API, the filter in front of it, and what else a test needs around it."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import subprocess
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagefilter import filter_factory
from tests.cases import PROJECT, SERVER
from tests.records import parse_requests
from tests.wsgi import send

PATH = f"/v2.1/servers/{SERVER}/action"
CONTEXT = types.SimpleNamespace(user_id="alice", project_id=PROJECT, roles=["member"])
AUTHENTICATED = {"nova.context": CONTEXT}

#: The headers that auth_token sets, in a WSGI environ; a client can send them as well.
IDENTITY_HEADERS = {
    "HTTP_X_USER_ID": "b1946ac92492d2347c6235b4d2611184",
    "HTTP_X_USER_NAME": "alice",
    "HTTP_X_USER_DOMAIN_NAME": "Default",
    "HTTP_X_PROJECT_ID": PROJECT,
    "HTTP_X_PROJECT_NAME": "web",
    "HTTP_X_PROJECT_DOMAIN_ID": "default",
    "HTTP_X_ROLES": "Member,reader",
}
BEHIND_AUTH_TOKEN: dict[str, Any] = {"keystone.token_auth": object(), "nova.context": None, **IDENTITY_HEADERS}

#: A client whose token is for the compute API to validate.
STRANGER: dict[str, Any] = {"nova.context": None, "HTTP_X_AUTH_TOKEN": "secret-token"}

#: Forked processes share what is imported already.
FORK = multiprocessing.get_context("fork")


class Compute:
    """A compute API that responds 202.

    ``requests`` holds the environ of each request, with its whole body under ``body``.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.requests.append({**environ, "body": environ["wsgi.input"].read()})
        start_response("202 Accepted", [("Content-Length", "0")])
        return [b""]


class Guarded:
    """The filter in front of a small compute API."""

    def __init__(self, **options: str) -> None:
        self.compute = Compute()
        self.app = filter_factory({}, **options)(self.compute)

    def post(self, document: Any, target: str = PATH, **environ: Any) -> Any:
        """Send an authenticated POST and return the response."""
        return self.send("POST", target, document, **environ)

    def send(self, method: str, target: str, document: Any, **environ: Any) -> Any:
        """Send an authenticated request and return the response."""
        return send(self.app, method, target, document, None, **{**AUTHENTICATED, **environ})

    @property
    def bodies(self) -> list[bytes]:
        """The bodies that were forwarded."""
        return [request["body"] for request in self.compute.requests]


class Journalled(Guarded):
    """The filter in front of a small compute API, with a journal in a folder."""

    def __init__(self, folder: Path, **options: str) -> None:
        self.path = folder / "audit.jsonl"
        super().__init__(audit_journal=str(self.path), **options)

    def records(self) -> list[dict[str, Any]]:
        """Return the records in the journal."""
        if not self.path.exists():
            return []
        return parse_requests(self.path.read_text().splitlines())

    def contents(self) -> list[dict[str, Any]]:
        """Return imagefilter's own part of each record."""
        return [get_content(record) for record in self.records()]


class DrippingStream(io.RawIOBase):
    """A socket that returns one byte at a time, and counts the reads."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads = 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "an unbounded read"
        self.reads += 1
        if size == 0:
            return b""
        return self.data[self.reads - 1 : self.reads]


def compute_factory(global_conf: dict[str, str]) -> Any:
    """Build a compute API as PasteDeploy does: it responds 202 and adds each request to the environ's own list."""

    def compute(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ["test.requests"].append({**environ, "body": body})
        start_response("202 Accepted", [("Content-Length", "0"), ("Content-Type", "text/html")])
        return [b""]

    return compute


def get_fault(response: Any) -> tuple[int, str]:
    """Return the status and the message of a refusal."""
    [fault] = response.json.values()
    assert fault["code"] == response.status_int
    return response.status_int, fault["message"]


def get_content(record: dict[str, Any]) -> dict[str, Any]:
    """Return imagefilter's own part of a record."""
    [attachment] = record["attachments"]
    assert attachment["name"] == "imagefilter"
    content: dict[str, Any] = attachment["content"]
    return content


def read_lines(path: str | Path) -> list[bytes]:
    """Return the lines of a file."""
    return Path(path).read_bytes().splitlines()


def is_json(line: bytes) -> bool:
    """Return whether a line is whole."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """Mount a file system in memory with options of its own, or skip the test."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False).returncode:
        pytest.skip("only root can mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)

"""A Cinder in memory, over HTTP: as much of it as the reaper asks. Nova's own fake of Cinder has no API."""

from __future__ import annotations

import json
from typing import Any


class CinderApi:
    """A WSGI application: volumes and snapshots of all projects.

    :ivar snapshots: by id.
    :ivar in_use: ids of snapshots that Cinder refuses to delete.
    """

    def __init__(self) -> None:
        self.volumes: list[dict[str, Any]] = []
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.in_use: set[str] = set()

    def add_snapshot(self, snapshot_id: str, project_id: str, created_at: str) -> None:
        """Add a snapshot.

        :param created_at: as ``2026-11-26T23:00:00``: Cinder writes UTC without saying so.
        """
        document = {"id": snapshot_id, "created_at": f"{created_at}.000000", "status": "available"}
        self.snapshots[snapshot_id] = {**document, "os-extended-snapshot-attributes:project_id": project_id}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        status, document = self._respond(environ["REQUEST_METHOD"], environ["PATH_INFO"].split("/")[3:], environ)
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(document).encode()]

    def _respond(self, method: str, path: list[str], environ: dict[str, Any]) -> tuple[str, Any]:
        if path == ["volumes", "detail"]:
            if "marker" in environ["QUERY_STRING"]:
                return "200 OK", {"volumes": []}
            return "200 OK", {"volumes": self.volumes}
        snapshot_id = path[-1]
        if path[:1] != ["snapshots"] or snapshot_id not in self.snapshots:
            return "404 Not Found", {}
        if method == "GET":
            return "200 OK", {"snapshot": self.snapshots[snapshot_id]}
        if snapshot_id in self.in_use:
            return "400 Bad Request", {"badRequest": {"message": "Snapshot has dependent volumes", "code": 400}}
        del self.snapshots[snapshot_id]
        return "202 Accepted", {}

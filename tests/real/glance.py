"""A real Glance in a process of its own: sqlite, a store of files, its tokens checked at a Keystone."""

from __future__ import annotations

import contextlib
import io
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import requests

from tests.real.gunicorn import listen, serve_app, url_of

PASTE = Path(sys.prefix, "etc/glance/glance-api-paste.ini")

#: Options of glance-api.conf, by section.
Settings = Mapping[str, Mapping[str, str]]


class Glance:
    """A running Glance. Methods act as a user of the Keystone, by name, and raise on an error of Glance's.

    ``url`` is the endpoint as it stands in a catalog, without a version.
    """

    def __init__(self, url: str, folder: Path, keystone: Any) -> None:
        self.url = url
        self.folder = folder
        self.keystone = keystone
        self._tokens: dict[str, str] = {}

    def request(self, user: str, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send a request below ``/v2`` as a user, and return the response whatever it is."""
        if user not in self._tokens:
            self._tokens[user] = self.keystone.token(user)
        headers = {"X-Auth-Token": self._tokens[user], **arguments.pop("headers", {})}
        return requests.request(method, f"{self.url}/v2{path}", headers=headers, timeout=60, **arguments)

    def images(self, user: str, **query: str) -> list[dict[str, Any]]:
        """Return all images that match, hidden ones too, oldest first; all that the user may see without a query."""
        found = []
        for hidden in ("false", "true"):
            params = {"visibility": "all", "os_hidden": hidden, "sort": "created_at:asc", "limit": "1000", **query}
            found += _check(self.request(user, "GET", "/images", params=params)).json()["images"]
        return found

    def own_images(self, user: str) -> list[dict[str, Any]]:
        """Return all images that the user's project owns, of any visibility."""
        project = self.keystone.session(user).get_project_id()
        return self.images(user, owner=project)

    def show(self, user: str, image_id: str) -> dict[str, Any]:
        document: dict[str, Any] = _check(self.request(user, "GET", f"/images/{image_id}")).json()
        return document

    def create(self, user: str, name: str, **members: Any) -> str:
        """Create an image without data; return its id.

        :param members: of the document: properties, visibility, …
        """
        document = {"name": name, "disk_format": "raw", "container_format": "bare", **members}
        image_id: str = _check(self.request(user, "POST", "/images", json=document)).json()["id"]
        return image_id

    def upload(self, user: str, image_id: str, data: bytes = b"some data") -> None:
        """Upload the data of an image, as a compute host does in the end: it becomes active."""
        headers = {"Content-Type": "application/octet-stream"}
        _check(self.request(user, "PUT", f"/images/{image_id}/file", data=data, headers=headers))

    def update(self, user: str, image_id: str, **members: Any) -> None:
        """Set members of an image: properties, ``visibility``, ``protected``, ``os_hidden``, …"""
        _check(self.patch(user, image_id, *({"op": "add", "path": f"/{k}", "value": v} for k, v in members.items())))

    def patch(self, user: str, image_id: str, *operations: Mapping[str, Any]) -> requests.Response:
        """Send operations of JSON patch, and return the response whatever it is."""
        headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        return self.request(user, "PATCH", f"/images/{image_id}", json=list(operations), headers=headers)

    def share(self, user: str, image_id: str, member: str) -> None:
        """Share an image with another user's project, which accepts it."""
        self.update(user, image_id, visibility="shared")
        project = self.keystone.session(member).get_project_id()
        _check(self.request(user, "POST", f"/images/{image_id}/members", json={"member": project}))
        accepted = {"status": "accepted"}
        _check(self.request(member, "PUT", f"/images/{image_id}/members/{project}", json=accepted))

    def delete(self, user: str, image_id: str) -> None:
        _check(self.request(user, "DELETE", f"/images/{image_id}"))

    def clear(self, admin: str = "admin") -> None:
        """Delete every image there is."""
        for image in self.images(admin):
            if image["protected"]:
                self.update(admin, image["id"], protected=False)
            self.delete(admin, image["id"])

    def set_created(self, image_id: str, created_at: str) -> None:
        """Make an image older than it is, in the database: the API has no way.

        :param created_at: as ``2026-11-26 23:00:00``, UTC.
        """
        with contextlib.closing(sqlite3.connect(self.folder / "glance.db", timeout=30)) as database:
            values = {"id": image_id, "at": f"{created_at}.000000"}  # as SQLAlchemy writes it: SQLite compares texts
            database.execute("UPDATE images SET created_at = :at, updated_at = :at WHERE id = :id", values)
            database.commit()


@contextlib.contextmanager
def serve_glance(
    folder: Path,
    keystone: Any,
    settings: Settings | None = None,
    protections: Path | None = None,
    workers: int = 1,
    threads: int = 8,
) -> Iterator[Glance]:
    """Run a Glance until the block ends. It is not put into Keystone's catalog.

    :param folder: for its database, images and log.
    :param settings: in place of its own options, or beside them.
    :param protections: a property-protections file, with roles in its rules.
    """
    config = folder / "glance-api.conf"
    config.write_text(_write_config(folder, keystone, settings or {}, protections))
    _manage(config, "db_sync")
    _let_readers_pass(folder / "glance.db")
    with (
        listen() as sock,
        serve_app(
            "glance.wsgi.api:application",
            folder,
            sock,
            {"OS_GLANCE_CONFIG_DIR": str(folder)},
            workers=workers,
            threads=threads,
        ),
    ):
        yield Glance(url_of(sock), folder, keystone)


def _write_config(folder: Path, keystone: Any, settings: Settings, protections: Path | None) -> str:
    parser = RawConfigParser(default_section="")
    parser.read_dict(_own_settings(folder, keystone))
    if protections:
        parser.set("DEFAULT", "property_protection_file", str(protections))
    parser.read_dict(settings)
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def _own_settings(folder: Path, keystone: Any) -> Settings:
    for name in ("images", "staging", "tasks"):
        (folder / name).mkdir()
    return {
        "DEFAULT": {"log_file": str(folder / "glance.log"), "enabled_backends": "files:file"},
        "database": {"connection": f"sqlite:///{folder}/glance.db"},
        "glance_store": {"default_backend": "files"},
        "files": {"filesystem_store_datadir": str(folder / "images")},
        "os_glance_staging_store": {"filesystem_store_datadir": str(folder / "staging")},
        "os_glance_tasks_store": {"filesystem_store_datadir": str(folder / "tasks")},
        "keystone_authtoken": keystone.authtoken(),
        "paste_deploy": {"flavor": "keystone", "config_file": str(PASTE)},
    }


def _manage(config: Path, *args: str) -> None:
    command = [str(Path(sys.executable).with_name("glance-manage")), "--config-file", str(config), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _let_readers_pass(path: Path) -> None:
    """Let SQLite read while it writes, or requests at once fail with *database is locked*."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")


def _check(response: requests.Response) -> requests.Response:
    assert response.ok, f"{response.request.method} {response.url}: {response.status_code} {response.text}"
    return response

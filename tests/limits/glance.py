"""A real Glance on a free loopback port: sqlite, a folder for the data, gunicorn, auth_token before it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from tests.gateway.client import find_free_port
from tests.gateway.keystone import Keystone
from tests.waiting import wait_until

_CONFIG = """\
[DEFAULT]
log_file = {folder}/glance.log
enabled_backends = files:file
node_staging_uri = file://{folder}/staging
property_protection_file = {protections}
property_protection_rule_format = roles
worker_self_reference_url = http://127.0.0.1:1
[database]
connection = sqlite:///{database}?timeout=60
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {folder}/images
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[paste_deploy]
flavor = keystone
config_file = {prefix}/etc/glance/glance-api-paste.ini
[keystone_authtoken]
{authtoken}
memcache_security_strategy = None
[oslo_concurrency]
lock_path = {folder}/locks
"""


class Glance:
    """A Glance, started by :func:`serve_glance`."""

    def __init__(self, keystone: Keystone, url: str, folder: Path) -> None:
        self.keystone = keystone
        self.url = url
        self.folder = folder

    def request(self, method: str, path: str, user: str = "alice", **options: Any) -> requests.Response:
        """Send a request as one of Keystone's users; fail if it is refused."""
        response = self.send(method, path, user, **options)
        response.raise_for_status()
        return response

    def send(self, method: str, path: str, user: str = "alice", **options: Any) -> requests.Response:
        """Send a request as one of Keystone's users."""
        headers = {"X-Auth-Token": self.keystone.cached_token(user), **options.pop("headers", {})}
        return requests.request(method, f"{self.url}/v2{path}", headers=headers, timeout=60, **options)

    def images(self, user: str = "alice") -> list[dict[str, Any]]:
        """Return the images that a user's project owns, hidden ones too."""
        owner = self.keystone.project_of(user)
        images: list[dict[str, Any]] = []
        for hidden in ("false", "true"):
            page = self.request("GET", f"/images?limit=1000&owner={owner}&os_hidden={hidden}", user)
            images += page.json()["images"]
        # What is left of an image that two clients deleted at once.
        return [image for image in images if image["status"] != "deleted"]

    def snapshots(self, user: str = "alice") -> list[dict[str, Any]]:
        """Return those of them that are of a server, as a person would tell them."""
        return [image for image in self.images(user) if image.get("instance_uuid") or image.get("imagefilter_server")]

    def create(self, user: str = "alice", **fields: Any) -> dict[str, Any]:
        """Make the record of an image."""
        document = {"name": "an image", "disk_format": "raw", "container_format": "bare", **fields}
        made: dict[str, Any] = self.request("POST", "/images", user, json=document).json()
        return made

    def upload(self, image_id: str, user: str = "alice", data: bytes = b"data") -> None:
        """Give an image its data, as a compute host does; it is active then."""
        if not self.request("GET", f"/images/{image_id}", user).json()["disk_format"]:
            self.change(image_id, user, disk_format="raw", container_format="bare").raise_for_status()
        headers = {"Content-Type": "application/octet-stream"}
        self.request("PUT", f"/images/{image_id}/file", user, data=data, headers=headers)

    def change(self, image_id: str, user: str = "alice", **fields: Any) -> requests.Response:
        """Set fields of an image; None removes one."""
        operations = []
        for name, value in fields.items():
            operation = {"op": "add", "path": f"/{name}", "value": value}
            if value is None:
                operation = {"op": "remove", "path": f"/{name}"}
            operations.append(operation)
        media_type = "application/openstack-images-v2.1-json-patch"
        return self.send("PATCH", f"/images/{image_id}", user, json=operations, headers={"Content-Type": media_type})

    def delete(self, image_id: str, user: str = "alice") -> None:
        self.request("DELETE", f"/images/{image_id}", user)

    def delete_all(self, user: str = "alice") -> None:
        """Delete all images of a user's project but those that servers boot from."""
        wait_until(lambda: not self._delete_some(user), interval=0.1)

    def _delete_some(self, user: str) -> list[dict[str, Any]]:
        images = [image for image in self.images(user) if image["visibility"] != "public"]
        for image in images:
            if image["protected"]:
                self.change(image["id"], user, protected=False)
            self.send("DELETE", f"/images/{image['id']}", user)  # somebody else may just have deleted it
        return images


@contextlib.contextmanager
def serve_glance(
    keystone: Keystone, folder: Path, protections: str = "", database: Path | None = None
) -> Iterator[Glance]:
    """Run a Glance, and put its endpoints into the catalog.

    :param protections: the path of a property-protections file.
    :param database: of another Glance, to share it.
    """
    folder.mkdir(exist_ok=True)
    for name in ("images", "staging", "tasks"):
        (folder / name).mkdir()
    authtoken = "\n".join(f"{key} = {text}" for key, text in keystone.authtoken().items())
    config = _CONFIG.format(
        folder=folder,
        prefix=sys.prefix,
        authtoken=authtoken,
        protections=protections,
        database=database or folder / "glance.db",
    )
    if not protections:
        config = config.replace("property_protection_file = \n", "")
    (folder / "glance-api.conf").write_text(config)
    _run("glance-manage", "--config-file", str(folder / "glance-api.conf"), "db_sync")
    port = find_free_port()
    glance = Glance(keystone, f"http://127.0.0.1:{port}", folder)
    with _serve(folder, port, glance.url):
        keystone.publish("image", glance.url)
        yield glance


def _run(program: str, *options: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *options], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def _serve(folder: Path, port: int, url: str) -> Iterator[None]:
    # One request at a time: sqlite would refuse some of two that write, and Nova's rotation does not try again.
    settings = folder / "gunicorn.py"
    settings.write_text(
        f'wsgi_app = "glance.common.wsgi_app:init_app()"\nbind = "127.0.0.1:{port}"\ntimeout = 120\n'
        "control_socket_disable = True\n"
    )
    environ = {**os.environ, "OS_GLANCE_CONFIG_DIR": str(folder), "GUNICORN_CMD_ARGS": f"--config {settings}"}
    with (folder / "out").open("w") as out:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("gunicorn")], env=environ, stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_until(lambda: _responds(url, process), 120)
        yield
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(60)


def _responds(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "Glance has ended"
    try:
        return requests.get(f"{url}/versions", timeout=5).status_code in (200, 300)
    except requests.RequestException:
        return False

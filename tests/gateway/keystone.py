"""A real Keystone on a free loopback port: sqlite, fernet tokens, gunicorn; users and roles made over its API."""

from __future__ import annotations

import contextlib
import getpass
import grp
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
from keystoneauth1.exceptions.connection import ConnectionError as NoConnection
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

PASSWORD = "correct horse"  # of everybody here
REGION = "RegionOne"
ADMIN = "admin"
SERVICE_USER = "nova"

USERS = {  # user: (project, roles)
    "alice": ("demo", ["member", "reader"]),
    "root": ("demo", ["admin"]),
    "night": ("demo", ["member", "backup"]),
    "bob": ("other", ["member", "reader"]),
}

_CONFIG = """\
[DEFAULT]
log_file = {folder}/keystone.log
[database]
connection = sqlite:///{folder}/keystone.db
[fernet_tokens]
key_repository = {folder}/fernet
[fernet_receipts]
key_repository = {folder}/fernet
[credential]
key_repository = {folder}/credential
[identity]
# bcrypt's least: no password here is worth more
password_hash_rounds = 4
[token]
expiration = {expiration}
"""

_GUNICORN = """\
threads = 4
timeout = 120
control_socket_disable = True
"""


class Keystone:
    """Start with :func:`running`; ``ids`` holds the ids of users and projects by name."""

    def __init__(self, folder: Path, sock: socket.socket) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}/v3"
        self.ids: dict[str, str] = {}
        self._config("keystone.conf", expiration=3600)
        for name in ("fernet", "credential"):
            (folder / name).mkdir(mode=0o700)
        self._manage("db_sync")
        owner = ["--keystone-user", getpass.getuser(), "--keystone-group", grp.getgrgid(os.getgid()).gr_name]
        self._manage("fernet_setup", *owner)
        urls = ["--bootstrap-public-url", self.url, "--bootstrap-internal-url", self.url]  # auth_token asks the latter
        self._manage("bootstrap", "--bootstrap-password", PASSWORD, *urls, "--bootstrap-region-id", REGION)

    def session(self, user: str, project: str | None = None, url: str = "") -> Session:
        """A session of keystoneauth's, which fetches a token when it needs one."""
        project = project or (USERS[user][0] if user in USERS else ADMIN)
        names = {"username": user, "user_domain_id": "default", "project_name": project, "project_domain_id": "default"}
        return Session(v3.Password(url or self.url, password=PASSWORD, **names))

    def token(self, user: str = "alice", url: str = "") -> str:
        """A fresh token."""
        token: str = self.session(user, url=url).get_token()
        return token

    def revoke(self, token: str) -> None:
        """Revoke a token, as its owner does who logs out."""
        response = self.session(ADMIN).delete(f"{self.url}/auth/tokens", headers={"X-Subject-Token": token})
        assert response.status_code == 204

    def expired_token(self) -> str:
        """A token that was good a moment ago, from a second Keystone on the same database and keys."""
        self._config("short.conf", expiration=1)
        with _listener() as sock, _serving(self.folder / "short.conf", sock) as url:
            token = self.token(url=f"{url}/v3")
        deadline = time.monotonic() + 30
        headers = {"X-Subject-Token": token}
        while self.session(ADMIN).get(f"{self.url}/auth/tokens", headers=headers, raise_exc=False).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        return token

    def publish(self, kind: str, url: str) -> None:
        """Put the public endpoint of a service into the catalog, in place of the one that was there."""
        identity = self._admin()
        service = next(identity.services(type=kind), None) or identity.create_service(name=f"a {kind}", type=kind)
        for endpoint in identity.endpoints(service_id=service.id):
            identity.delete_endpoint(endpoint)
        identity.create_endpoint(service_id=service.id, interface="public", url=url, region_id=REGION)

    def populate(self) -> None:
        """Make the users, their projects and roles, and the service user that auth_token is."""
        identity = self._admin()
        roles = {role.name: role.id for role in identity.roles()}
        everybody = {**USERS, SERVICE_USER: ("service", ["service"])}
        for user, (project, names) in everybody.items():
            if project not in self.ids:
                self.ids[project] = identity.create_project(name=project, domain_id="default").id
            made = identity.create_user(name=user, password=PASSWORD, domain_id="default")
            self.ids[user] = made.id
            for name in names:
                if name not in roles:
                    roles[name] = identity.create_role(name=name).id
                identity.assign_project_role_to_user(self.ids[project], made.id, roles[name])

    def authtoken(self) -> dict[str, str]:
        """The options of a ``[filter:authtoken]`` that asks this Keystone."""
        return {
            "auth_type": "password",
            "auth_url": self.url,
            "www_authenticate_uri": self.url,
            "username": SERVICE_USER,
            "password": PASSWORD,
            "project_name": "service",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }

    def _admin(self) -> Any:
        return openstack.connection.Connection(session=self.session(ADMIN)).identity

    def _config(self, name: str, **values: Any) -> None:
        (self.folder / name).write_text(_CONFIG.format(folder=self.folder, **values))

    def _manage(self, *args: str) -> None:
        command = [_bin("keystone-manage"), "--config-file", str(self.folder / "keystone.conf"), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Keystone]:
    """A Keystone with all its users, until the block ends."""
    with _listener() as sock:
        keystone = Keystone(folder, sock)
        with _serving(folder / "keystone.conf", sock):
            keystone.populate()
            yield keystone


def _bin(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _listener() -> socket.socket:
    """Bound here and handed on as a file descriptor, so that no port is lost to somebody else in between."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=64)
    sock.set_inheritable(True)
    return sock


@contextlib.contextmanager
def _serving(config: Path, sock: socket.socket) -> Iterator[str]:
    # The application takes sys.argv for its own options, so gunicorn's stand in a file that the environment names.
    settings = config.with_suffix(".py")
    settings.write_text(f'wsgi_app = "keystone.wsgi.api:application"\nbind = "fd://{sock.fileno()}"\n{_GUNICORN}')
    environ = {"OS_KEYSTONE_CONFIG_FILES": str(config), "GUNICORN_CMD_ARGS": f"--config {settings}"}
    with config.with_suffix(".out").open("w") as out:
        process = subprocess.Popen(
            [_bin("gunicorn")], env={**os.environ, **environ}, pass_fds=[sock.fileno()], stdout=out, stderr=out
        )
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    try:
        _wait(url, process)
        yield url
    finally:
        process.send_signal(signal.SIGQUIT)  # at once: SIGTERM would wait for connections that clients keep
        process.wait(60)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until it answers. Its socket listens already, so a request waits in the queue: for a dead server for ever."""
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None, f"gunicorn ended with {process.returncode}"
        assert time.monotonic() < deadline
        with contextlib.suppress(NoConnection):
            assert Session().get(f"{url}/v3", timeout=2).status_code == 200
            return

"""A real Keystone on a free loopback port: sqlite, fernet tokens, gunicorn; users and roles made over its API."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import openstack
from cryptography.fernet import Fernet
from keystoneauth1.exceptions.connection import ConnectionError as NoConnection
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

from tests.waiting import wait_until

PASSWORD = "correct horse"  # of every user here
REGION = "RegionOne"
ADMIN = "admin"
SERVICE_USER = "nova"

USERS = {  # user: (project, roles)
    "alice": ("demo", ["member", "reader"]),
    "root": ("demo", ["admin"]),
    "night": ("demo", ["member", "backup"]),
    "bob": ("other", ["member", "reader"]),
    "carol": ("third", ["member", "reader"]),
    SERVICE_USER: ("service", ["service"]),
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
    """A Keystone, started by :func:`serve_keystone`; ``ids`` are those of users and projects by name."""

    def __init__(self, folder: Path, sock: socket.socket) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}/v3"
        self.ids: dict[str, str] = {}
        self._tokens: dict[str, str] = {}
        self._write_config("keystone.conf", expiration=3600)
        for name in ("fernet", "credential"):
            (folder / name).mkdir(mode=0o700)
        for name in ("0", "1"):  # as keystone-manage fernet_setup does, which takes seconds
            (folder / "fernet" / name).write_bytes(Fernet.generate_key())
        self._manage("db_sync")
        urls = ["--bootstrap-public-url", self.url, "--bootstrap-internal-url", self.url]  # auth_token asks the latter
        self._manage("bootstrap", "--bootstrap-password", PASSWORD, *urls, "--bootstrap-region-id", REGION)

    def session(self, user: str, url: str = "") -> Session:
        """Return a session of keystoneauth's, which fetches a token when it needs one."""
        project, _ = USERS.get(user, (ADMIN, []))
        names = {"username": user, "user_domain_id": "default", "project_name": project, "project_domain_id": "default"}
        return Session(v3.Password(url or self.url, password=PASSWORD, **names))

    def token(self, user: str = "alice", url: str = "") -> str:
        """Return a fresh token."""
        token: str = self.session(user, url=url).get_token()
        return token

    def revoke(self, token: str) -> None:
        """Revoke a token, as its owner does on logging out."""
        response = self.session(ADMIN).delete(f"{self.url}/auth/tokens", headers={"X-Subject-Token": token})
        assert response.status_code == 204

    def trust_token(self, trustor: str, trustee: str) -> tuple[str, str]:
        """Let a user act as another one, as Heat does; return the token, and the trust's id."""
        trust = {
            "trustor_user_id": self.ids[trustor],
            "trustee_user_id": self.ids[trustee],
            "project_id": self.ids[USERS[trustor][0]],
            "impersonation": True,
            "roles": [{"name": "member"}, {"name": "reader"}],
        }
        made = self.session(trustor).post(f"{self.url}/OS-TRUST/trusts", json={"trust": trust}).json()["trust"]
        names = {"username": trustee, "user_domain_id": "default", "trust_id": made["id"]}
        return Session(v3.Password(self.url, password=PASSWORD, **names)).get_token(), made["id"]

    def application_credential_token(
        self, user: str, name: str, access_rules: Sequence[Mapping[str, str]] = ()
    ) -> tuple[str, str]:
        """Make an application credential, with access rules if there are any; return a token by it, and its id."""
        session = self.session(user)
        url = f"{self.url}/users/{self.ids[user]}/application_credentials"
        wanted: dict[str, Any] = {"name": name}
        if access_rules:
            wanted["access_rules"] = list(access_rules)
        made = session.post(url, json={"application_credential": wanted}).json()["application_credential"]
        plugin = v3.ApplicationCredential(
            self.url, application_credential_id=made["id"], application_credential_secret=made["secret"]
        )
        return Session(plugin).get_token(), made["id"]

    def expired_token(self) -> str:
        """Return a token that has just expired, from a second Keystone on the same database and keys."""
        self._write_config("short.conf", expiration=1)
        with _listen() as sock, _serve(self.folder / "short.conf", sock) as url:
            token = self.token(url=f"{url}/v3")
        admin = self.session(ADMIN)

        def is_expired() -> bool:
            headers = {"X-Subject-Token": token}
            response = admin.get(f"{self.url}/auth/tokens", headers=headers, raise_exc=False)
            return bool(response.status_code != 200)

        wait_until(is_expired, 30, interval=0.2)
        return token

    def cached_token(self, user: str) -> str:
        """Return a token of a user, always the same."""
        if user not in self._tokens:
            self._tokens[user] = self.token(user)
        return self._tokens[user]

    def project_of(self, user: str) -> str:
        """Return the id of a user's project."""
        return self.ids[USERS[user][0]]

    def publish(self, kind: str, url: str) -> None:
        """Put the endpoint of a service into the catalog, public and internal, in place of the previous one."""
        identity = self._admin()
        service = next(identity.services(type=kind), None) or identity.create_service(name=f"a {kind}", type=kind)
        for endpoint in identity.endpoints(service_id=service.id):
            identity.delete_endpoint(endpoint)
        for interface in ("public", "internal"):
            identity.create_endpoint(service_id=service.id, interface=interface, url=url, region_id=REGION)

    def withdraw(self, kind: str) -> None:
        """Take a service out of the catalog."""
        identity = self._admin()
        for service in identity.services(type=kind):
            identity.delete_service(service)

    def populate(self) -> None:
        """Create the users, their projects and roles."""
        identity = self._admin()
        roles = {role.name: role.id for role in identity.roles()}
        for user, (project, names) in USERS.items():
            if project not in self.ids:
                self.ids[project] = identity.create_project(name=project, domain_id="default").id
            self.ids[user] = identity.create_user(name=user, password=PASSWORD, domain_id="default").id
            for name in names:
                if name not in roles:
                    roles[name] = identity.create_role(name=name).id
                identity.assign_project_role_to_user(self.ids[project], self.ids[user], roles[name])

    def authtoken(self) -> dict[str, str]:
        """Return the options of a ``[filter:authtoken]`` that asks this Keystone."""
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

    def _write_config(self, name: str, **values: Any) -> None:
        (self.folder / name).write_text(_CONFIG.format(folder=self.folder, **values))

    def _manage(self, *args: str) -> None:
        command = [_program("keystone-manage"), "--config-file", str(self.folder / "keystone.conf"), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def serve_keystone(folder: Path) -> Iterator[Keystone]:
    """Run a Keystone with all its users until the block ends."""
    with _listen() as sock:
        keystone = Keystone(folder, sock)
        with _serve(folder / "keystone.conf", sock):
            keystone.populate()
            yield keystone


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _listen() -> socket.socket:
    """Open the socket here and hand it on as a file descriptor: nobody else can take the port in between."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=64)
    sock.set_inheritable(True)
    return sock


@contextlib.contextmanager
def _serve(config: Path, sock: socket.socket) -> Iterator[str]:
    # The application takes sys.argv for its own options, so gunicorn's are in a file that the environment names.
    settings = config.with_suffix(".py")
    settings.write_text(f'wsgi_app = "keystone.wsgi.api:application"\nbind = "fd://{sock.fileno()}"\n{_GUNICORN}')
    environ = {"OS_KEYSTONE_CONFIG_FILES": str(config), "GUNICORN_CMD_ARGS": f"--config {settings}"}
    with config.with_suffix(".out").open("w") as out:
        process = subprocess.Popen(
            [_program("gunicorn")], env={**os.environ, **environ}, pass_fds=[sock.fileno()], stdout=out, stderr=out
        )
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    try:
        wait_until(lambda: _responds(url, process), 120)
        yield url
    finally:
        process.send_signal(signal.SIGQUIT)  # at once: SIGTERM would wait for connections that clients keep
        process.wait(60)


def _responds(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Return whether Keystone responds. Its socket listens already, so a request to a dead one would wait for ever."""
    assert process.poll() is None, f"gunicorn ended with {process.returncode}"
    with contextlib.suppress(NoConnection):
        assert Session().get(f"{url}/v3", timeout=2).status_code == 200
        return True
    return False

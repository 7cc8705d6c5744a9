"""A real Nova in this process: its API, conductor, scheduler, compute and placement, on its own test fixtures.

Nova's package brings the harness (``nova.tests.functional``): databases in memory, a fake hypervisor and a fake image
service. The API is Nova's own WSGI application, loaded from a paste file as an operator would write it, with the real
``auth_token`` in its pipeline; only the answers of Keystone are canned. What Nova asks of the image service is
recorded: the tests assert on that side of the filter.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from imagefilter import filter_factory
from tests.cases import PROJECT
from tests.requests import send

NOVA = int(metadata.version("nova").partition(".")[0])

if NOVA >= 34:  # native threads, as nova-api and every service run; must be said before Nova is imported
    os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "true"
warnings.simplefilter("ignore")  # eventlet's, at the import of Nova

import nova.tests.functional  # noqa: E402, F401  # chooses threads or eventlet: before all else
from fixtures import MonkeyPatch  # noqa: E402
from keystonemiddleware import auth_token  # noqa: E402
from keystonemiddleware.fixture import AuthTokenFixture  # noqa: E402
from nova import context as nova_context  # noqa: E402
from nova import objects  # noqa: E402
from nova.api import wsgi  # noqa: E402
from nova.compute import vm_states  # noqa: E402
from nova.tests.fixtures import glance  # noqa: E402
from nova.tests.functional import integrated_helpers  # noqa: E402

SHIPPED_PASTE = Path(sys.prefix, "etc/nova/api-paste.ini")
OTHER_PROJECT = "0123456789abcdef0123456789abcdef"
IMAGE = "155d900f-4e14-4e4c-a73d-069cbf4541e6"  # one of the fake image service's
KEYSTONE = "http://127.0.0.1:5000/v3"

TOKENS = {  # token: (user, project, roles)
    "member": ("alice", PROJECT, ["reader", "member"]),
    "reader": ("rita", PROJECT, ["reader"]),
    "admin": ("root", PROJECT, ["reader", "member", "admin"]),
    "other": ("bob", OTHER_PROJECT, ["reader", "member"]),
    "expired": ("alice", PROJECT, ["reader", "member"]),
}


class Image(NamedTuple):
    """An image that Nova asked the image service to make."""

    name: str
    metadata: dict[str, str]  # the client's share of the properties


class Cloud(integrated_helpers._IntegratedTestBase):
    """Start with ``setUp()``, end with ``doCleanups()``."""

    __test__ = False  # not a test for pytest to collect
    STUB_KEYSTONE = False

    def runTest(self) -> None:  # noqa: N802
        """Needed by unittest, which knows no other way to make a TestCase."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="imagefilter-nova-"))
        self.journal = self.folder / "audit.jsonl"
        self._read = 0
        self._apps: dict[Any, Any] = {}
        self._made: list[dict[str, Any]] = []
        super().setUp()
        self.bare = self.app(None)
        self.server = self.new_server()
        self._own_properties = self._find_own_properties()

    def _setup_services(self) -> None:
        # ConfFixture points at a path that the wheel does not have.
        self.flags(api_paste_config=str(self.paste_file(None)), group="wsgi")
        self._keystone = self.useFixture(AuthTokenFixture())
        for token, (user, project, roles) in TOKENS.items():
            self._add_token(token, user, project, roles)
        # A quota is only set for a project that Keystone knows, and all are.
        self.useFixture(MonkeyPatch("nova.api.openstack.identity.verify_project_id", lambda *args: True))
        self._record_images()
        super()._setup_services()

    def app(self, options: Mapping[str, str] | None, authtoken: str = "authtoken keystonecontext") -> Any:
        """Nova's WSGI application; with ``options`` the filter stands in both of its pipelines."""
        key = (None if options is None else tuple(options.items()), authtoken)
        if key not in self._apps:
            path = str(self.paste_file(options, authtoken))
            self._apps[key] = wsgi.Loader(path).load_app("osapi_compute")
        return self._apps[key]

    def asking(self, keystone: Mapping[str, str]) -> Any:
        """Nova's WSGI application, whose auth_token asks a real Keystone.

        :param keystone: options of auth_token that say where that is, and who it is there.
        """
        path = self.paste_file(None, "askingauth keystonecontext")
        lines = [f"{key} = {value}" for key, value in keystone.items()]
        factory = "paste.filter_factory = tests.nova.cloud:asking_auth_factory"
        path.write_text(path.read_text() + "\n".join(["[filter:askingauth]", factory, *lines, ""]))
        return wsgi.Loader(str(path)).load_app("osapi_compute")

    def unauthenticated(self, options: Mapping[str, str]) -> Any:
        """The filter in front of everything, auth_token included."""
        return filter_factory({}, **options)(self.bare)

    def paste_file(self, options: Mapping[str, str] | None, authtoken: str = "authtoken keystonecontext") -> Path:
        """Nova's own api-paste.ini, with the filter behind keystonecontext if there are options for it."""
        text = SHIPPED_PASTE.read_text()
        pipeline = authtoken if options is None else f"{authtoken} imagefilter"
        assert text.count(" authtoken keystonecontext ") == 2
        text = text.replace(" authtoken keystonecontext ", f" {pipeline} ")
        text += f"www_authenticate_uri = {KEYSTONE}\n"  # the last section is [filter:authtoken]
        if options is not None:
            lines = [f"{key} = {value}" for key, value in {"audit_journal": self.journal, **options}.items()]
            text += "\n".join(["[filter:imagefilter]", "use = egg:imagefilter", *lines, ""])
        text += "[filter:vendorauth]\npaste.filter_factory = tests.nova.cloud:vendor_auth_factory\n"
        path = Path(tempfile.mkstemp(suffix=".ini", prefix="api-paste-", dir=self.folder)[1])
        path.write_text(text)
        return path

    def images(self) -> list[Image]:
        """The images made since the last call."""
        made = [
            Image(each["name"], {k: v for k, v in each["properties"].items() if k not in self._own_properties})
            for each in self._made
        ]
        self._made.clear()
        return made

    def records(self) -> list[dict[str, Any]]:
        """The audit records written since the last call."""
        if not self.journal.exists():
            return []
        with self.journal.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]  # a gateway may be just writing the next one
        self._read += len(whole) + 1 if whole else 0
        return [json.loads(line) for line in whole.splitlines()]

    def new_server(self) -> str:
        """Boot a server and wait until it is ACTIVE; return its id."""
        server = {"name": "web-1", "imageRef": IMAGE, "flavorRef": "1", "networks": "none"}
        headers = {"X-Auth-Token": "member", "OpenStack-API-Version": "compute 2.37"}
        response = send(self.bare, "POST", "/v2.1/servers", {"server": server}, headers)
        assert response.status_int == 202, response.text
        server_id: str = response.json["server"]["id"]
        self.settle(server_id)
        return server_id

    def settle(self, server_id: str = "") -> None:
        """Wait until the compute host has finished what it was asked: a second snapshot meanwhile is a 409."""
        with self._instance(server_id or self.server) as instance:
            for _ in range(2000):
                if instance.vm_state != vm_states.BUILDING and instance.task_state is None:
                    return
                time.sleep(0.005)
                instance.refresh()
            raise AssertionError(f"the server does not settle: {instance}")

    @contextlib.contextmanager
    def _instance(self, server_id: str) -> Iterator[objects.Instance]:
        admin = nova_context.get_admin_context()
        mapping = objects.InstanceMapping.get_by_instance_uuid(admin, server_id)
        with nova_context.target_cell(admin, mapping.cell_mapping) as cell:
            yield objects.Instance.get_by_uuid(cell, server_id)

    def set_state(self, **state: Any) -> None:
        """Set vm_state or task_state of the server behind Nova's back."""
        with self._instance(self.server) as instance:
            for name, value in state.items():
                setattr(instance, name, value)
            instance.save()

    def _add_token(self, token: str, user: str, project: str, roles: list[str]) -> None:
        domain = {"user_domain_id": "default", "user_domain_name": "Default"}
        domain.update(project_domain_id="default", project_domain_name="Default")
        age = -1 if token == "expired" else 1
        expires = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + datetime.timedelta(hours=age)
        self._keystone.add_token_data(
            token_id=token,
            expires=expires,
            user_id=f"{user}-id",
            user_name=user,
            project_id=project,
            project_name=f"{project[:4]}-name",
            role_list=roles,
            **domain,
        )

    def _record_images(self) -> None:
        create = glance.GlanceFixture.create

        def recording(fixture: Any, context: Any, metadata: dict[str, Any], data: Any = None) -> Any:
            self._made.append(copy.deepcopy(metadata))
            return create(fixture, context, metadata, data)

        glance.GlanceFixture.create = recording
        self.addCleanup(setattr, glance.GlanceFixture, "create", create)

    def _find_own_properties(self) -> set[str]:
        """Names of the properties that Nova itself gives an image."""
        path = f"/v2.1/servers/{self.server}/action"
        backup = {"name": "x", "backup_type": "x", "rotation": 9}
        for document in ({"createImage": {"name": "x"}}, {"createBackup": backup}):
            response = send(self.bare, "POST", path, document, {"X-Auth-Token": "member"})
            assert response.status_int == 202, response.text
            self.settle()
        names = {name for each in self._made for name in each["properties"]}
        self._made.clear()
        return names


class AskingAuth(auth_token.AuthProtocol):
    """auth_token as it is, bound before the fixture patches its base."""

    fetch_token = auth_token.AuthProtocol.fetch_token


def asking_auth_factory(global_conf: dict[str, str], **conf: str) -> Any:
    return lambda app: AskingAuth(app, conf)


def vendor_auth_factory(global_conf: dict[str, str]) -> Any:
    """Authentication that is not Keystone's: a ``nova.context`` and nothing of auth_token's."""

    def factory(app: Any) -> Any:
        def authenticate(environ: dict[str, Any], start_response: Any) -> Any:
            user, project, roles = TOKENS[environ["HTTP_X_AUTH_TOKEN"]]
            environ["nova.context"] = nova_context.RequestContext(user, project, roles=roles)
            return app(environ, start_response)

        return authenticate

    return factory

"""A real Nova in this process: its API, conductor, scheduler, compute and placement, on its own test fixtures.

Nova's package contains the harness (``nova.tests.functional``): databases in memory, a fake hypervisor and a fake image
service. The API is Nova's own WSGI application, loaded from a paste file as an operator would write it, with the real
``auth_token`` in its pipeline; only Keystone's responses are canned. Nova's calls to the image service are recorded:
the tests assert on that side of the filter.
"""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Optional

import webob

from imagefilter import filter_factory
from tests.records import parse_requests
from tests.waiting import wait_until
from tests.wsgi import send

NOVA = int(metadata.version("nova").partition(".")[0])

if NOVA >= 34:  # native threads, as nova-api and every service run; must be set before Nova is imported
    os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "true"
warnings.simplefilter("ignore")  # eventlet's, at the import of Nova

import nova.tests.functional  # noqa: E402, F401  # chooses threads or eventlet: before all other modules of Nova
from fixtures import MonkeyPatch  # noqa: E402
from keystonemiddleware.fixture import AuthTokenFixture  # noqa: E402
from nova import context as nova_context  # noqa: E402
from nova import objects  # noqa: E402
from nova import policy as nova_policy  # noqa: E402
from nova.api import wsgi  # noqa: E402
from nova.compute import vm_states  # noqa: E402
from nova.db.main import api as main_db  # noqa: E402
from nova.db.main import models  # noqa: E402
from nova.tests.fixtures import glance  # noqa: E402
from nova.tests.functional import integrated_helpers  # noqa: E402
from sqlalchemy.pool import QueuePool  # noqa: E402

from tests.nova.authentication import AUTHTOKEN, KEYSTONE, TOKENS, VENDOR_AUTH, add_token  # noqa: E402
from tests.nova.images import Image  # noqa: E402
from tests.nova.volumes import Cinder  # noqa: E402

SHIPPED_PASTE = Path(sys.prefix, "etc/nova/api-paste.ini")
IMAGE = "155d900f-4e14-4e4c-a73d-069cbf4541e6"  # one of the fake image service's

Options = Optional[Mapping[str, str]]


class Cloud(integrated_helpers._IntegratedTestBase):
    """Start with ``setUp()``, end with ``doCleanups()``."""

    __test__ = False  # not a test for pytest to collect
    STUB_KEYSTONE = False

    def runTest(self) -> None:  # noqa: N802
        """Do nothing: unittest needs this method to make a TestCase."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="imagefilter-nova-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.journal = self.folder / "audit.jsonl"
        self._journal_position = 0  # up to which records() has read
        self._apps: dict[str, Any] = {}
        self._cells: dict[str, objects.CellMapping] = {}  # by server
        self.base_images = {IMAGE}  # that servers are booted from
        self._created: list[dict[str, Any]] = []  # as they were sent to the image service
        if NOVA >= 34:  # where the databases are files: opening one for each transaction is a third of an image's time
            self.useFixture(MonkeyPatch("oslo_db.sqlalchemy.engines.pool.NullPool", QueuePool))
        super().setUp()
        self.cinder = self.useFixture(Cinder(self))
        # Nova's harness lets each idle thread poll for work 100 times a second, so that a short test ends soon. With
        # its dozens of threads that is half of the processor, and this cloud lives for a whole run of tests.
        self.useFixture(MonkeyPatch("futurist._thread.ThreadWorker.MAX_IDLE_FOR", 1))
        self.bare = self.app(None)
        self.server = self.new_server()
        self.own_properties = self._find_own_properties()
        self._on_volume: tuple[str, set[str]] | None = None  # a server, and the properties of its images

    def _setup_services(self) -> None:
        self.flags(compute_driver="fake.FakeDriver")  # the harness's own has room for eight servers
        self.flags(instances=-1, cores=-1, ram=-1, group="quota")
        # ConfFixture points at a path that the wheel does not have.
        self.flags(api_paste_config=str(self.write_paste_file(None)), group="wsgi")
        self._keystone = self.useFixture(AuthTokenFixture())
        for token in TOKENS:
            add_token(self._keystone, token)
        # A quota is only set for a project that Keystone knows, and all are.
        self.useFixture(MonkeyPatch("nova.api.openstack.identity.verify_project_id", lambda *args: True))
        self._record_images()
        super()._setup_services()

    def app(self, options: Options, authentication: str = AUTHTOKEN) -> Any:
        """Return Nova's WSGI application; with ``options`` the filter is in both of its pipelines."""
        key = repr((options, authentication))
        if key not in self._apps:
            path = str(self.write_paste_file(options, authentication))
            self._apps[key] = wsgi.Loader(path).load_app("osapi_compute")
        return self._apps[key]

    def app_with_keystone(self, options: Mapping[str, str], filter_options: Options = None) -> Any:
        """Return Nova's WSGI application with an auth_token that asks a real Keystone.

        :param options: of auth_token: the URL of Keystone, and its own user there.
        :param filter_options: with these the filter is in Nova's pipelines.
        """
        path = self.write_paste_file(filter_options, "realauthtoken keystonecontext")
        section = {"paste.filter_factory": "tests.nova.authentication:real_auth_token_factory"}
        section.update(options)
        path.write_text(path.read_text() + _section("filter:realauthtoken", section))
        return wsgi.Loader(str(path)).load_app("osapi_compute")

    def filter_in_front(self, options: Mapping[str, str]) -> Any:
        """Return the filter in front of the whole of Nova, so that nothing authenticates before it."""
        return filter_factory({}, **{"audit_journal": str(self.journal), **options})(self.bare)

    def write_paste_file(self, options: Options, authentication: str = AUTHTOKEN) -> Path:
        """Write Nova's own api-paste.ini, with the filter behind keystonecontext if there are options for it."""
        text = SHIPPED_PASTE.read_text()
        assert text.count(f" {AUTHTOKEN} ") == 2
        pipeline = authentication
        if options is not None:
            pipeline += " imagefilter"
        text = text.replace(f" {AUTHTOKEN} ", f" {pipeline} ")
        text += f"www_authenticate_uri = {KEYSTONE}\n"  # the last section is [filter:authtoken]
        if options is not None:
            section = {"use": "egg:nova-imagefilter", "audit_journal": str(self.journal)}
            section.update(options)
            text += _section("filter:imagefilter", section)
        vendor_auth = {"paste.filter_factory": "tests.nova.authentication:vendor_auth_factory"}
        text += _section(f"filter:{VENDOR_AUTH}", vendor_auth)
        path = Path(tempfile.mkstemp(suffix=".ini", prefix="api-paste-", dir=self.folder)[1])
        path.write_text(text)
        return path

    def post_action(
        self, app: Any, document: Any, prefix: str = "/v2.1", headers: Mapping[str, str] | None = None
    ) -> webob.Response:
        """Send an action of the server to an application, and wait until the compute host has finished it.

        :param headers: beside the token ``member``, or to replace it.
        """
        sent = {"X-Auth-Token": "member"}
        sent.update(headers or {})
        response = send(app, "POST", f"{prefix}/servers/{self.server}/action", document, sent)
        self.settle()
        return response

    def images(self) -> list[Image]:
        """Return the images made since the last call."""
        images = []
        for created in self._created:
            properties = created["properties"]
            given = {name: properties[name] for name in properties if name not in self.own_properties}
            images.append(Image(created["name"], given))
        self._created.clear()
        return images

    def records(self) -> list[dict[str, Any]]:
        """Return the audit records written since the last call."""
        if not self.journal.exists():
            return []
        with self.journal.open("rb") as file:
            file.seek(self._journal_position)
            lines, newline, _ = file.read().rpartition(b"\n")  # a gateway may be writing the next one
        self._journal_position += len(lines) + len(newline)
        return parse_requests(lines.splitlines())

    def shorten_journal(self, limit: int) -> None:
        """Empty the journal if more than ``limit`` bytes of it have been read."""
        if self._journal_position > limit:
            os.truncate(self.journal, 0)
            self._journal_position = 0

    def new_server(self, members: Mapping[str, Any] | None = None, token: str = "member") -> str:
        """Boot a server and wait until it is ACTIVE; return its id.

        :param members: of the document, in place of its own.
        :param token: of the project that gets it.
        """
        server = {"name": "web-1", "imageRef": IMAGE, "flavorRef": "1", "networks": "none", **(members or {})}
        headers = {"X-Auth-Token": token, **microversion("2.37")}
        response = send(self.bare, "POST", "/v2.1/servers", {"server": server}, headers)
        assert response.status_int == 202, response.text
        server_id: str = response.json["server"]["id"]
        self.settle(server_id)
        booted = send(self.bare, "GET", f"/v2.1/servers/{server_id}", None, headers).json["server"]
        assert booted["status"] == "ACTIVE", booted.get("fault")
        return server_id

    @contextlib.contextmanager
    def on_volume(self) -> Iterator[None]:
        """Use a server that boots from a volume for a while: Nova makes a Cinder snapshot, and an image of that."""
        before = self.server, self.own_properties
        if not self._on_volume:
            self.server = self.new_server(self._boot_from_volume())
            self._on_volume = self.server, self._find_own_properties()
        self.server, self.own_properties = self._on_volume
        try:
            yield
        finally:
            self.server, self.own_properties = before

    def _boot_from_volume(self) -> dict[str, Any]:
        volume = {"boot_index": 0, "source_type": "volume", "destination_type": "volume"}
        volume["uuid"] = self.cinder.IMAGE_BACKED_VOL
        self.cinder.volume_to_attachment.pop(volume["uuid"], None)  # there is this one, and it is attached once
        return {"imageRef": "", "block_device_mapping_v2": [volume]}

    def snapshots(self) -> int:
        """Return how many snapshots of volumes Nova has made."""
        return len(self.cinder.volume_snapshots)

    def settle(self, server_id: str = "") -> None:
        """Wait until the compute host has finished its task: a second snapshot meanwhile is a 409."""
        server_id = server_id or self.server
        with self._cell(server_id) as cell:
            wait_until(lambda: _is_settled(cell, server_id), interval=0.005)

    @contextlib.contextmanager
    def _cell(self, server_id: str) -> Iterator[nova_context.RequestContext]:
        """Return an admin's context for the cell of a server."""
        admin = nova_context.get_admin_context()
        if server_id not in self._cells:
            mapping = objects.InstanceMapping.get_by_instance_uuid(admin, server_id)
            self._cells[server_id] = mapping.cell_mapping
        with nova_context.target_cell(admin, self._cells[server_id]) as cell:
            yield cell

    @contextlib.contextmanager
    def state(self, **state: Any) -> Iterator[None]:
        """Change vm_state or task_state of the server in Nova's database for a while."""
        self._set_state(**state)
        try:
            yield
        finally:
            self._set_state(vm_state=vm_states.ACTIVE, task_state=None)

    @contextlib.contextmanager
    def policy_rule(self, rule: str, check: str) -> Iterator[None]:
        """Change a rule of Nova's own policy for a while.

        :param check: in oslo.policy's language.
        """
        before = str(nova_policy._ENFORCER.rules[rule])
        self.policy.set_rules({rule: check}, overwrite=False)
        try:
            yield
        finally:
            self.policy.set_rules({rule: before}, overwrite=False)

    def _set_state(self, **state: Any) -> None:
        with self._cell(self.server) as cell:
            instance = objects.Instance.get_by_uuid(cell, self.server)
            for name, value in state.items():
                setattr(instance, name, value)
            instance.save()

    def _record_images(self) -> None:
        create = glance.GlanceFixture.create

        def record_and_create(fixture: Any, context: Any, metadata: dict[str, Any], data: Any = None) -> Any:
            self._created.append(copy.deepcopy(metadata))
            return create(fixture, context, metadata, data)

        def delete_others(fixture: Any, context: Any, image_id: str) -> None:
            if image_id not in self.base_images:  # the fake lists them as backups of any server: rotation deletes those
                delete(fixture, context, image_id)

        delete = glance.GlanceFixture.delete
        glance.GlanceFixture.create = record_and_create
        glance.GlanceFixture.delete = delete_others
        self.addCleanup(setattr, glance.GlanceFixture, "create", create)
        self.addCleanup(setattr, glance.GlanceFixture, "delete", delete)

    def _find_own_properties(self) -> set[str]:
        """Return the names of the properties that Nova itself gives an image."""
        path = f"/v2.1/servers/{self.server}/action"
        backup = {"name": "x", "backup_type": "x", "rotation": 9}
        for document in ({"createImage": {"name": "x"}}, {"createBackup": backup}):
            response = send(self.bare, "POST", path, document, {"X-Auth-Token": "member"})
            # A server that boots from a volume can't be backed up.
            assert response.status_int in (202, 400), response.text
            self.settle()
        names: set[str] = set()
        for created in self._created:
            names.update(created["properties"])
        self._created.clear()
        return names


def microversion(version: str | None) -> dict[str, str]:
    """Return the headers that ask for a microversion; none for None."""
    if version is None:
        return {}
    return {"OpenStack-API-Version": f"compute {version}"}


def _is_settled(cell: nova_context.RequestContext, server_id: str) -> bool:
    # Only two columns: it takes Nova many times longer to read a whole Instance.
    with main_db.get_context_manager(cell).reader.using(cell) as session:
        states = session.query(models.Instance.vm_state, models.Instance.task_state)
        vm_state, task_state = states.filter_by(uuid=server_id).one()
    return vm_state != vm_states.BUILDING and task_state is None


def _section(name: str, options: Mapping[str, str]) -> str:
    lines = [f"[{name}]"]
    lines += [f"{key} = {text}" for key, text in options.items()]
    return "\n".join(lines) + "\n"

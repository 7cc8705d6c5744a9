"""The sets of files in etc/clouds, each started on a real Nova, Keystone and Glance."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.coordination.servers import serve
from tests.gateway.client import Response
from tests.gateway.nova import ServedNova
from tests.gateway.servers import Gateway, Journal, fill_in_paste_file, run_server
from tests.limits.glance import Glance
from tests.limits.test_limits import Tenant
from tests.paths import ETC

CLOUDS = ETC.parent / "clouds"
PROJECT_OF_THE_SETS = "0123456789abcdef" * 2
ETCD_OF_THE_SETS = "etcd3+http://etcd.example:2379"


class Files:
    """One of the sets, as an operator would adapt it to this machine."""

    def __init__(self, name: str, folder: Path, etcd_url: str, bobs_project: str) -> None:
        self.folder = folder
        for file in (CLOUDS / name).iterdir():
            text = file.read_text()
            text = re.sub("/(etc|var/log)/imagefilter/", f"{folder}/", text)
            text = text.replace(ETCD_OF_THE_SETS, etcd_url).replace(PROJECT_OF_THE_SETS, bobs_project)
            (folder / file.name).write_text(text)
        self.config = folder / "imagefilter.conf"

    def section(self) -> dict[str, str]:
        """Return the filter's options in the set's api-paste.ini; its factory is how Nova loads it here."""
        parser = configparser.RawConfigParser()
        parser.read(self.folder / "api-paste.ini")
        options = dict(parser["filter:imagefilter"])
        assert options.pop("paste.filter_factory") == "imagefilter:filter_factory"
        return {**options, "audit_journal": str(self.folder / "audit.jsonl")}


@pytest.fixture(scope="module")
def etcd_url(nova: ServedNova, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve("etcd", tmp_path_factory.mktemp("etcd")) as server:
        yield server.url


@pytest.fixture
def files(request: pytest.FixtureRequest, etcd_url: str, glance: Glance, tmp_path: Path) -> Files:
    return Files(request.param, tmp_path, etcd_url, glance.keystone.project_of("bob"))


def use_files(name: str) -> Any:
    return pytest.mark.parametrize("files", [name], indirect=True)


@pytest.mark.parametrize("files", ["lab", "private", "public"], indirect=True)
def test_the_check_is_content(files: Files) -> None:
    command = [Path(sys.executable).with_name("imagefilter"), "check", files.config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "metadata_reserved" not in done.stderr, "the image's own fields are reserved"
    assert "Eventlet" not in done.stderr, "what the client of etcd loads is not the operator's"


@use_files("lab")
def test_a_lab(nova: ServedNova, glance: Glance, files: Files) -> None:
    alice = Tenant(nova, glance, "alice", **files.section())
    assert alice.image(name="test").status_int == 403
    response = alice.image(name="web-1-before-upgrade")
    assert response.status_int == 202
    assert response.headers["X-Snapshot-Usage"] == "project=1/20"
    [image] = glance.snapshots()
    assert "imagefilter_expires" in image


@use_files("private")
def test_a_private_cloud(nova: ServedNova, glance: Glance, files: Files) -> None:
    options = files.section()
    alice, night = Tenant(nova, glance, "alice", **options), Tenant(nova, glance, "night", **options)
    paid = {"cost-centre": "4711-AB"}
    assert alice.image().status_int == 403
    assert alice.image(metadata={**paid, "backup-job": "7"}).status_int == 403
    assert alice.backup(15, metadata=paid).status_int == 403
    assert alice.image(metadata=paid).headers["X-Snapshot-Usage"] == "server=1/5"
    [image] = glance.snapshots()
    assert re.fullmatch("[0-9a-f]{32}", image["made_by"])
    assert night.backup(30, metadata={"backup-job": "7"}).status_int == 202
    bob = Tenant(nova, glance, "bob", **options)
    response = bob.image(nova.cloud.new_server(token="bob"), metadata=paid)
    assert response.headers["X-Snapshot-Usage"] == "server=1/20"


@pytest.fixture
def gateway(files: Files, nova: ServedNova, glance: Glance) -> Iterator[Gateway]:
    """Run the set's gateway as its unit does."""
    pytest.importorskip("cel_expr_python", reason="no CEL for this Python")
    sections = {"filter:authtoken": glance.keystone.authtoken()}
    paste = files.folder / "gateway.ini"
    paste.write_text(fill_in_paste_file(nova.url, sections, "gateway", paste))
    log = files.folder / "log"
    with run_server("granian", paste, log, workers=2, threads=8, environ={}) as (port, process):
        yield Gateway(port, process, Journal(files.folder / "audit.jsonl"), log)


@use_files("public")
def test_a_public_cloud(nova: ServedNova, glance: Glance, gateway: Gateway) -> None:
    assert ask(gateway, glance, "alice", nova.cloud.server).header("X-Snapshot-Usage") == (
        "server=1/10, project=1/50, in_progress=1/5"
    )
    bobs = nova.cloud.new_server(token="bob")
    assert ask(gateway, glance, "bob", bobs).header("X-Snapshot-Usage") == (
        "server=1/10, project=1/500, in_progress=1/20"
    )
    licensed = glance.create("root", name="windows", visibility="public", os_distro="windows", min_disk=1)["id"]
    glance.upload(licensed, "root")
    try:
        response = ask(gateway, glance, "alice", nova.cloud.new_server({"imageRef": licensed}))
    finally:
        glance.delete(licensed, "root")
    assert response.status == 403
    assert response.message == "The licence of this server's image does not permit copies (no-licensed-images)"
    assert len(glance.snapshots()) == 1


def ask(gateway: Gateway, glance: Glance, user: str, server: str) -> Response:
    headers = {"X-Auth-Token": glance.keystone.cached_token(user)}
    document = {"createImage": {"name": "x"}}
    return gateway.send_request("POST", f"/v2.1/servers/{server}/action", document, headers)


def test_the_gateways_paste_file_is_the_shipped_one_but_for_what_a_front_and_a_policy_need() -> None:
    shipped = (ETC / "gateway.ini").read_text().splitlines()
    own = (CLOUDS / "public" / "gateway.ini").read_text().splitlines()
    changed = [line for line in own if line not in shipped]
    assert changed == [
        "oslo_config_project = imagefilter",
        "oslo_config_file = /etc/imagefilter/imagefilter.conf",
        "enable_proxy_headers_parsing = true",
    ]
    assert len(own) == len(shipped)

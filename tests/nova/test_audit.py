"""Records of a real Nova's images: who, what, why, and what became of it; and none is missing after kill -9."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import waitress

from tests.cases import CASES, PROJECT, SERVER, image
from tests.nova.cloud import Cloud
from tests.requests import send

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("KILLS", "200"))


def post(cloud: Cloud, app: Any, document: Any, server: str = "", prefix: str = "/v2.1", **headers: str) -> Any:
    path = f"{prefix}/servers/{server or cloud.server}/action"
    return send(app, "POST", path, document, {"X-Auth-Token": "member", **headers})


def content(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = record["attachments"][0]["content"]
    return found


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
@pytest.mark.parametrize("version", ["2.1", "2.45"])
def test_an_image(cloud: Cloud, version: str, prefix: str) -> None:
    headers = {
        "OpenStack-API-Version": f"compute {version}",
        "User-Agent": "openstacksdk",
        "X-OpenStack-Request-ID": GLOBAL,
    }
    response = post(cloud, cloud.app({}), image(metadata={"a": "b"}), prefix=prefix, **headers)
    made = response.json["image_id"] if response.body else response.headers["Location"].rpartition("/")[2]
    verdict, answer = cloud.records()
    for record in (verdict, answer):
        initiator = record["initiator"]
        assert (initiator["id"], initiator["name"], initiator["domain"]) == ("alice-id", "alice", "Default")
        assert (initiator["project_id"], initiator["project_name"]) == (PROJECT, "6f70-name")
        assert (initiator["vouched"], initiator["roles"]) == (True, ["member", "reader"])
        assert initiator["request_id"] == response.headers["X-OpenStack-Request-ID"]
        assert initiator["global_request_id"] == GLOBAL
        assert initiator["host"] == {"address": "203.0.113.7", "agent": "openstacksdk"}
        assert record["target"]["id"] == cloud.server
    assert (content(verdict)["verdict"], content(verdict)["metadata_keys"]) == ("allow", ["a"])
    assert (content(answer)["status"], content(answer)["image_id"], answer["outcome"]) == (202, made, "success")
    assert content(answer)["verdict_id"] == verdict["id"]
    assert 0 < content(answer)["seconds"] < 60


GLOBAL = f"req-{uuid.uuid4()}"


def test_a_backup_and_a_shelved_server(cloud: Cloud) -> None:
    app = cloud.app({"actions": "createImage, createBackup, shelve"})
    response = post(cloud, app, {"createBackup": {"name": "weekly", "backup_type": "weekly", "rotation": 50}})
    _, answer = cloud.records()
    assert content(answer)["image_id"] == response.headers["Location"].rpartition("/")[2]
    server = cloud.new_server()
    assert post(cloud, app, {"shelve": None}, server).status_int == 202
    cloud.settle(server)
    verdict, answer = cloud.records()
    assert (content(verdict)["action"], answer["action"]) == ("shelve", "capture/image")


def test_what_nova_refuses(cloud: Cloud) -> None:
    app = cloud.app({})
    post(cloud, app, image(), server=str(uuid.uuid4()))
    post(cloud, app, image(" x "))
    post(cloud, app, image(), **{"X-Auth-Token": "other"})
    outcomes = [(content(record)["status"], record["outcome"]) for record in cloud.records()[1::2]]
    assert outcomes == [(404, "failure"), (400, "failure"), (404, "failure")]


def test_a_refusal_in_each_pipeline(cloud: Cloud) -> None:
    for prefix in ("/v2.1", "/v2"):
        assert post(cloud, cloud.app({"snapshots_enabled": "no"}), image(), prefix=prefix).status_int == 400
        [record] = cloud.records()
        assert (content(record)["rule"], record["initiator"]["name"]) == ("snapshots-enabled", "alice")


def test_no_token_no_record(cloud: Cloud) -> None:
    assert send(cloud.app({}), "POST", f"/v2.1/servers/{cloud.server}/action", image()).status_int == 401
    assert send(cloud.unauthenticated({}), "POST", f"/v2.1/servers/{cloud.server}/action", image()).status_int == 401
    assert cloud.records() == []


def test_behind_nobody_the_identity_is_a_claim(cloud: Cloud) -> None:
    app = cloud.unauthenticated({"audit_journal": str(cloud.journal)})
    forged = {"X-User-Name": "root", "X-User-Id": "root", "X-Roles": "admin"}
    assert post(cloud, app, image(), **forged).status_int == 202
    verdict, _ = cloud.records()
    assert verdict["initiator"]["vouched"] is False
    assert verdict["initiator"]["claims"]["user_id"] == "root"


def test_of_the_whole_case_table_every_image_has_its_record(cloud: Cloud) -> None:
    for case in CASES:
        headers = {**case.headers, "X-Auth-Token": "member"}
        path = case.path.replace(SERVER, "{server}").format(server=cloud.server)
        send(cloud.app(case.options), "POST", f"/v2.1{path}", case.body, headers)
        cloud.settle()
    made = sorted(each.name for each in cloud.images())
    records = cloud.records()
    allowed = {
        record["id"]: content(record)["image_name"] for record in records if content(record).get("verdict") == "allow"
    }
    answered = [content(record) for record in records if record["eventType"] == "activity"]
    assert made == sorted(allowed[each["verdict_id"]] for each in answered if each["status"] == 202)
    assert len(answered) == len(allowed)


def test_killed_processes_leave_no_image_without_a_record(cloud: Cloud, tmp_path: Path) -> None:
    """kill -9 of server processes under load: what Nova made is in the journal, and no line is torn by another."""
    journal = tmp_path / "audit.jsonl"
    compute = waitress.create_server(cloud.bare, host="127.0.0.1", port=0, threads=16)
    threading.Thread(target=compute.run, daemon=True).start()
    with serving(journal, compute.effective_port) as (master, port):
        over = threading.Event()
        names = (f"killed-{number}" for number in itertools.count())
        clients = [threading.Thread(target=load, args=(cloud, port, cloud.new_server(), names, over)) for _ in range(4)]
        cloud.images()
        for client in clients:
            client.start()
        kill_workers(master)
        over.set()
        for client in clients:
            client.join()
    time.sleep(0.5)  # Nova may still be at what a killed worker had sent it
    made = {each.name for each in cloud.images()}
    compute.close()
    lines = journal.read_bytes().splitlines()
    records = [json.loads(line) for line in lines if is_json(line)]
    allowed = {record["id"]: content(record)["image_name"] for record in records if record["eventType"] == "control"}
    answered = {content(record)["verdict_id"] for record in records if record["eventType"] == "activity"}
    print(f"{KILLS} kills, {len(made)} images, {len(allowed)} verdicts, {len(allowed.keys() - answered)} without")
    print(f"outcome, {len(lines) - len(records)} torn lines")
    assert made <= set(allowed.values()), "an image without a record"
    assert answered <= allowed.keys(), "an outcome without its verdict"
    assert len(made) > KILLS / 4
    assert allowed.keys() - answered, "or the kills hit nobody at work"
    assert len(lines) - len(records) <= KILLS


def is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def serving(journal: Path, compute_port: int) -> Any:
    """The filter under gunicorn: loaded once, then forked into workers, which are born anew when they die."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["-m", "gunicorn", "--preload", "-w", "4", "-b", f"127.0.0.1:{port}", "tests.nova.worker:application()"]
    environ = {**os.environ, "JOURNAL": str(journal), "COMPUTE_PORT": str(compute_port)}
    log = journal.with_suffix(".log").open("w")
    master = subprocess.Popen([sys.executable, *command], env=environ, cwd=ROOT, stdout=log, stderr=log)
    try:
        wait_for(port)
        yield master.pid, port
    finally:
        master.terminate()
        master.wait()


def wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise AssertionError("the server does not come up")


def load(cloud: Cloud, port: int, server: str, names: Any, over: threading.Event) -> None:
    """Ask for image after image of a server, whatever becomes of the asking."""
    while not over.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Content-Type": "application/json", "X-Auth-Token": "member"}
        with contextlib.suppress(OSError, http.client.HTTPException):
            body = json.dumps(image(next(names)))
            connection.request("POST", f"/v2.1/servers/{server}/action", body, headers)
            connection.getresponse().read()
        connection.close()
        cloud.settle(server)


def kill_workers(master: int) -> None:
    for _ in range(KILLS):
        time.sleep(random.uniform(0.05, 0.3))
        workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        if workers:
            os.kill(int(random.choice(workers)), signal.SIGKILL)

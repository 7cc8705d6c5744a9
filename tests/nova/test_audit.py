"""Records of a real Nova's images: who, what, why, and the outcome; and after kill -9 none is missing."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import waitress
import webob

from tests.cases import CASES, PROJECT, SERVER, image
from tests.nova.cloud import Cloud, microversion
from tests.paths import ROOT
from tests.ports import find_free_port, is_listening
from tests.records import content, outcomes
from tests.waiting import wait_until
from tests.wsgi import send

KILLS = int(os.environ.get("KILLS", "200"))
GLOBAL_REQUEST_ID = f"req-{uuid.uuid4()}"
BACKUP = {"createBackup": {"name": "weekly", "backup_type": "weekly", "rotation": 50}}


def post(cloud: Cloud, app: Any, document: Any, server: str) -> webob.Response:
    """Send an action of any server."""
    return send(app, "POST", f"/v2.1/servers/{server}/action", document, {"X-Auth-Token": "member"})


def returned_image_id(response: webob.Response) -> str:
    """Return the id in the response: in the body from microversion 2.45 on, otherwise in ``Location``."""
    if response.body:
        return str(response.json["image_id"])
    return str(response.headers["Location"].rpartition("/")[2])


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
@pytest.mark.parametrize("version", ["2.1", "2.45"])
def test_an_image_has_two_records(cloud: Cloud, version: str, prefix: str) -> None:
    headers = {"User-Agent": "openstacksdk", "X-OpenStack-Request-ID": GLOBAL_REQUEST_ID, **microversion(version)}
    response = cloud.post_action(cloud.app({}), image(metadata={"a": "b"}), prefix, headers)
    verdict, outcome = cloud.records()
    for record in (verdict, outcome):
        initiator = record["initiator"]
        assert (initiator["id"], initiator["name"], initiator["domain"]) == ("alice-id", "alice", "Default")
        assert (initiator["project_id"], initiator["project_name"]) == (PROJECT, "6f70-name")
        assert (initiator["authenticated"], initiator["roles"]) == (True, ["member", "reader"])
        assert initiator["request_id"] == response.headers["X-OpenStack-Request-ID"]
        assert initiator["global_request_id"] == GLOBAL_REQUEST_ID
        assert initiator["host"] == {"address": "203.0.113.7", "agent": "openstacksdk"}
        assert record["target"]["id"] == cloud.server
    assert (content(verdict)["verdict"], content(verdict)["metadata_keys"]) == ("allow", ["a"])
    assert (content(outcome)["status"], outcome["outcome"]) == (202, "success")
    assert content(outcome)["image_id"] == returned_image_id(response)
    assert content(outcome)["verdict_id"] == verdict["id"]
    assert 0 < content(outcome)["seconds"] < 60


def test_a_backup_has_two_records(cloud: Cloud) -> None:
    response = cloud.post_action(cloud.app({}), BACKUP)
    _, outcome = cloud.records()
    assert content(outcome)["image_id"] == returned_image_id(response)


def test_a_shelved_server_has_two_records(cloud: Cloud) -> None:
    server = cloud.new_server()
    app = cloud.app({"actions": "createImage, createBackup, shelve"})
    assert post(cloud, app, {"shelve": None}, server).status_int == 202
    cloud.settle(server)
    verdict, outcome = cloud.records()
    assert (content(verdict)["action"], outcome["action"]) == ("shelve", "capture/image")


def test_novas_refusals_are_recorded_as_failures(cloud: Cloud) -> None:
    app = cloud.app({})
    post(cloud, app, image(), str(uuid.uuid4()))
    cloud.post_action(app, image(" x "))
    cloud.post_action(app, image(), headers={"X-Auth-Token": "other"})
    recorded = [(content(record)["status"], record["outcome"]) for record in cloud.records()[1::2]]
    assert recorded == [(404, "failure"), (400, "failure"), (404, "failure")]


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
def test_a_refusal_has_one_record(cloud: Cloud, prefix: str) -> None:
    assert cloud.post_action(cloud.app({"snapshots_enabled": "no"}), image(), prefix).status_int == 400
    [record] = cloud.records()
    assert (content(record)["rule"], record["initiator"]["name"]) == ("snapshots-enabled", "alice")


def test_requests_without_a_token_are_not_recorded(cloud: Cloud) -> None:
    path = f"/v2.1/servers/{cloud.server}/action"
    assert send(cloud.app({}), "POST", path, image()).status_int == 401
    assert send(cloud.filter_in_front({}), "POST", path, image()).status_int == 401
    assert cloud.records() == []


def test_an_identity_without_authentication_is_a_claim(cloud: Cloud) -> None:
    forged = {"X-User-Name": "root", "X-User-Id": "root", "X-Roles": "admin"}
    assert cloud.post_action(cloud.filter_in_front({}), image(), headers=forged).status_int == 202
    verdict, _ = cloud.records()
    assert verdict["initiator"]["authenticated"] is False
    assert verdict["initiator"]["claims"]["user_id"] == "root"


def test_each_image_of_the_case_table_has_its_record(cloud: Cloud) -> None:
    for case in CASES:
        path = case.path.replace(SERVER, "{server}").format(server=cloud.server)
        send(cloud.app(case.options), "POST", f"/v2.1{path}", case.body, {**case.headers, "X-Auth-Token": "member"})
        cloud.settle()
    made = sorted(created.name for created in cloud.images())
    records = cloud.records()
    allowed = names_by_verdict(record for record in records if content(record).get("verdict") == "allow")
    ended = outcomes(records)
    assert made == sorted(allowed[outcome["verdict_id"]] for outcome in ended if outcome["status"] == 202)
    assert len(ended) == len(allowed)


def names_by_verdict(records: Any) -> dict[str, str]:
    """Return the names of images by the ids of the records of their verdicts."""
    return {record["id"]: content(record)["image_name"] for record in records}


def test_killed_processes_leave_no_image_without_a_record(cloud: Cloud, tmp_path: Path) -> None:
    """kill -9 of server processes under load: each image is in the journal, and no process tears another's line."""
    journal = tmp_path / "audit.jsonl"
    compute = waitress.create_server(cloud.bare, host="127.0.0.1", port=0, threads=16)
    threading.Thread(target=compute.run, daemon=True).start()
    with serve_filter(journal, compute.effective_port) as (master, port), make_load(cloud, port):
        kill_workers(master, journal)
    wait_until(lambda: not compute.active_channels)  # Nova may still process what a killed worker had sent
    made = {created.name for created in cloud.images()}
    compute.close()
    lines = journal.read_bytes().splitlines()
    records = [json.loads(line) for line in lines if is_json(line)]
    torn = len(lines) - len(records)
    allowed = names_by_verdict(record for record in records if record["action"] == "evaluate")
    ended = {outcome["verdict_id"] for outcome in outcomes(records)}
    print(f"{KILLS} kills, {len(made)} images, {len(allowed)} verdicts, {torn} torn lines")
    print(f"{len(allowed.keys() - ended)} verdicts without an outcome")
    assert made <= set(allowed.values()), "an image without a record"
    assert ended <= allowed.keys(), "an outcome without its verdict"
    assert len(made) > KILLS / 4
    assert allowed.keys() - ended, "no kill hit a process at work"
    assert torn <= KILLS


def is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def serve_filter(journal: Path, compute_port: int) -> Iterator[tuple[int, int]]:
    """Serve the filter with gunicorn, which loads it once, forks workers, and replaces those that die.

    :returns: the id of gunicorn's main process, and its port.
    """
    port = find_free_port()
    command = ["-m", "gunicorn", "--preload", "-w", "4", "-b", f"127.0.0.1:{port}", "tests.nova.worker:application()"]
    environ = {**os.environ, "JOURNAL": str(journal), "COMPUTE_PORT": str(compute_port)}
    log = journal.with_suffix(".log").open("w")
    master = subprocess.Popen([sys.executable, *command], env=environ, cwd=ROOT, stdout=log, stderr=log)
    try:
        wait_until(lambda: is_listening(port))
        yield master.pid, port
    finally:
        master.terminate()
        master.wait()
        log.close()


@contextlib.contextmanager
def make_load(cloud: Cloud, port: int) -> Iterator[None]:
    """Ask for images all the time, of four servers at once."""
    stop = threading.Event()
    names = (f"killed-{number}" for number in itertools.count())
    servers = [cloud.new_server() for _ in range(4)]
    clients = [threading.Thread(target=ask_for_images, args=(cloud, port, server, names, stop)) for server in servers]
    cloud.images()  # forgets them
    for client in clients:
        client.start()
    try:
        yield
    finally:
        stop.set()
        for client in clients:
            client.join()


def ask_for_images(cloud: Cloud, port: int, server: str, names: Iterator[str], stop: threading.Event) -> None:
    """Ask for image after image of a server, whether or not there is a response."""
    headers = {"Content-Type": "application/json", "X-Auth-Token": "member"}
    while not stop.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", f"/v2.1/servers/{server}/action", json.dumps(image(next(names))), headers)
            connection.getresponse().read()
        cloud.settle(server)


def kill_workers(master: int, journal: Path) -> None:
    """Kill worker after worker, each at a random moment while requests are recorded."""
    wait_until(journal.exists)
    for _ in range(KILLS):
        size = journal.stat().st_size
        wait_until(lambda size=size: journal.stat().st_size > size)
        time.sleep(random.uniform(0, 0.05))  # so that kills hit every step of a request
        victim = random.choice(find_workers(master))
        os.kill(int(victim), signal.SIGKILL)
        wait_until(lambda victim=victim: victim not in find_workers(master))


def find_workers(master: int) -> list[str]:
    """Return the ids of gunicorn's workers."""
    return Path(f"/proc/{master}/task/{master}/children").read_text().split()

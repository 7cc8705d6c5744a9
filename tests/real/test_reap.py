"""``imagefilter reap`` on a real Keystone, Glance and Nova: images as tenants make them, and what must survive."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
import requests

from tests.gateway.keystone import ADMIN
from tests.gateway.nova import serve_wsgi
from tests.real.cinder import CinderApi
from tests.real.site import Site
from tests.real.tenants import (
    Result,
    ago,
    finish_command,
    run_command,
    snapshot,
    stamps,
    start_command,
    write_clouds,
)
from tests.waiting import wait_until

DELETED, KEPT, WOULD_DELETE = "deleted", "kept", "would delete"


class Reaping:
    """A site with Nova in its catalog, and the command that reaps there."""

    def __init__(self, site: Site, clouds: Path, journal: Path) -> None:
        self.site = site
        self.clouds = clouds
        self.journal = journal

    def run(self, *args: str) -> Result:
        return run_command(self.clouds, "reap", "--journal", str(self.journal), *args)

    def start(self, *args: str) -> Any:
        return start_command(self.clouds, "reap", "--journal", str(self.journal), *args, "-f", "json")

    def records(self) -> list[dict[str, Any]]:
        if not self.journal.exists():
            return []
        return [json.loads(line) for line in self.journal.read_text().splitlines()]

    def recorded(self, event_type: str) -> list[str]:
        """Return the ids of the images in the records of one type, in order."""
        records = [record for record in self.records() if record["eventType"] == event_type]
        return [record["attachments"][0]["content"]["image_id"] for record in records]

    def is_there(self, image_id: str) -> bool:
        return self.site.glance.request(ADMIN, "GET", f"/images/{image_id}").status_code == 200


@pytest.fixture(scope="module")
def served(real_site: Site) -> Iterator[Site]:
    """The site, with Nova in the catalog."""
    with real_site.serve(None):
        yield real_site


@pytest.fixture(scope="module")
def server(served: Site) -> str:
    """A server of alice's, which no test shelves."""
    return served.boot("alice")


@pytest.fixture
def reaping(served: Site, site: Site, tmp_path: Path) -> Reaping:
    tmp_path.chmod(0o755)
    clouds = write_clouds(tmp_path, site.keystone.url)
    return Reaping(site, clouds, tmp_path / "reap.jsonl")


def test_what_has_expired_is_listed_and_then_deleted(reaping: Reaping, server: str) -> None:
    expired = snapshot(reaping.site, "alice", server)
    fresh = snapshot(reaping.site, "alice", server, expires=ago(days=-1))
    rehearsed = reaping.run()
    assert (rehearsed.status, rehearsed.decisions) == (0, {expired: (WOULD_DELETE, "")})
    assert "nothing was deleted" in rehearsed.err
    assert reaping.is_there(expired)
    assert reaping.records() == []
    done = reaping.run("--delete")
    assert (done.status, done.decisions) == (0, {expired: (DELETED, "")})
    assert not reaping.is_there(expired)
    assert reaping.is_there(fresh)
    assert reaping.run("--delete").rows == []


def test_a_deletion_is_two_records_in_the_filters_shape(reaping: Reaping, server: str) -> None:
    image = snapshot(reaping.site, "alice", server)
    reaping.run("--delete")
    verdict, outcome = reaping.records()
    content = verdict["attachments"][0]["content"]
    assert (verdict["eventType"], verdict["action"], verdict["reason"]["policyId"]) == (
        "control",
        "evaluate",
        "expired",
    )
    assert (verdict["target"]["id"], verdict["target"]["project_id"]) == (server, reaping.site.keystone.ids["demo"])
    assert verdict["initiator"]["name"] == ADMIN
    assert (content["image_id"], content["action"], content["verdict"]) == (image, "deleteImage", "allow")
    assert (outcome["action"], outcome["outcome"], outcome["tags"]) == ("delete/image", "success", verdict["tags"])
    listed = run_command(reaping.clouds, "audit", "list", "--journal", str(reaping.journal))
    [row] = listed.rows
    assert (listed.status, row["Verdict"], row["Action"], row["Server"]) == (0, "allow", "deleteImage", server)


# --- the table of images that must survive, each made as tenants make it

Maker = Callable[[Site, str], str]


def protected(site: Site, server: str) -> str:
    image = snapshot(site, "alice", server)
    site.glance.update("alice", image, protected=True)
    return image


def golden(site: Site, server: str) -> str:
    """An operator publishes a tenant's snapshot."""
    image = snapshot(site, "alice", server)
    site.glance.update(ADMIN, image, visibility="public")
    return image


def community(site: Site, server: str) -> str:
    image = snapshot(site, "alice", server)
    site.glance.update("alice", image, visibility="community")
    return image


def shared(site: Site, server: str) -> str:
    image = snapshot(site, "alice", server)
    site.glance.share("alice", image, "bob")
    return image


def hidden_and_protected(site: Site, server: str) -> str:
    image = protected(site, server)
    site.glance.update("alice", image, os_hidden=True)
    return image


def booted_from(site: Site, server: str) -> str:
    image = snapshot(site, "alice", server)
    site.boot("alice", imageRef=image)
    return image


def of_a_shelved_server(site: Site, server: str) -> str:
    other = site.boot("alice")
    image = snapshot(site, "alice", other)
    site.act("alice", other, "shelve")
    return image


def uploading(site: Site, server: str) -> str:
    site.host.mode = "wait"
    return snapshot(site, "alice", server)


def deactivated(site: Site, server: str) -> str:
    image = snapshot(site, "alice", server)
    assert site.glance.request(ADMIN, "POST", f"/images/{image}/actions/deactivate").ok
    return image


def copied_by_its_owner(site: Site, server: str) -> str:
    """A copy with all properties: neither is deleted."""
    image = snapshot(site, "alice", server)
    copy(site, "alice", image)
    return image


def copied_by_another_project(site: Site, server: str) -> str:
    image = snapshot(site, "alice", server)
    site.glance.share("alice", image, "bob")
    copy(site, "bob", image)
    site.glance.update("alice", image, visibility="private")
    return image


def a_copy(site: Site, server: str) -> str:
    """A copy whose original is gone."""
    image = snapshot(site, "alice", server)
    made = copy(site, "alice", image)
    site.glance.delete("alice", image)
    return made


def restored(site: Site, server: str) -> str:
    """A script writes the properties of an old image into a newer one of the same server."""
    image = snapshot(site, "alice", server, expires=None)
    site.glance.set_created(image, ago(minutes=30).strftime("%Y-%m-%d %H:%M:%S"))
    site.glance.update("alice", image, **stamps(server, ago(hours=1), ago(minutes=1)))
    return image


def with_an_expiry_of_the_tenants(site: Site, server: str) -> str:
    image = snapshot(site, "alice", server, expires=None)
    site.glance.update("alice", image, imagefilter_expires="2020-01-01T00:00:00Z", imagefilter_record="")
    return image


def stamped_by_a_clock_an_hour_off(site: Site, server: str) -> str:
    image = snapshot(site, "alice", server)
    site.glance.set_created(image, ago(minutes=1).strftime("%Y-%m-%d %H:%M:%S"))
    return image


def of_a_server_booted_from_a_stamped_image(site: Site, server: str) -> str:
    """Nova copies the stamps into an image that the filter does not stamp."""
    image = snapshot(site, "alice", server)
    other = site.boot("alice", imageRef=image)
    response = site.post_action(site.bare, "alice", other, {"createImage": {"name": "inherited"}})
    made = str(response.json["image_id"])
    assert site.glance.show("alice", made)["imagefilter_server"] == server
    site.delete_server("alice", other)
    site.glance.delete("alice", image)
    site.glance.set_created(made, ago(minutes=58).strftime("%Y-%m-%d %H:%M:%S"))
    return made


def copy(site: Site, user: str, image_id: str) -> str:
    """Upload an image with the properties of another one, as ``openstack image save`` and ``create`` do."""
    original = site.glance.show(user, image_id)
    names = [name for name in original if name.startswith("imagefilter_")] + ["instance_uuid", "image_type"]
    made = site.glance.create(user, "copy", visibility="private", **{name: original[name] for name in names})
    site.glance.upload(user, made)
    return made


SURVIVORS: list[tuple[Maker, str]] = [
    (protected, "it is protected"),
    (hidden_and_protected, "it is protected"),
    (golden, "it is not private"),
    (community, "it is not private"),
    (shared, "it is not private"),
    (booted_from, "a server was booted from it"),
    (of_a_shelved_server, "its server is shelved"),
    (uploading, "it is not active"),
    (deactivated, "it is not active"),
    (copied_by_its_owner, "another image bears its record"),
    (copied_by_another_project, "another image bears its record"),
    (a_copy, "it was not made when it was stamped"),
    (restored, "it was not made when it was stamped"),
    (stamped_by_a_clock_an_hour_off, "it was not made when it was stamped"),
    (with_an_expiry_of_the_tenants, "it is not stamped"),
    (of_a_server_booted_from_a_stamped_image, "it says it is of another server than its stamp"),
]


@pytest.mark.parametrize(("make", "reason"), SURVIVORS, ids=lambda value: getattr(value, "__name__", ""))
def test_survives(reaping: Reaping, server: str, make: Maker, reason: str) -> None:
    image = make(reaping.site, server)
    done = reaping.run("--delete", "--orphans")
    assert (done.status, done.decisions[image]) == (0, (KEPT, reason)), done.err
    assert reaping.is_there(image)
    assert reaping.records() == []


def test_a_shelved_server_that_was_booted_from_an_expired_image_comes_back(reaping: Reaping, server: str) -> None:
    site = reaping.site
    image = snapshot(site, "alice", server)
    other = site.boot("alice", imageRef=image)
    site.act("alice", other, "shelve")
    decision, _ = reaping.run("--delete").decisions[image]
    assert decision == KEPT
    site.act("alice", other, "unshelve")
    wait_until(lambda: site.show_server("alice", other)["status"] == "ACTIVE")
    site.delete_server("alice", other)


def test_an_image_of_a_deleted_server_is_deleted(reaping: Reaping) -> None:
    server = reaping.site.boot("alice")
    image = snapshot(reaping.site, "alice", server)
    reaping.site.delete_server("alice", server)
    assert reaping.run("--delete").decisions == {image: (DELETED, "")}


def test_a_hidden_image_and_one_on_volumes_are_deleted(reaping: Reaping, server: str) -> None:
    hidden = snapshot(reaping.site, "alice", server)
    reaping.site.glance.update("alice", hidden, os_hidden=True)
    on_volume = snapshot(reaping.site, "alice", reaping.site.boot_from_volume("alice"))
    done = reaping.run("--delete")
    assert done.decisions == {hidden: (DELETED, ""), on_volume: (DELETED, "")}
    [row] = [row for row in done.rows if row["Image"] == on_volume]
    assert row["Volume Snapshot"]


# --- orphans


def orphan(site: Site, server: str, **age: float) -> str:
    """Let a race of Nova's leave an image without data."""
    site.host.mode = "wait"
    image = snapshot(site, "alice", server, expires=None)
    site.glance.set_created(image, ago(**age).strftime("%Y-%m-%d %H:%M:%S"))
    return image


def test_orphans_are_deleted_only_if_asked_for_and_old(reaping: Reaping, server: str) -> None:
    old, young = orphan(reaping.site, server, days=2), orphan(reaping.site, server, hours=3)
    assert reaping.run("--delete").rows == []
    assert reaping.run("--orphans", "--delete").decisions == {old: (DELETED, "")}
    assert reaping.run("--orphans", "--older", "2h").decisions == {young: (WOULD_DELETE, "")}
    assert reaping.run("--orphans", "--older", "5m").status == 2


def test_an_image_that_is_uploaded_for_two_days_survives(reaping: Reaping) -> None:
    site = reaping.site
    server = site.boot("alice")
    image = orphan(site, server, days=2)
    before, site.cloud.server = site.cloud.server, server
    try:
        with site.cloud.state(task_state="image_uploading"):
            done = reaping.run("--orphans", "--delete")
    finally:
        site.cloud.server = before
    assert done.decisions == {image: (KEPT, "its server is busy with an image")}


# --- volumes


@pytest.fixture(params=["volumev3", "block-storage"])
def cinder(request: pytest.FixtureRequest, real_site: Site) -> Iterator[CinderApi]:
    """A Cinder in the catalog, under each name that clouds give it."""
    api = CinderApi()
    with serve_wsgi(api) as port:
        real_site.keystone.publish(request.param, f"http://127.0.0.1:{port}/v3/%(project_id)s")
        yield api
    real_site.keystone.withdraw(request.param)


def on_volume(reaping: Reaping, cinder: CinderApi, project: str = "demo") -> tuple[str, str]:
    """Make an expired image of a server on a volume; return its id, and that of its volume snapshot."""
    site = reaping.site
    image = snapshot(site, "alice", site.boot_from_volume("alice"))
    [device] = json.loads(site.glance.show("alice", image)["block_device_mapping"])
    made = ago(hours=1).strftime("%Y-%m-%dT%H:%M:%S")
    cinder.add_snapshot(device["snapshot_id"], site.keystone.ids[project], made)
    return image, device["snapshot_id"]


def test_volume_snapshots_are_deleted_after_their_image_if_asked_for(reaping: Reaping, cinder: CinderApi) -> None:
    image, volume_snapshot = on_volume(reaping, cinder)
    [row] = reaping.run("--with-volume-snapshots").rows
    assert (row["Decision"], row["Volume Snapshot"]) == (WOULD_DELETE, volume_snapshot)
    done = reaping.run("--delete", "--with-volume-snapshots")
    assert [(row["Decision"], row["Volume Snapshot"]) for row in done.rows] == [(DELETED, volume_snapshot)] * 2
    assert not reaping.is_there(image)
    assert cinder.snapshots == {}
    assert [record["action"] for record in reaping.records()[1::2]] == ["delete/image", "delete/snapshot"]


def test_volume_snapshots_of_others_and_those_in_use_stay(reaping: Reaping, cinder: CinderApi) -> None:
    _, of_bob = on_volume(reaping, cinder, project="other")
    _, in_use = on_volume(reaping, cinder)
    cinder.in_use.add(in_use)
    done = reaping.run("--delete", "--with-volume-snapshots")
    reasons = {row["Volume Snapshot"]: row["Reason"] for row in done.rows if row["Decision"] != DELETED}
    assert reasons[of_bob] == "it is of another project than the image"
    assert "Snapshot has dependent volumes" in reasons[in_use]
    assert (done.status, set(cinder.snapshots)) == (1, {of_bob, in_use})


def test_an_image_of_which_an_attached_volume_was_made_is_kept(
    reaping: Reaping, cinder: CinderApi, server: str
) -> None:
    image = snapshot(reaping.site, "alice", server)
    volume = {"id": "v", "attachments": [{"server_id": server}], "volume_image_metadata": {"image_id": image}}
    cinder.volumes.append(volume)
    assert reaping.run("--delete").decisions[image] == (KEPT, "a server was booted from it")


# --- failures


@contextlib.contextmanager
def flaky_glance(site: Site, each: int) -> Iterator[list[str]]:
    """Answer 500 to every so-manieth request in front of Glance; yield what was refused."""
    refused: list[str] = []
    lock = threading.Lock()
    count = 0

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        nonlocal count
        with lock:
            count += 1
            fails = count % each == 0
        target = environ["PATH_INFO"] + ("?" + environ["QUERY_STRING"] if environ["QUERY_STRING"] else "")
        if fails:
            refused.append(f"{environ['REQUEST_METHOD']} {target}")
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
            return [b"out of order"]
        headers = {"X-Auth-Token": environ.get("HTTP_X_AUTH_TOKEN", "")}
        response = requests.request(environ["REQUEST_METHOD"], site.glance.url + target, headers=headers, timeout=60)
        kept = [(name, response.headers[name]) for name in ("Content-Type", "Date") if name in response.headers]
        start_response(f"{response.status_code} {response.reason}", kept)
        return [response.content]

    with serve_wsgi(app) as port:
        site.keystone.publish("image", f"http://127.0.0.1:{port}")
        try:
            yield refused
        finally:
            site.keystone.publish("image", site.glance.url)


def test_a_cloud_that_answers_500_to_every_tenth_request(reaping: Reaping, server: str) -> None:
    site = reaping.site
    expired = [snapshot(site, "alice", server) for _ in range(12)]
    kept = [protected(site, server), copied_by_its_owner(site, server)]
    with flaky_glance(site, 10) as refused:
        runs = [reaping.run("--delete") for _ in range(3)]
    assert len(refused) >= 5
    assert not any(map(reaping.is_there, expired))
    assert all(map(reaping.is_there, kept))
    assert set(reaping.recorded("control")) == set(expired)
    for done in runs:
        failed = [decision for decision, _ in done.decisions.values() if decision == "failed"]
        assert done.status == bool(failed), done.err


def test_two_reapers_at_once(reaping: Reaping, server: str) -> None:
    expired = [snapshot(reaping.site, "alice", server) for _ in range(8)]
    kept = booted_from(reaping.site, server)
    processes = [reaping.start("--delete") for _ in range(2)]
    results = [finish_command(process) for process in processes]
    assert not any(map(reaping.is_there, expired))
    assert reaping.is_there(kept)
    deleted = [image for done in results for image, (decision, _) in done.decisions.items() if decision == DELETED]
    assert set(deleted) <= set(expired)
    for done in results:  # Glance says 204 to both, or 500 to one, if two delete an image at the same moment
        assert done.status in (0, 1), done.err


def test_a_kill_in_the_middle(reaping: Reaping, server: str) -> None:
    site = reaping.site
    expired = [snapshot(site, "alice", server) for _ in range(10)]
    process = reaping.start("--delete")
    wait_until(lambda: len(reaping.recorded("control")) >= 3, interval=0.001)
    process.kill()
    process.communicate()
    gone = [image for image in expired if not reaping.is_there(image)]
    assert 0 < len(gone) < len(expired)
    assert set(gone) <= set(reaping.recorded("control"))
    assert reaping.run("--delete").status == 0
    assert not any(map(reaping.is_there, expired))
    assert set(reaping.recorded("control")) == set(expired)


def test_an_image_that_glance_refuses_is_reported_and_the_run_goes_on(reaping: Reaping, server: str) -> None:
    site = reaping.site
    images = [snapshot(site, "alice", server) for _ in range(2)]

    def refuse(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "DELETE" and environ["PATH_INFO"].endswith(images[0]):
            start_response("409 Conflict", [("Content-Type", "text/plain")])
            return [b"Image is in use"]
        target = f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        headers = {"X-Auth-Token": environ.get("HTTP_X_AUTH_TOKEN", "")}
        response = requests.request(environ["REQUEST_METHOD"], site.glance.url + target, headers=headers, timeout=60)
        start_response(f"{response.status_code} {response.reason}", [("Content-Type", "application/json")])
        return [response.content]

    with serve_wsgi(refuse) as port:
        site.keystone.publish("image", f"http://127.0.0.1:{port}")
        done = reaping.run("--delete")
        site.keystone.publish("image", site.glance.url)
    assert done.status == 1
    assert done.decisions == {images[0]: ("failed", "409 Image is in use"), images[1]: (DELETED, "")}


def test_without_a_journal_nothing_is_deleted(reaping: Reaping, server: str) -> None:
    image = snapshot(reaping.site, "alice", server)
    reaping.journal = Path("/nowhere/reap.jsonl")
    done = reaping.run("--delete")
    assert done.status == 2
    assert "nothing is deleted without a record" in done.err
    assert reaping.is_there(image)


@pytest.mark.parametrize(("user", "project"), [("alice", "demo")])
def test_who_may_not_list_all_servers_deletes_nothing(
    reaping: Reaping, server: str, tmp_path: Path, user: str, project: str
) -> None:
    image = snapshot(reaping.site, "alice", server)
    reaping.clouds = write_clouds(tmp_path, reaping.site.keystone.url, user, project)
    done = reaping.run("--delete")
    assert done.status == 2
    assert "nothing was deleted" in done.err
    assert reaping.is_there(image)


def test_an_unknown_cloud_is_an_error_in_one_line(reaping: Reaping) -> None:
    done = reaping.run("--os-cloud", "nowhere")
    assert (done.status, done.err.count("\n")) == (2, 1)

"""``imagefilter usage`` on a real Keystone, Glance and Nova, and on a cloud with 100,000 images."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.gateway.nova import serve_wsgi
from tests.real.site import Site
from tests.real.tenants import Result, ago, finish_command, run_command, snapshot, start_command, write_clouds
from tests.unified_limits import UnifiedLimits


@pytest.fixture(scope="module")
def served(real_site: Site) -> Iterator[Site]:
    """The site, with Nova in the catalog."""
    with real_site.serve(None):
        yield real_site


@pytest.fixture
def clouds(served: Site, site: Site, tmp_path: Path) -> Path:
    return write_clouds(tmp_path, site.keystone.url)


def usage(clouds: Path, *args: str) -> Result:
    return run_command(clouds, "usage", *args)


def test_counts_by_project_and_server(site: Site, clouds: Path) -> None:
    alices, bobs = site.boot("alice"), site.boot("bob")
    for _ in range(2):
        snapshot(site, "alice", alices)
    hidden = snapshot(site, "alice", alices, expires=ago(days=-1))
    site.glance.update("alice", hidden, os_hidden=True)
    snapshot(site, "alice", site.boot_from_volume("alice"))
    site.glance.create("alice", "an upload")
    site.host.mode = "wait"
    orphan = snapshot(site, "bob", bobs, expires=None)
    site.glance.set_created(orphan, ago(days=2).strftime("%Y-%m-%d %H:%M:%S"))
    site.post_action(site.bare, "bob", bobs, {"createImage": {"name": "unstamped"}})

    done = usage(clouds)
    assert done.status == 0, done.err
    columns = ("Name", "Servers", "Images", "In Progress", "Expired", "Unstamped", "Orphans", "Refused By")
    rows = [tuple(row[name] for name in columns) for row in done.rows]
    assert rows == [("demo", 2, 4, 0, 3, 0, 0, ""), ("other", 1, 2, 2, 0, 1, 1, "")]

    config = clouds.with_name("imagefilter.conf")
    options = f"limits_source = keystone\nidentity_api_url = {site.keystone.url}\naudit_journal = /nowhere/audit.jsonl"
    config.write_text(f"[imagefilter]\n{options}\nsnapshots_in_progress = 9\n")
    with UnifiedLimits(site.keystone) as limits:
        limits.register("snapshots_per_project", 4)
        limits.set("other", "snapshots_per_project", 3)
        rows = usage(clouds, "--config", str(config)).rows
    assert {row["Name"]: row["Refused By"] for row in rows} == {
        "demo": "project-limit (limit 4, in use 4)",
        "other": "",
    }

    by_server = usage(clouds, "--by", "server", "--limit", "3").rows
    refused = {row["Server"]: (row["Images"], row["Refused By"]) for row in by_server}
    assert refused[alices] == (3, "server-limit (limit 3, in use 3)")
    assert refused[bobs] == (2, "")
    [row] = usage(clouds, "--limit", "4", "--refused").rows
    assert (row["Project"], row["Refused By"]) == (site.keystone.ids["demo"], "project-limit (limit 4, in use 4)")


@pytest.mark.parametrize("form", ["table", "csv", "value", "yaml"])
def test_prints_in_each_format(site: Site, clouds: Path, form: str) -> None:
    snapshot(site, "alice", site.boot("alice"))
    process = start_command(clouds, "usage", "-f", form)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert site.keystone.ids["demo"] in out


# --- a large cloud

IMAGES, SERVERS, PROJECTS = 100_000, 20_000, 500


def large_glance(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """List 100,000 images, page by page, as much as the census reads; half of them are hidden."""
    start_response("200 OK", [("Content-Type", "application/json")])
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    if not environ["PATH_INFO"].startswith("/v2/images"):
        link = {"rel": "self", "href": f"http://{environ['HTTP_HOST']}/v2/"}
        return [json.dumps({"versions": [{"id": "v2.17", "status": "CURRENT", "links": [link]}]}).encode()]
    first = int(query["marker"].rpartition("-")[2]) + 1 if "marker" in query else 0
    last = min(first + int(query["limit"]), IMAGES // 2)
    hidden = query["os_hidden"] == "true"
    return [json.dumps({"images": [large_image(number, hidden) for number in range(first, last)]}).encode()]


def large_image(number: int, hidden: bool) -> dict[str, Any]:
    server = f"aaaaaaaa-0000-4000-8000-{number % SERVERS:012x}"
    image = {"id": f"{hidden}-{number}", "owner": f"{number % PROJECTS:032x}", "name": f"nightly-{number}"}
    image.update(status="active", visibility="private", instance_uuid=server, imagefilter_server=server)
    image.update({f"property_{index}": "x" * 60 for index in range(12)})
    return {**image, "size": 2**30, "protected": False, "created_at": "2026-11-01T00:00:00Z"}


@pytest.mark.slow
def test_a_cloud_of_100000_images_takes_minutes_at_most_and_bounded_memory(site: Site, clouds: Path) -> None:
    with serve_wsgi(large_glance) as port:
        site.keystone.publish("image", f"http://127.0.0.1:{port}")
        try:
            started_at = time.monotonic()
            process = start_command(clouds, "usage", "-f", "json")
            with ThreadPoolExecutor(1) as pool:
                peak = pool.submit(watch_memory, process)
                done = finish_command(process)
        finally:
            site.keystone.publish("image", site.glance.url)
    seconds = time.monotonic() - started_at
    print(f"{IMAGES} images in {seconds:.0f} s, {peak.result() / 2**20:.0f} MiB")
    assert sum(row["Images"] for row in done.rows) == IMAGES
    assert len(done.rows) == PROJECTS
    assert "images ..." in done.err
    assert seconds < 300  # 7 on an idle machine
    assert 0 < peak.result() < 200 * 2**20


def watch_memory(process: subprocess.Popen[str]) -> int:
    """Return how much memory a process had at most, in bytes, once it has ended."""
    peak = 0
    statm = Path(f"/proc/{process.pid}/statm")
    while process.returncode is None:
        with contextlib.suppress(OSError, IndexError):
            peak = max(peak, int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        time.sleep(0.05)
    return peak

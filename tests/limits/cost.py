"""What a limit costs: its lock and its count beside the createImage itself, with 0 to 1,000 images in the project.

``python -m tests.limits.cost`` prints medians, in milliseconds, of real requests to a real Nova with a real Glance.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

from tests.gateway.keystone import serve_keystone
from tests.gateway.nova import ServedNova
from tests.limits.glance import Glance, serve_glance

COUNTS = (0, 10, 100, 1000)
_REQUESTS = 15
_OPTIONS = {
    "no limit": {},
    "snapshots_per_server": {"snapshots_per_server": "5000"},
    "snapshots_per_project": {"snapshots_per_project": "5000"},
}


def main() -> None:
    """Start the components, measure, and end without waiting for Nova's threads."""
    folder = Path(tempfile.mkdtemp(prefix="imagefilter-cost-"))
    (folder / "keystone").mkdir()
    with serve_keystone(folder / "keystone") as keystone, serve_glance(keystone, folder / "glance") as glance:
        from tests.limits.cloud import RealCloud

        cloud = RealCloud(glance)
        cloud.setUp()
        measure(ServedNova(cloud, 0), glance)
        sys.stdout.flush()
    os._exit(0)


def measure(nova: ServedNova, glance: Glance) -> None:
    """Print a line for each number of images."""
    from tests.limits.test_limits import Tenant

    other = "1b3b4ab5-2d24-4f7b-b1c6-3a1f3d1b5a0e"
    tenants = {name: Tenant(nova, glance, "alice", **options) for name, options in _OPTIONS.items()}
    for count in COUNTS:
        for _ in range(count - len(glance.snapshots())):
            glance.create(instance_uuid=other)
        seconds: dict[str, list[tuple[float, float, float]]] = {name: [] for name in tenants}
        for _ in range(_REQUESTS):  # interleaved: the machine is not always the same
            for name, tenant in tenants.items():
                seconds[name].append(ask(tenant))
                for image in glance.snapshots():
                    if image["instance_uuid"] != other:
                        glance.delete(image["id"])
        for name, times in seconds.items():
            lock, lookup, nova_itself = (1000 * statistics.median(column) for column in zip(*times))
            print(f"{count} images, {name}: lock {lock:.2f}, count {lookup:.1f}, Nova {nova_itself:.1f} ms")


def ask(tenant: object) -> tuple[float, float, float]:
    """Ask for an image; return the seconds of its lock, of its count, and of the compute API."""
    from tests.limits.test_limits import Tenant

    assert isinstance(tenant, Tenant)
    tenant.cloud.records()
    assert tenant.image().status_int == 202
    verdict, outcome = [record["attachments"][0]["content"] for record in tenant.cloud.records()]
    return verdict.get("lock_seconds", 0.0), verdict.get("lookup_seconds", 0.0), outcome["seconds"]


if __name__ == "__main__":
    main()

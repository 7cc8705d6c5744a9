"""Write the tables of fields and the examples of docs/own-rules.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from imagefilter.rules.document import FIELDS

EXAMPLES = Path(__file__).parents[1] / "etc/imagefilter/rules"

_IMAGE = {"createImage": {"name": "nightly"}}
_BACKUP = {"createBackup": {"name": "nightly", "backup_type": "daily", "rotation": 7}}


class Example(NamedTuple):
    """A shipped rule, and what ``explain`` says of a request that it refuses."""

    wish: str
    explained: str  # the row of the rule: its name, mode and result
    document: dict[str, Any] = _IMAGE
    flavor: dict[str, Any] = {}  # noqa: RUF012
    image: Any = ""
    options: tuple[str, ...] = ()

    @property
    def server(self) -> dict[str, Any]:
        """The server, as the compute API answers it."""
        return {
            "id": "11111111-2222-4333-8444-555555555555",
            "name": "web-1",
            "metadata": {},
            "flavor": {"original_name": "m1.small", "vcpus": 1, "ram": 2048, "disk": 20, **self.flavor},
            "image": self.image,
            "os-extended-volumes:volumes_attached": [],
        }


_LICENSED = {"id": "155d900f-4e14-4e4c-a73d-069cbf4541e6", "properties": {"os_distro": "windows"}}

#: By the name of the file.
EXPLAINED: dict[str, Example] = {
    "gpu-flavors": Example(
        "No snapshots of servers with a GPU",
        "no-gpu-snapshots enforce 403 Snapshots of GPU servers are made by the backup service only (no-gpu-snapshots)",
        flavor={"original_name": "gpu.large"},
    ),
    "large-disks": Example(
        "No snapshots of disks above 1 TiB",
        "no-large-disks enforce 403 Disks above 1 TiB are too large for a snapshot (no-large-disks)",
        flavor={"disk": 2000},
    ),
    "licensed-images": Example(
        "No copies of a licensed image",
        "no-licensed-images enforce 403 The licence of this server's image does not permit copies (no-licensed-images)",
        image=_LICENSED,
    ),
    "volume-backed": Example(
        "No images of servers on volumes",
        "no-volume-backed enforce 403 Take a snapshot of the volume instead (no-volume-backed)",
    ),
    "working-hours": Example(
        "Nothing outside working hours",
        "working-hours enforce 403 Snapshots are made on working days, from 8 to 18 hours (working-hours)",
        options=("--now", "2026-11-22T12:00Z"),
    ),
    "cost-centre": Example(
        "No image without a cost centre that looks like one",
        "cost-centre enforce 403 Give the image the metadata cost-centre, such as 4711-AB (cost-centre)",
        {"createImage": {"name": "nightly", "metadata": {"cost-centre": "none"}}},
    ),
    "backup-service": Example(
        "Backups by the backup service only",
        "backup-service enforce 403 Backups are made by the backup service only (backup-service)",
        _BACKUP,
    ),
}


def describe_fields() -> Iterator[str]:
    """Write the table of fields."""
    yield "| field | type | example | who can change it | |"
    yield "|---|---|---|---|---|"
    for field in FIELDS:
        yield f"| `{field.name}` | `{field.type}` | `{field.example}` | {field.changed_by} | {field.summary} |"


def describe_examples() -> Iterator[str]:
    """Write each shipped rule, and what ``explain`` says of a request that it refuses."""
    for number, (name, example) in enumerate(EXPLAINED.items()):
        if number:
            yield ""
        yield f"### {example.wish}"
        yield ""
        yield f"`etc/imagefilter/rules/{name}.conf`:"
        yield ""
        yield f"<!-- file: etc/imagefilter/rules/{name}.conf -->"
        yield ""
        for line in (EXAMPLES / f"{name}.conf").read_text().splitlines():
            yield f"    {line}"
        yield ""
        yield "For a request that the rule refuses, `explain` prints:"
        yield ""
        yield "<!-- text -->"
        yield ""
        yield f"    {example.explained}"

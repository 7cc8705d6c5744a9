"""How many images a project may have of its servers, and how many image actions at once."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import NamedTuple

from oslo_utils import uuidutils

#: The metadata key that says until when an image is kept.
EXPIRES = "imagefilter_expires"

#: Metadata keys that the filter sets itself on each judged image of a project with limits or an expiry. All of them:
#: Nova copies those of the image that a server was booted from, and its owner may have written an expiry into it.
STAMPS = ("imagefilter_server", "imagefilter_stamped", "imagefilter_record", EXPIRES)

# nova/image/glance.py, nova/compute/utils.py create_image(): what says of which server an image is, and what a backup
# is found by. A client's metadata of the same name wins over Nova's own.
_MARKS = {"createImage": ("instance_uuid",), "createBackup": ("instance_uuid", "image_type", "backup_type")}


#: The limits that Keystone may hold, by the option's name, which is the resource's.
KEYSTONE_LIMITS = ("snapshots_per_server", "snapshots_per_project", "snapshots_in_progress")


class Limits(NamedTuple):
    """The limits of one project; -1 is no limit."""

    per_server: int
    per_project: int
    in_progress: int
    one_at_a_time: bool
    rotation_max: int
    rotation_min: int
    from_keystone: bool = False  # these are only those that are not registered there
    own_count: bool = False  # one of the operator's own rules reads how many there are

    @property
    def count_images(self) -> bool:
        """Whether images have to be counted, or may have to be."""
        return self.from_keystone or self.per_server >= 0 or self.count_project

    @property
    def count_project(self) -> bool:
        """Whether all images of the project have to be counted."""
        return self.per_project >= 0 or self.in_progress >= 0 or self.own_count

    def is_enforced(self, modes: Mapping[str, str]) -> bool:
        """Return whether one of these limits may refuse a request.

        :param modes: of every rule.
        """
        limits = {
            "server-limit": self.per_server,
            "project-limit": self.per_project,
            "progress-limit": self.in_progress,
        }
        enforced = [limit for rule, limit in limits.items() if modes[rule] == "enforce"]
        return any(limit >= 0 or self.from_keystone for limit in enforced)


def apply_keystone(limits: Limits, registered: Mapping[str, int]) -> Limits:
    """Return the limits that apply.

    :param registered: those that Keystone holds, by the option's name.
    """
    return limits._replace(
        per_server=registered.get("snapshots_per_server", limits.per_server),
        per_project=registered.get("snapshots_per_project", limits.per_project),
        in_progress=registered.get("snapshots_in_progress", limits.in_progress),
    )


def find_marks(action: str) -> tuple[str, ...]:
    """Return the metadata keys by which images are counted and deleted, beside the stamps."""
    return _MARKS.get(action, ())


class LockKeys(NamedTuple):
    """The locks that an image action needs, as names that tell nothing; None: it needs none."""

    server: str | None = None
    project: str | None = None
    waits_for_server: bool = True  # False: a second action of the server is refused at once


def canonical_server_id(server_id: str) -> str:
    """Return a server's id in the one way in which Nova writes it into an image."""
    if uuidutils.is_uuid_like(server_id):
        return str(uuid.UUID(server_id))
    return server_id


def hash_names(*names: str) -> str:
    """Return a name of a lock: it tells nothing of those that it is made of."""
    return hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()[:32]

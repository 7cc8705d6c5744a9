"""May an image be deleted, and why not: pure functions, one row for each reason.

An image is deleted if no row objects. Rows come in two halves: those that look at the image alone, and those that look
at what is around it, which has to be asked for.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping, Sequence
from typing import Callable, NamedTuple

from imagefilter.housekeeping.image import Image

#: How far the clocks of two hosts may differ, and how long Glance may take to write a record.
TOLERANCE = datetime.timedelta(minutes=1)

# nova/compute/task_states.py: snapshots, backups and uploads; shelving, and what undoes it.
_BUSY = ("image_", "shelving", "unshelving")
_SHELVED = ("SHELVED", "SHELVED_OFFLOADED")


class Kind(enum.Enum):
    """Why an image is a candidate."""

    EXPIRED = "expired"
    ORPHAN = "orphan"


class Server(NamedTuple):
    """A server as Nova describes it."""

    status: str
    task_state: str  # empty: none


class Surroundings(NamedTuple):
    """What is around an image."""

    servers: Mapping[str, Server | None]  # each that the image names; None if it is gone
    is_booted_from: bool  # by any server that is not deleted
    is_record_shared: bool  # another image bears the same imagefilter_record


class Terms(NamedTuple):
    """What applies to all images of a run."""

    now: datetime.datetime
    lock_lease: datetime.timedelta  # how long after its stamp an image may be made
    older: datetime.timedelta  # how long an orphan must have been queued


class OwnReason(NamedTuple):
    """A reason to keep an image that lies in the image."""

    text: str
    applies: Callable[[Image, Terms], bool]
    kinds: tuple[Kind, ...] = tuple(Kind)


class OtherReason(NamedTuple):
    """A reason to keep an image that lies around it."""

    text: str
    applies: Callable[[Image, Surroundings], bool]
    kinds: tuple[Kind, ...] = tuple(Kind)


def is_expired(image: Image, terms: Terms) -> bool:
    """Return whether an image is listed as expired."""
    return image.has_expired(terms.now)


def is_orphan(image: Image, terms: Terms) -> bool:
    """Return whether an image of a server has waited for its data for too long."""
    times = (image.created_at, image.updated_at)
    is_old = all(time is not None and time <= terms.now - terms.older for time in times)
    return image.status == "queued" and bool(image.instance_uuid and image.image_type) and is_old


def is_busy_with_image(server: Server) -> bool:
    """Return whether a host may still be making an image of a server, or Nova be using one."""
    return server.task_state.startswith(_BUSY)


def _was_made_with_its_stamp(image: Image, terms: Terms) -> bool:
    """Return whether an image was made when the filter says so: a copy is made later."""
    if image.stamped is None or image.created_at is None:
        return False
    delay = image.created_at - image.stamped
    return -TOLERANCE <= delay <= terms.lock_lease + TOLERANCE


def _had_expired_when_made(image: Image, terms: Terms) -> bool:
    """Return whether an image was made after it expired: the filter sets no such expiry, a late copy has one."""
    times = (image.stamped, image.created_at)
    return image.expires is None or any(time is None or image.expires <= time for time in times)


def _is_of_another_server(image: Image, terms: Terms) -> bool:
    if image.is_volume_backed or not image.server:
        return False
    return image.instance_uuid != image.server


def _is_unknown(image: Image, around: Surroundings) -> bool:
    """Return whether Nova could not tell about a server: its cell is down, or nobody asked."""
    for server_id in image.servers:
        server = around.servers.get(server_id, Server("UNKNOWN", ""))
        if server is not None and server.status in ("", "UNKNOWN"):
            return True
    return False


def _is_shelved(image: Image, around: Surroundings) -> bool:
    return any(server is not None and server.status in _SHELVED for server in around.servers.values())


def _is_busy(image: Image, around: Surroundings) -> bool:
    return any(server is not None and is_busy_with_image(server) for server in around.servers.values())


_EXPIRED, _ORPHAN = (Kind.EXPIRED,), (Kind.ORPHAN,)

OWN_REASONS: tuple[OwnReason, ...] = (
    OwnReason("it is protected", lambda image, terms: image.is_protected),
    OwnReason("it is not private", lambda image, terms: image.visibility != "private"),
    OwnReason("it has not expired", lambda image, terms: not is_expired(image, terms), _EXPIRED),
    OwnReason("it is not stamped", lambda image, terms: not image.is_stamped, _EXPIRED),
    OwnReason("it is not active", lambda image, terms: image.status != "active", _EXPIRED),
    OwnReason("it says it is of another server than its stamp", _is_of_another_server),
    OwnReason(
        "it was not made when it was stamped", lambda image, terms: not _was_made_with_its_stamp(image, terms), _EXPIRED
    ),
    OwnReason("it had expired when it was made", _had_expired_when_made, _EXPIRED),
    OwnReason("it is not an orphan any more", lambda image, terms: not is_orphan(image, terms), _ORPHAN),
)

OTHER_REASONS: tuple[OtherReason, ...] = (
    OtherReason("another image bears its record", lambda image, around: around.is_record_shared, _EXPIRED),
    OtherReason("a server was booted from it", lambda image, around: around.is_booted_from),
    OtherReason("its server is shelved", _is_shelved),
    OtherReason("its server is busy with an image", _is_busy),
    OtherReason("its server can't be looked up", _is_unknown),
)


def why_keep_itself(image: Image, kind: Kind, terms: Terms, reasons: Sequence[OwnReason] = OWN_REASONS) -> str:
    """Return why an image must be kept, whatever is around it; empty if nothing in it objects."""
    for reason in reasons:
        if kind in reason.kinds and reason.applies(image, terms):
            return reason.text
    return ""


def why_keep_around(
    image: Image, kind: Kind, around: Surroundings, reasons: Sequence[OtherReason] = OTHER_REASONS
) -> str:
    """Return why an image must be kept because of what is around it; empty if nothing objects."""
    for reason in reasons:
        if kind in reason.kinds and reason.applies(image, around):
            return reason.text
    return ""

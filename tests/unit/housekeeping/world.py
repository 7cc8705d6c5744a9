"""Clouds that tenants, operators and the filter have made, with the truth about each image beside what it says.

A world is a list of steps, each a small tuple of numbers: who does what to which image or server. It answers the
reaper's questions as a cloud does, and judges each deletion by the truth, in words of its own.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from imagefilter.housekeeping.cloud import AskFailed, Document
from imagefilter.housekeeping.decision import Server, Terms
from imagefilter.housekeeping.image import RECORD, Image
from tests.unit.housekeeping.fakes import PROJECT, FakeCloud

Step = tuple[int, int, int, int]  # what, to whom, with what, and after how many minutes

MINUTES = (0, 0, 1, 2, 4, 8, 60, 24 * 60, 3 * 24 * 60)
EXPIRES = (5, 30, 24 * 60, 2 * 24 * 60)  # minutes after the stamp
OFFSETS = (0, 0, 0, 60, -60)  # minutes by which an API host's clock is wrong
STAMPS = ("imagefilter_server", "imagefilter_stamped", "imagefilter_record", "imagefilter_expires")
_HOST_TASKS = ("image_uploading", "shelving", "image_backup")
_TIME = "%Y-%m-%dT%H:%M:%SZ"
LEASE = datetime.timedelta(minutes=5)
DAY = datetime.timedelta(days=1)


class Truth:
    """What really happened to an image."""

    def __init__(self, server: str, is_judged: bool) -> None:
        self.server = server  # it was made of; empty: none
        self.is_judged = is_judged  # the filter stamped it, and set its expiry, when it was made


class World(FakeCloud):
    """A cloud with its history.

    :ivar mistakes: why images that were deleted should not have been.
    """

    def __init__(self, steps: list[Step]) -> None:
        self.now = datetime.datetime(2026, 12, 1, tzinfo=datetime.timezone.utc)
        self.truths: dict[str, Truth] = {}
        self.inherited: dict[str, dict[str, Any]] = {}  # by server: properties of the image that it was booted from
        self.mistakes: list[str] = []
        self.meanwhile: list[Step] = []  # steps that happen while the reaper runs
        self.failures: set[int] = set()  # numbers of questions that fail
        self._questions = 0
        self._images_made = self._servers_made = 0
        self._is_second_look = False
        super().__init__()
        for step in steps:
            self.take(step)
        self.now += datetime.timedelta(days=len(steps) % 4)

    @property
    def terms(self) -> Terms:
        return Terms(now=self.now, lock_lease=LEASE, older=DAY)

    # --- history

    def take(self, step: Step) -> None:
        """Let one thing happen."""
        what, whom, value, minutes = step
        actions = (*self._edits(), *self._others())
        actions[what % len(actions)](whom, value)
        self.now += datetime.timedelta(minutes=MINUTES[minutes % len(MINUTES)])

    def _edits(self) -> tuple[Callable[[int, int], None], ...]:
        """Return what can happen to an image alone."""
        return (self._protect, self._show, self._edit, self._extend, self._upload, self._remove_image, self._deactivate)

    def _others(self) -> tuple[Callable[[int, int], None], ...]:
        snapshots = (self._snapshot,) * 6
        servers = (self._boot, self._boot, self._shelve, self._busy, self._busy, self._busy, self._remove_server)
        return (*snapshots, self._restore, self._inherit, self._pass_on, self._pass_on, self._copy, *servers)

    def _image(self, number: int) -> dict[str, Any] | None:
        images = list(self.by_id.values())
        if not images:
            return None
        return images[number % len(images)]

    def _server(self, number: int) -> str:
        servers = list(self.server_documents)
        return servers[number % len(servers)]

    def _add(self, truth: Truth, **members: Any) -> None:
        self._images_made += 1
        image_id = f"image-{self._images_made}"
        document = {"id": image_id, "name": "x", "owner": PROJECT, "visibility": "private", "protected": False}
        document.update(status="active", size=1, created_at=self._text(), updated_at=self._text())
        self.by_id[image_id] = {**document, **members}
        self.truths[image_id] = truth

    def _text(self, minutes: float = 0) -> str:
        return (self.now + datetime.timedelta(minutes=minutes)).strftime(_TIME)

    def _snapshot(self, whom: int, value: int) -> None:
        """Let a tenant make an image through the filter; some are never finished, some are of a server on volumes."""
        server = self._server(whom)
        offset = OFFSETS[value % len(OFFSETS)]
        expires = EXPIRES[value % len(EXPIRES)]
        members = {"imagefilter_server": server, "imagefilter_record": str(uuid.UUID(int=self._images_made))}
        members["imagefilter_stamped"] = self._text(offset)
        members["imagefilter_expires"] = self._text(offset + expires)
        if value % 7 == 3:
            members["block_device_mapping"] = "[{}]"
        else:
            members.update(instance_uuid=server, image_type="snapshot")
        if value % 3 == 2 and "instance_uuid" in members:
            members.update(status="queued")
        self._add(Truth(server, is_judged=offset == 0), **members)

    def _inherit(self, whom: int, value: int) -> None:
        """Let Nova make an image that the filter does not judge, as a shelve: it inherits properties."""
        server = self._server(whom)
        members = {**self.inherited.get(server, {}), "instance_uuid": server, "image_type": "snapshot"}
        self._add(Truth(server, is_judged=False), **members)

    def _copy(self, whom: int, value: int) -> None:
        """Let a tenant, of this project or another, upload an image with the properties of one there is."""
        image = self._image(whom)
        if image:
            names = (*STAMPS, "instance_uuid", "image_type", "block_device_mapping", "os_hidden")
            members = {name: image[name] for name in names if name in image}
            members["owner"] = PROJECT if value % 2 else "2" * 32
            self._add(Truth("", is_judged=False), **members)
            self._note_forgery(list(self.by_id)[-1])

    def _note_forgery(self, image_id: str) -> None:
        """Take an image for one of the filter's if its owner wrote a stamp of the time at which it was made.

        Nobody can tell it from one: a copy within minutes whose original is gone, or stamps that were made up to fit.
        """
        image = self.by_id[image_id]
        made = datetime.datetime.fromisoformat(image["created_at"].replace("Z", "+00:00"))
        times = {(made - datetime.timedelta(minutes=number)).strftime(_TIME) for number in range(-1, 7)}
        if image.get("imagefilter_stamped") in times:
            self.truths[image_id].is_judged = True

    def _boot(self, whom: int, value: int) -> None:
        image = self._image(whom)
        if image and image["status"] == "active":
            self._servers_made += 1
            server = str(uuid.UUID(int=1000 + self._servers_made))
            self.boot(server, image["id"])
            self.inherited[server] = {name: image[name] for name in STAMPS if name in image}

    def _pass_on(self, whom: int, value: int) -> None:
        """Let a script boot a server from an image, have Nova make an image of that, and delete what it began with."""
        image = self._image(whom)
        if image and image["status"] == "active":
            self._boot(whom, value)
            self._inherit(len(self.server_documents) - 1, value)
            del self.server_documents[list(self.server_documents)[-1]]
            if value % 4:
                del self.by_id[image["id"]]

    def _upload(self, whom: int, value: int) -> None:
        """Let a host send the data of an image."""
        image = self._image(whom)
        if image and image["status"] in ("queued", "saving"):
            self._set(whom, status=("saving", "active")[value % 2])

    def _shelve(self, whom: int, value: int) -> None:
        server = self.server_documents[self._server(whom)]
        server["status"] = ("SHELVED", "SHELVED_OFFLOADED", "ACTIVE")[value % 3]

    def _busy(self, whom: int, value: int) -> None:
        server = self.server_documents[self._server(whom)]
        server["OS-EXT-STS:task_state"] = (*_HOST_TASKS, "rebooting", None)[value % 5]

    def _remove_server(self, whom: int, value: int) -> None:
        if len(self.server_documents) > 1:
            del self.server_documents[self._server(whom)]

    def _remove_image(self, whom: int, value: int) -> None:
        image = self._image(whom)
        if image:
            del self.by_id[image["id"]]

    def _protect(self, whom: int, value: int) -> None:
        self._set(whom, protected=bool(value % 3))

    def _show(self, whom: int, value: int) -> None:
        self._set(whom, visibility=("public", "community", "shared", "private")[value % 4])

    def _deactivate(self, whom: int, value: int) -> None:
        image = self._image(whom)
        if image and image["status"] in ("active", "deactivated"):
            self._set(whom, status=("deactivated", "active")[value % 2])

    def _edit(self, whom: int, value: int) -> None:
        """Let a tenant change or remove a property."""
        name = (*STAMPS, "instance_uuid", "image_type")[value % 6]
        texts = ("", "nonsense", self._text(-30 * 24 * 60), self._text(24 * 60), self._server(value))
        self._set(whom, **{name: texts[value // 6 % len(texts)]})
        image = self._image(whom)
        if image and name in ("imagefilter_stamped", "instance_uuid"):
            self._note_forgery(image["id"])

    def _extend(self, whom: int, value: int) -> None:
        """Let a tenant keep an image for longer, or mistake the year."""
        days = (1, 1, -365)[value % 3]
        self._set(whom, imagefilter_expires=self._text(days * 24 * 60))

    def _restore(self, whom: int, value: int) -> None:
        """Let a tenant write the properties of one image into another."""
        image, other = self._image(whom), self._image(value)
        if image and other:
            members = {name: other[name] for name in STAMPS if name in other}
            self._set(whom, **members)
            self._note_forgery(image["id"])

    def _set(self, whom: int, **members: Any) -> None:
        image = self._image(whom)
        if image:
            image.update(members, updated_at=self._text())

    # --- questions: things happen meanwhile, and some fail

    def images(self) -> Iterator[list[Document]]:
        self._fail_at_times()
        self._happen()
        return super().images()

    def image(self, image_id: str) -> Document | None:
        """The first look at an image comes before the questions about what is around it, the second one after."""
        self._fail_at_times()
        if not self._is_second_look:
            self._happen(image_id)
        self._is_second_look = False
        return super().image(image_id)

    def has_others_with_record(self, image: Image, since: datetime.datetime) -> bool:
        self._fail_at_times()
        return super().has_others_with_record(image, since)

    def server(self, server_id: str) -> Server | None:
        self._fail_at_times()
        return super().server(server_id)

    def is_booted_from(self, image_id: str) -> bool:
        """The last question about what is around an image: now its owner may still change it."""
        self._fail_at_times()
        is_booted = super().is_booted_from(image_id)
        self._is_second_look = True
        self._edit_one(image_id)
        return is_booted

    def _happen(self, image_id: str = "") -> None:
        """Let something happen: to an image that is being looked at, or anything."""
        if self.meanwhile and self.meanwhile[-1][3] % 2:
            self._edit_one(image_id)
        elif self.meanwhile:
            what, whom, value, _ = self.meanwhile.pop()
            self.take((what, whom, value, 0))

    def _edit_one(self, image_id: str) -> None:
        if self.meanwhile and image_id in self.by_id:
            what, _, value, _ = self.meanwhile.pop()
            edits = self._edits()
            edits[what % len(edits)](list(self.by_id).index(image_id), value)

    def _fail_at_times(self) -> None:
        self._questions += 1
        if self._questions in self.failures:
            self._is_second_look = False
            raise AskFailed("500")

    def delete_image(self, image_id: str) -> bool:
        image = self.by_id.get(image_id)
        if image:
            reason = self._why_wrong(image, self.truths[image_id])
            if reason:
                self.mistakes.append(f"{image_id}: {reason}: {image}")
        return super().delete_image(image_id)

    # --- the truth

    def _why_wrong(self, image: dict[str, Any], truth: Truth) -> str:
        """Return why an image should not be deleted; empty if it may be."""
        if image["protected"] or image["visibility"] != "private":
            return "its owner protects it or shows it to others"
        if any(document["image"] == {"id": image["id"]} for document in self.server_documents.values()):
            return "a server needs it"
        named = [self.server_documents.get(image.get(name, "")) for name in ("instance_uuid", "imagefilter_server")]
        if any(server is not None and server["status"].startswith("SHELVED") for server in named):
            return "it is of a shelved server"
        if image["status"] == "queued":
            return self._why_no_orphan(image, truth)
        return self._why_not_expired(image, truth)

    def _why_no_orphan(self, image: dict[str, Any], truth: Truth) -> str:
        server = self.server_documents.get(truth.server)
        if not truth.server:
            return "no server made it"
        if max(image["created_at"], image["updated_at"]) > (self.now - DAY).strftime(_TIME):
            return "it is young"
        if server and (server["OS-EXT-STS:task_state"] or "") in _HOST_TASKS:
            return "its host may be at work"
        return ""

    def _why_not_expired(self, image: dict[str, Any], truth: Truth) -> str:
        if image["status"] != "active":
            return "it is not finished, or an administrator looks at it"
        if not truth.is_judged:
            return "the filter never gave it an expiry"
        if not all(image.get(name) for name in STAMPS):
            return "a stamp is missing"
        expires = image["imagefilter_expires"]
        if not image["created_at"] <= expires <= self._text():
            return "it has not expired"
        if sum(other.get(RECORD) == image[RECORD] for other in self.by_id.values()) > 1:
            return "there is a copy of it"
        return ""

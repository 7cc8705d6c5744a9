"""List images that have expired, and delete them one by one: each is looked at again, with the servers that need it.

Volumes, and what other images name, are read once, in the survey.
"""

from __future__ import annotations

import contextlib
import datetime
import enum
from collections.abc import Iterator
from typing import NamedTuple

from imagefilter.housekeeping.cloud import AskFailed, Cloud, Refused
from imagefilter.housekeeping.decision import TOLERANCE, Kind, Surroundings, Terms, why_keep_around, why_keep_itself
from imagefilter.housekeeping.deletions import Deletion, Journal
from imagefilter.housekeeping.image import Image, read_image
from imagefilter.housekeeping.survey import Progress, Survey, survey


class Decision(enum.Enum):
    """What became of a candidate."""

    WOULD_DELETE = "would delete"
    DELETED = "deleted"
    KEPT = "kept"
    GONE = "gone"
    FAILED = "failed"


class Row(NamedTuple):
    """What became of one image, or of a volume snapshot that it named."""

    decision: Decision
    reason: str
    kind: Kind
    image: Image
    volume_snapshot: str = ""


class Options(NamedTuple):
    """What a run does."""

    kinds: tuple[Kind, ...]
    delete: bool = False
    with_volume_snapshots: bool = False


class Reaper:
    """One run.

    :param journal: for records of deletions; None if nothing is deleted.
    """

    def __init__(self, cloud: Cloud, terms: Terms, options: Options, journal: Journal | None) -> None:
        self._cloud = cloud
        self._terms = terms
        self._options = options
        self._journal = journal

    def run(self, progress: Progress) -> Iterator[Row]:
        """Yield a row for each candidate.

        :raises AskFailed: if the cloud can't be read as a whole, or the clocks differ: nothing is deleted then.
        :raises OSError: if a record can't be written; the run ends before the image of that record is deleted.
        """
        _check_clock(self._cloud.clock_error())
        found = survey(self._cloud, self._terms, self._options.kinds, progress)
        for number, (image_id, kind) in enumerate(found.candidates.items(), 1):
            yield from self._treat(image_id, kind, found)
            progress(number, f"of {len(found.candidates)} candidates")

    def _treat(self, image_id: str, kind: Kind, found: Survey) -> Iterator[Row]:
        image = read_image({"id": image_id})  # all that is known if it can't be read
        try:
            first = self._cloud.image(image_id)
            if first is None:
                yield Row(Decision.GONE, "", kind, image)
                return
            image = read_image(first)
            reason = self._why_keep(image, kind, found)
            second = self._cloud.image(image_id)
        except AskFailed as error:
            yield Row(Decision.FAILED, str(error), kind, image)
            return
        if reason:
            yield Row(Decision.KEPT, reason, kind, image)
        elif second is None:
            yield Row(Decision.GONE, "", kind, image)
        elif second != first:
            yield Row(Decision.KEPT, "it changed while it was looked at", kind, image)
        elif self._options.delete:
            yield from self._delete(image, kind, found)
        else:
            yield Row(Decision.WOULD_DELETE, "", kind, image)

    def _why_keep(self, image: Image, kind: Kind, found: Survey) -> str:
        """Return why an image must be kept; what has to be asked for is only asked if the image itself allows it."""
        return why_keep_itself(image, kind, self._terms) or why_keep_around(image, kind, self._look(image, found))

    def _look(self, image: Image, found: Survey) -> Surroundings:
        shares = image.record in found.shared_records
        if image.record and not shares:
            # All others were in the survey.
            shares = self._cloud.has_others_with_record(image, self._terms.now - 2 * TOLERANCE)
        return Surroundings(
            servers={server_id: self._cloud.server(server_id) for server_id in image.servers},
            is_booted_from=image.id in found.boot_images or self._cloud.is_booted_from(image.id),
            is_record_shared=shares,
        )

    def _delete(self, image: Image, kind: Kind, found: Survey) -> Iterator[Row]:
        deletion = Deletion("deleteImage", f"/v2/images/{image.id}", kind.value, image)
        row = self._delete_one(deletion, kind)
        yield row
        if row.decision is Decision.DELETED and self._options.with_volume_snapshots:
            for snapshot_id in image.volume_snapshots:
                yield self._delete_volume_snapshot(image, kind, snapshot_id, found)

    def _delete_one(self, deletion: Deletion, kind: Kind) -> Row:
        """Record a deletion, and do it."""
        assert self._journal is not None
        verdict_id = self._journal.write_verdict(deletion)
        status: int | None = 204
        decision, reason = Decision.DELETED, ""
        try:
            if not self._send(deletion):
                status, decision = 404, Decision.GONE
        except Refused as refusal:
            status, decision, reason = refusal.status, Decision.FAILED, str(refusal)
        except AskFailed as error:
            status, decision, reason = None, self._look_after_failure(deletion), str(error)
        self._journal.write_outcome(deletion, verdict_id, status, reason)
        return Row(decision, reason, kind, deletion.image, deletion.volume_snapshot)

    def _look_after_failure(self, deletion: Deletion) -> Decision:
        """Return what became of an image whose deletion got no answer: Glance says 500 if another one deletes it."""
        with contextlib.suppress(AskFailed):
            if not deletion.volume_snapshot and self._cloud.image(deletion.image.id) is None:
                return Decision.GONE
        return Decision.FAILED

    def _send(self, deletion: Deletion) -> bool:
        if deletion.volume_snapshot:
            return self._cloud.delete_volume_snapshot(deletion.volume_snapshot)
        return self._cloud.delete_image(deletion.image.id)

    def _delete_volume_snapshot(self, image: Image, kind: Kind, snapshot_id: str, found: Survey) -> Row:
        try:
            reason = self._why_keep_snapshot(image, snapshot_id, found)
        except AskFailed as error:
            return Row(Decision.FAILED, str(error), kind, image, snapshot_id)
        if reason:
            return Row(Decision.KEPT, reason, kind, image, snapshot_id)
        path = f"/v3/snapshots/{snapshot_id}"
        return self._delete_one(Deletion("deleteVolumeSnapshot", path, kind.value, image, snapshot_id), kind)

    def _why_keep_snapshot(self, image: Image, snapshot_id: str, found: Survey) -> str:
        """Return why a volume snapshot must be kept: a tenant may write any id into an image."""
        snapshot = self._cloud.volume_snapshot(snapshot_id)
        if snapshot is None:
            return "it is gone"
        if snapshot_id in found.shared_snapshots:
            return "another image names it"
        if snapshot.project_id != image.owner:
            return "it is of another project than the image"
        if not _was_made_for(image, snapshot.created_at):
            return "it was not made with the image"
        return ""


def _was_made_for(image: Image, created_at: datetime.datetime | None) -> bool:
    """Return whether a volume snapshot was made between the stamp of the image and the image."""
    if created_at is None or image.stamped is None or image.created_at is None:
        return False
    return image.stamped - TOLERANCE <= created_at <= image.created_at + TOLERANCE


def _check_clock(error: datetime.timedelta | None) -> None:
    if error is None:
        raise AskFailed("neither Glance nor Keystone says what time it is, so this host's clock may be wrong")
    if error > TOLERANCE:
        raise AskFailed(f"this host's clock and the cloud's differ by {error.total_seconds():.0f} s: set it first")

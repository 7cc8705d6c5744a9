"""A run of the reaper on a cloud in memory."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from imagefilter.housekeeping.cloud import AskFailed, Document, Refused, VolumeSnapshot
from imagefilter.housekeeping.decision import Kind
from imagefilter.housekeeping.image import read_time
from imagefilter.housekeeping.reaper import Decision, Options, Reaper, Row
from tests.unit.housekeeping.fakes import (
    IN_USE,
    NO_ANSWER,
    OTHER_SERVER,
    PROJECT,
    SERVER,
    TERMS,
    FakeCloud,
    MemoryJournal,
    at,
    orphan,
    snapshot,
)

SNAPSHOT = "bbbbbbbb-0000-4000-8000-000000000001"
VOLUMES = f'[{{"snapshot_id": "{SNAPSHOT}", "source_type": "snapshot"}}, {{"no_device": true}}, 7]'


def reap(cloud: FakeCloud, journal: MemoryJournal | None = None, **options: Any) -> list[Row]:
    """Run once."""
    options = {"kinds": (Kind.EXPIRED,), "delete": True, **options}
    journal = journal or MemoryJournal()
    return list(Reaper(cloud, TERMS, Options(**options), journal).run(lambda count, things: None))  # type: ignore[arg-type]


def decisions(rows: list[Row]) -> list[tuple[str, Decision, str]]:
    return [(row.image.id, row.decision, row.reason) for row in rows]


def test_deletes_what_has_expired_and_records_it() -> None:
    cloud, journal = FakeCloud(snapshot("1"), snapshot("2", imagefilter_expires=at(days=-1))), MemoryJournal()
    assert decisions(reap(cloud, journal)) == [("1", Decision.DELETED, "")]
    assert (cloud.deleted, list(cloud.by_id)) == (["1"], ["2"])
    assert journal.records == [("verdict", "deleteImage", "1"), ("outcome", "1", "204")]


def test_a_rehearsal_decides_alike_and_deletes_nothing() -> None:
    cloud, journal = FakeCloud(snapshot("1"), snapshot("2", protected=True)), MemoryJournal()
    expected = [("1", Decision.WOULD_DELETE, ""), ("2", Decision.KEPT, "it is protected")]
    assert decisions(reap(cloud, journal, delete=False)) == expected
    assert (cloud.deleted, journal.records) == ([], [])


def test_orphans_are_left_alone_unless_asked_for() -> None:
    cloud = FakeCloud(orphan("1"))
    assert reap(cloud) == []
    assert decisions(reap(cloud, kinds=(Kind.EXPIRED, Kind.ORPHAN))) == [("1", Decision.DELETED, "")]


@pytest.mark.parametrize("page", range(5))
def test_a_copy_protects_both_wherever_it_is(page: int) -> None:
    others = [snapshot(str(number), imagefilter_expires=None) for number in range(2, 12)]
    copy = snapshot("copy", imagefilter_record="record-1", owner="2" * 32)
    cloud = FakeCloud(snapshot("1"), *others[: 2 * page], copy, *others[2 * page :])
    reason = "another image bears its record"
    assert decisions(reap(cloud)) == [("1", Decision.KEPT, reason), ("copy", Decision.KEPT, reason)]


def test_a_409_is_reported_and_the_run_goes_on() -> None:
    cloud, journal = FakeCloud(snapshot("1"), snapshot("2")), MemoryJournal()
    cloud.refused["1"] = IN_USE
    expected = [("1", Decision.FAILED, "409 the image is in use"), ("2", Decision.DELETED, "")]
    assert decisions(reap(cloud, journal)) == expected
    assert ("outcome", "1", "409") in journal.records


def test_an_unknown_outcome_is_recorded_as_such() -> None:
    cloud, journal = FakeCloud(snapshot("1")), MemoryJournal()
    cloud.refused["1"] = NO_ANSWER
    assert decisions(reap(cloud, journal)) == [("1", Decision.FAILED, "image: DELETE: 500")]
    assert journal.records[-1] == ("outcome", "1", "None")


def test_an_image_that_is_gone_after_a_failure_is_gone() -> None:
    cloud, journal = FakeCloud(snapshot("1")), MemoryJournal()

    def delete(image_id: str) -> bool:
        del cloud.by_id[image_id]
        raise NO_ANSWER

    cloud.delete_image = delete  # type: ignore[method-assign]
    assert [row.decision for row in reap(cloud, journal)] == [Decision.GONE]
    assert journal.records[-1] == ("outcome", "1", "None")


def test_nothing_is_deleted_without_a_record() -> None:
    cloud, journal = FakeCloud(snapshot("1"), snapshot("2")), MemoryJournal()
    journal.error = OSError("no space left")
    with pytest.raises(OSError, match="no space"):
        reap(cloud, journal)
    assert cloud.deleted == []


@pytest.mark.parametrize("clock", [None, datetime.timedelta(seconds=61), datetime.timedelta(hours=1)])
def test_nothing_is_deleted_by_a_clock_that_may_be_wrong(clock: datetime.timedelta | None) -> None:
    cloud = FakeCloud(snapshot("1"))
    cloud.clock = clock
    with pytest.raises(AskFailed, match="clock"):
        reap(cloud)
    assert cloud.deleted == []


def test_nothing_is_deleted_while_a_cell_is_down() -> None:
    cloud = FakeCloud(snapshot("1"))
    cloud.server_documents["down"] = {"id": "down", "status": "UNKNOWN"}
    with pytest.raises(AskFailed, match="the cell of server down is down"):
        reap(cloud)


def test_a_volume_that_was_made_of_an_image_counts_while_it_is_attached() -> None:
    cloud = FakeCloud(snapshot("1"), snapshot("2"))
    cloud.volume_documents = [
        {"id": "v1", "attachments": [{"server_id": SERVER}], "volume_image_metadata": {"image_id": "1"}},
        {"id": "v2", "attachments": [], "volume_image_metadata": {"image_id": "2"}},
        {"id": "v3", "attachments": [{"server_id": SERVER}]},
    ]
    expected = [("1", Decision.KEPT, "a server was booted from it"), ("2", Decision.DELETED, "")]
    assert decisions(reap(cloud)) == expected


# --- while it runs


class ChangingCloud(FakeCloud):
    """A cloud in which something happens to image 1 just before a question."""

    def __init__(self, question: str, change: Callable[[FakeCloud], object]) -> None:
        super().__init__(snapshot("1"), snapshot("2", imagefilter_expires=None))
        self._question, self._change = question, change

    def _happen(self, question: str) -> None:
        if question == self._question:
            self._question = ""
            self._change(self)

    def servers(self) -> Iterator[list[Document]]:
        self._happen("servers")
        return super().servers()

    def image(self, image_id: str) -> Document | None:
        self._happen("image")
        return super().image(image_id)

    def server(self, server_id: str) -> Any:
        self._happen("server")
        return super().server(server_id)


def set_member(name: str, value: Any) -> Callable[[FakeCloud], object]:
    return lambda cloud: cloud.by_id["1"].update({name: value})


CHANGES: list[tuple[Callable[[FakeCloud], object], str]] = [
    (set_member("protected", True), "it is protected"),
    (set_member("visibility", "public"), "it is not private"),
    (set_member("imagefilter_expires", at(days=-30)), "it has not expired"),
    (lambda cloud: cloud.boot(OTHER_SERVER, image_id="1"), "a server was booted from it"),
    (lambda cloud: cloud.boot(SERVER, status="SHELVED"), "its server is shelved"),
    (
        lambda cloud: cloud.by_id.update({"copy": snapshot("copy", imagefilter_record="record-1", updated_at=at())}),
        "another image bears its record",
    ),
]


@pytest.mark.parametrize("question", ["servers", "image"])
@pytest.mark.parametrize(("change", "reason"), CHANGES)
def test_what_changes_after_the_survey_is_seen(
    question: str, change: Callable[[FakeCloud], object], reason: str
) -> None:
    cloud = ChangingCloud(question, change)
    assert decisions(reap(cloud)) == [("1", Decision.KEPT, reason)]


@pytest.mark.parametrize(("change", "_"), CHANGES[:3])
def test_what_changes_during_the_second_look_is_seen(change: Callable[[FakeCloud], object], _: str) -> None:
    cloud = ChangingCloud("server", change)
    assert decisions(reap(cloud)) == [("1", Decision.KEPT, "it changed while it was looked at")]


@pytest.mark.parametrize("question", ["servers", "image"])
def test_an_image_that_is_gone_is_left_alone(question: str) -> None:
    cloud = ChangingCloud(question, lambda cloud: cloud.by_id.pop("1"))
    assert decisions(reap(cloud)) == [("1", Decision.GONE, "")]


def test_two_reapers_at_once_delete_each_image_once() -> None:
    cloud = FakeCloud(*(snapshot(str(number)) for number in range(20)))
    runs = []
    for _ in range(2):
        options = Options(kinds=(Kind.EXPIRED,), delete=True)
        runs.append(Reaper(cloud, TERMS, options, MemoryJournal()).run(lambda count, things: None))  # type: ignore[arg-type]
    rows = [row for pair in zip(*runs) for row in pair]
    assert len(cloud.deleted) == len(set(cloud.deleted)) == 20
    assert {row.decision for row in rows} <= {Decision.DELETED, Decision.GONE}


# --- questions that fail


def failing_cloud(question: str) -> FakeCloud:
    """Return a cloud of which one question fails."""

    def fail(*args: Any) -> Any:
        raise AskFailed(f"{question}: 500")

    cloud = FakeCloud(snapshot("1"))
    setattr(cloud, question, fail)
    return cloud


@pytest.mark.parametrize("question", ["images", "servers", "volumes", "clock_error"])
def test_a_survey_that_fails_ends_the_run(question: str) -> None:
    cloud = failing_cloud(question)
    with pytest.raises(AskFailed):
        reap(cloud)
    assert cloud.deleted == []


@pytest.mark.parametrize("question", ["image", "server", "is_booted_from", "has_others_with_record"])
def test_an_image_whose_facts_are_unknown_is_not_deleted(question: str) -> None:
    cloud = failing_cloud(question)
    assert decisions(reap(cloud)) == [("1", Decision.FAILED, f"{question}: 500")]
    assert cloud.deleted == []


# --- volume snapshots


def on_volumes(image_id: str = "1", **members: Any) -> dict[str, Any]:
    return snapshot(image_id, block_device_mapping=VOLUMES, instance_uuid=None, size=0, **members)


def cloud_with_volumes(*images: dict[str, Any], **members: Any) -> FakeCloud:
    cloud = FakeCloud(*images)
    made = {"id": SNAPSHOT, "project_id": PROJECT, "created_at": read_time(at(days=30, seconds=1)), **members}
    cloud.snapshots[SNAPSHOT] = VolumeSnapshot(**made)
    return cloud


def test_volume_snapshots_stay_unless_asked_for() -> None:
    cloud = cloud_with_volumes(on_volumes())
    assert decisions(reap(cloud)) == [("1", Decision.DELETED, "")]
    assert list(cloud.snapshots) == [SNAPSHOT]


def test_volume_snapshots_are_deleted_after_their_image() -> None:
    cloud, journal = cloud_with_volumes(on_volumes()), MemoryJournal()
    rows = reap(cloud, journal, with_volume_snapshots=True)
    assert [(row.decision, row.volume_snapshot) for row in rows] == [
        (Decision.DELETED, ""),
        (Decision.DELETED, SNAPSHOT),
    ]
    assert cloud.deleted == ["1", SNAPSHOT]
    assert journal.records[2] == ("verdict", "deleteVolumeSnapshot", SNAPSHOT)


KEPT_SNAPSHOTS: dict[str, tuple[dict[str, Any], str]] = {
    "of another project": ({"project_id": "2" * 32}, "it is of another project than the image"),
    "made a month later": ({"created_at": read_time(at(days=1))}, "it was not made with the image"),
    "made before": ({"created_at": read_time(at(days=31))}, "it was not made with the image"),
    "made at an unknown time": ({"created_at": None}, "it was not made with the image"),
}


@pytest.mark.parametrize(("members", "reason"), KEPT_SNAPSHOTS.values(), ids=KEPT_SNAPSHOTS)
def test_a_tenant_can_not_have_other_snapshots_deleted(members: dict[str, Any], reason: str) -> None:
    cloud = cloud_with_volumes(on_volumes(), **members)
    rows = reap(cloud, with_volume_snapshots=True)
    assert [(row.decision, row.reason) for row in rows] == [(Decision.DELETED, ""), (Decision.KEPT, reason)]
    assert list(cloud.snapshots) == [SNAPSHOT]


def test_a_snapshot_that_another_image_names_is_kept() -> None:
    cloud = cloud_with_volumes(on_volumes(), on_volumes("2", imagefilter_expires=None))
    assert reap(cloud, with_volume_snapshots=True)[1].reason == "another image names it"


def test_the_snapshots_of_an_image_that_is_kept_are_kept() -> None:
    cloud = cloud_with_volumes(on_volumes())
    cloud.refused["1"] = IN_USE
    assert [row.decision for row in reap(cloud, with_volume_snapshots=True)] == [Decision.FAILED]
    assert list(cloud.snapshots) == [SNAPSHOT]


def test_a_snapshot_that_cinder_refuses_is_reported() -> None:
    cloud = cloud_with_volumes(on_volumes())
    cloud.refused[SNAPSHOT] = Refused(400, "400 it has dependent volumes")
    assert reap(cloud, with_volume_snapshots=True)[1].reason == "400 it has dependent volumes"

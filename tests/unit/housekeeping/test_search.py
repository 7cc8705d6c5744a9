"""A search over clouds for a deletion that should not be; it must find each mistake that is planted."""

from __future__ import annotations

import contextlib
import datetime
import functools
from collections.abc import Iterator
from typing import Any, Callable

import pytest

pytest.importorskip("hypothesis", reason="no hypothesis in this virtualenv")

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from imagefilter.housekeeping import reaper, survey
from imagefilter.housekeeping.cloud import AskFailed
from imagefilter.housekeeping.decision import (
    OTHER_REASONS,
    OWN_REASONS,
    Kind,
    Surroundings,
    why_keep_around,
    why_keep_itself,
)
from imagefilter.housekeeping.image import Image
from imagefilter.housekeeping.reaper import Options, Reaper
from tests.unit.housekeeping.fakes import MemoryJournal
from tests.unit.housekeeping.world import World

EXAMPLES = 10000  # clouds; the last of the planted mistakes is found in half as many

_SMALL = st.integers(0, 100)
_STEP = st.tuples(_SMALL, _SMALL, _SMALL, _SMALL)
_STEPS = st.lists(_STEP, min_size=2, max_size=14)
_MEANWHILE = st.lists(_STEP, max_size=4)
_FAILURES = st.sets(st.integers(3, 40), max_size=3)
_RUN = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


class MistakeFound(Exception):
    """A reaper deleted something that it should not."""


def find_mistake(build: Callable[..., Reaper]) -> str:
    """Search until a reaper deletes something that it should not; return what, or empty."""
    counts = {"clouds": 0, "deleted": 0}

    @seed(20261127)
    @_RUN
    @given(steps=_STEPS, meanwhile=_MEANWHILE, failures=_FAILURES)
    def search(steps: Any, meanwhile: Any, failures: set[int]) -> None:
        world = World(steps)
        world.meanwhile, world.failures = list(meanwhile), failures
        options = Options(kinds=(Kind.EXPIRED, Kind.ORPHAN), delete=True)
        with contextlib.suppress(AskFailed):
            list(build(world, world.terms, options, MemoryJournal()).run(lambda count, things: None))
        counts["clouds"] += 1
        counts["deleted"] += len(world.deleted)
        if world.mistakes:
            raise MistakeFound(world.mistakes[0])

    try:
        search()
    except MistakeFound as found:
        print(f"found in cloud {counts['clouds']}: {found}")
        return str(found)
    print(f"{counts['deleted']} images were deleted in {counts['clouds']} clouds")
    assert counts["deleted"] > counts["clouds"] / 10, "hardly anything was deleted at all"
    return ""


@pytest.mark.slow
def test_deletes_nothing_that_it_should_not() -> None:
    assert find_mistake(Reaper) == ""


# --- planted mistakes


class Hasty(Reaper):
    """Does not look a second time."""

    def _treat(self, image_id: str, kind: Kind, found: Any) -> Iterator[reaper.Row]:
        image = reaper.read_image(self._cloud.image(image_id) or {"id": image_id})
        try:
            if not self._why_keep(image, kind, found):
                yield from self._delete(image, kind, found)
        except AskFailed:
            return


class Optimist(Reaper):
    """Takes a server that could not be looked up for one that is gone."""

    def _look(self, image: Image, found: Any) -> Surroundings:
        try:
            return super()._look(image, found)
        except AskFailed:
            return Surroundings(dict.fromkeys(image.servers), is_booted_from=False, is_record_shared=False)


class Forgetful(Reaper):
    """Believes what the survey said of servers and records, and asks nobody again."""

    def _look(self, image: Image, found: Any) -> Surroundings:
        around = super()._look(image, found)
        return around._replace(
            is_booted_from=image.id in found.boot_images, is_record_shared=image.record in found.shared_records
        )


class Provincial(Reaper):
    """Sees copies in the image's own project only."""

    def _look(self, image: Image, found: Any) -> Surroundings:
        return super()._look(image, found._replace(shared_records=frozenset()))


class Patient(Reaper):
    """Lets an image be made a day after its stamp."""

    def __init__(self, cloud: Any, terms: Any, *args: Any) -> None:
        super().__init__(cloud, terms._replace(lock_lease=datetime.timedelta(days=1)), *args)


class Early(Reaper):
    """Its clock is an hour ahead, and it does not compare it."""

    def __init__(self, cloud: Any, terms: Any, *args: Any) -> None:
        super().__init__(cloud, terms._replace(now=terms.now + datetime.timedelta(hours=1)), *args)


class Narrow(Reaper):
    """Looks up the server in instance_uuid only."""

    def _look(self, image: Image, found: Any) -> Surroundings:
        around = super()._look(image, found)
        servers = {key: server for key, server in around.servers.items() if key == image.instance_uuid}
        return around._replace(servers={**dict.fromkeys(image.servers), **servers})


MISTAKES = (Hasty, Optimist, Forgetful, Provincial, Patient, Early, Narrow)

#: A reason that no world gives: cells that are down end a run before it looks at any image.
NOT_IN_WORLDS = "its server can't be looked up"


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_finds_a_planted_mistake(mistake: type[Reaper]) -> None:
    assert find_mistake(mistake)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(OWN_REASONS)), ids=lambda number: OWN_REASONS[number].text)
def test_finds_a_reason_that_is_missing(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = OWN_REASONS[:number] + OWN_REASONS[number + 1 :]
    monkeypatch.setattr(reaper, "why_keep_itself", functools.partial(why_keep_itself, reasons=rest))
    assert find_mistake(Reaper)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(OTHER_REASONS)), ids=lambda number: OTHER_REASONS[number].text)
def test_finds_a_reason_around_an_image_that_is_missing(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if OTHER_REASONS[number].text == NOT_IN_WORLDS:
        pytest.skip("cells that are down end a run before it looks at any image")
    rest = OTHER_REASONS[:number] + OTHER_REASONS[number + 1 :]
    monkeypatch.setattr(reaper, "why_keep_around", functools.partial(why_keep_around, reasons=rest))
    assert find_mistake(Reaper)


@pytest.mark.slow
def test_finds_that_hidden_images_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A survey that reads half of the images misses copies."""
    add = survey._Repeated.add

    def add_every_other(self: Any, text: str) -> None:
        self.count = getattr(self, "count", 0) + 1
        if self.count % 2:
            add(self, text)

    monkeypatch.setattr(survey._Repeated, "add", add_every_other)
    assert find_mistake(Reaper)

"""No spelling of an image action bypasses the filter: the assertions are on the images that Nova makes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple

import pytest

from tests.nova.cloud import NOVA, Cloud
from tests.nova.images import Image
from tests.records import verdicts
from tests.spellings import SPELLINGS, TWO_ITEMS, Document, Spelling, build_request, create_backup, create_image
from tests.wsgi import send

OFF = {"snapshots_enabled": "false", "actions": "createImage, createBackup, shelve"}
OPTIONS = {"bare": None, "two items": TWO_ITEMS, "off": OFF}
IDS = [spelling.id for spelling in SPELLINGS]
REFUSED = [spelling for spelling in SPELLINGS if spelling.refused]
NOT_REFUSED = [spelling for spelling in SPELLINGS if not spelling.refused]


def shelve(items: int) -> Document:
    return {"shelve": {"ignored": True}}


DOCUMENTS = {"createImage": create_image, "createBackup": create_backup, "shelve": shelve}


class Outcome(NamedTuple):
    """What Nova made of a request, and what the filter recorded of it."""

    images: list[Image]
    verdicts: list[dict[str, Any]]

    @property
    def is_recorded(self) -> bool:
        """Whether there is the record of a verdict for each image, and no other."""
        recorded = [(own["verdict"], own["image_name"], own["metadata_keys"]) for own in self.verdicts]
        return recorded == [("allow", image.name, list(image.metadata)) for image in self.images]


Attempt = Callable[[str, Spelling, str, int], Outcome]


@pytest.fixture(scope="session")
def attempt(cloud: Cloud) -> Attempt:
    """Return a function that sends an action once in a run of tests, and returns its outcome each time."""
    outcomes: dict[tuple[str, str, str, int], Outcome] = {}

    def attempt_once(options: str, spelling: Spelling, action: str, items: int) -> Outcome:
        key = (options, spelling.id, action, items)
        if key not in outcomes:
            outcomes[key] = send_spelling(cloud, cloud.app(OPTIONS[options]), spelling, DOCUMENTS[action](items))
        return outcomes[key]

    return attempt_once


def send_spelling(cloud: Cloud, app: Any, spelling: Spelling, document: Document) -> Outcome:
    arguments, environ = build_request(spelling, document, cloud.server)
    with contextlib.suppress(UnicodeError):  # webob raises it for a response to a path that it can't decode
        send(app, *arguments, **environ)
    cloud.settle()
    return Outcome(cloud.images(), verdicts(cloud.records()))


def images_of(document: Document) -> list[Image]:
    """Return the images that Nova makes of a document."""
    [entity] = document.values()
    return [Image(entity["name"], entity["metadata"])]


@pytest.mark.parametrize("action", ["createImage", "createBackup"])
@pytest.mark.parametrize("spelling", SPELLINGS, ids=IDS)
def test_only_judged_images_are_made(spelling: Spelling, action: str, attempt: Attempt) -> None:
    assert attempt("two items", spelling, action, 3).images == []
    outcome = attempt("two items", spelling, action, 2)
    assert outcome.images in ([], images_of(DOCUMENTS[action](2)))
    assert outcome.is_recorded or not outcome.images


@pytest.mark.parametrize("spelling", NOT_REFUSED, ids=[spelling.id for spelling in NOT_REFUSED])
def test_an_allowed_image_is_made_as_by_a_bare_nova(spelling: Spelling, attempt: Attempt) -> None:
    bare = attempt("bare", spelling, "createImage", 2)
    assert attempt("two items", spelling, "createImage", 2).images == bare.images


@pytest.mark.parametrize("spelling", REFUSED, ids=[spelling.id for spelling in REFUSED])
def test_some_spellings_are_refused_whatever_they_ask_for(spelling: Spelling, attempt: Attempt) -> None:
    assert attempt("two items", spelling, "createImage", 2).images == []


@pytest.mark.parametrize("action", DOCUMENTS)
@pytest.mark.parametrize("spelling", SPELLINGS, ids=IDS)
def test_no_images_are_made_where_snapshots_are_off(spelling: Spelling, action: str, attempt: Attempt) -> None:
    assert attempt("off", spelling, action, 1).images == []


@pytest.fixture
def cloud_on_volume(cloud: Cloud) -> Iterator[Cloud]:
    """The cloud with a server that boots from a volume."""
    with cloud.on_volume():
        yield cloud


@pytest.mark.parametrize("spelling", SPELLINGS, ids=IDS)
def test_only_judged_images_of_volumes_are_made(spelling: Spelling, cloud_on_volume: Cloud) -> None:
    app, before = cloud_on_volume.app(TWO_ITEMS), cloud_on_volume.snapshots()
    assert send_spelling(cloud_on_volume, app, spelling, create_image(3)).images == []
    assert cloud_on_volume.snapshots() == before, "no snapshot of the volume is left behind"
    outcome = send_spelling(cloud_on_volume, app, spelling, create_image(2))
    assert outcome.images in ([], images_of(create_image(2)))
    assert outcome.is_recorded or not outcome.images


@pytest.mark.parametrize("spelling", SPELLINGS, ids=IDS)
def test_makes_no_500_that_a_bare_nova_does_not_make(spelling: Spelling, cloud: Cloud) -> None:
    arguments, environ = build_request(spelling, create_image(3), cloud.server)
    with contextlib.suppress(UnicodeError):
        guarded = send(cloud.app(TWO_ITEMS), *arguments, **environ)
        assert guarded.status_int < 500 or send(cloud.bare, *arguments, **environ).status_int >= 500


def test_many_spellings_make_images_on_a_bare_nova(attempt: Attempt) -> None:
    """Guard the tests above: if a bare Nova made no images here, they could find nothing."""
    made = [spelling.id for spelling in SPELLINGS if attempt("bare", spelling, "createImage", 2).images]
    assert len(made) > 90


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2"])
def test_os_volumes_boot_is_judged_where_it_makes_images(prefix: str, attempt: Attempt) -> None:
    """Up to Nova 32 it runs the actions of servers; 33 and 34 still have its routes, which end in Nova's 500."""
    spelling = Spelling(f"os-volumes_boot on {prefix}", target=prefix + "/os-volumes_boot/{server}/action")
    makes_images = NOVA <= 32
    assert attempt("bare", spelling, "createImage", 3).images == images_of(create_image(3)) * makes_images
    refused = attempt("two items", spelling, "createImage", 3)
    assert refused.images == []
    assert [own["rule"] for own in refused.verdicts] == ["metadata-quota"]
    allowed = attempt("two items", spelling, "createImage", 2)
    assert allowed.images == images_of(create_image(2)) * makes_images
    assert allowed.is_recorded or not allowed.images

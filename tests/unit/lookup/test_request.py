"""The lookups of one request: for whom, for how long, and that each is asked once."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest

from imagefilter.lookup.compute import ComputeAPI
from imagefilter.lookup.request import RequestLookups, Services, _find_patience
from imagefilter.policy.limits import Limits
from imagefilter.rules.case import LookupFailed, Usage
from tests.cases import PROJECT, SERVER, image
from tests.unit.lookup.test_images import OTHER, FakeGlance, page
from tests.unit.lookup.test_images import image as glance_image
from tests.unit.rules.test_limits import KEYSTONE, build

TOKEN = {"HTTP_X_AUTH_TOKEN": "a token"}


class FakeIdentity:
    """An identity API; it has the limits that a test says."""

    def __init__(self, **limits: int) -> None:
        self.asked: list[tuple[str, str]] = []
        self.seconds = 0.0
        self._limits = limits

    def limits(self, token: str, project_id: str, seconds: float) -> dict[str, int]:
        self.asked.append((token, project_id))
        self.seconds = seconds
        return self._limits


def look_up(identity: Any = None, environ: dict[str, Any] | None = None, **options: str) -> RequestLookups:
    """Return the lookups of a createImage of Alice's."""
    context = build(image(), **options)
    services = Services(context.policy, ComputeAPI(None, 0), None, identity, None)  # type: ignore[arg-type]
    return RequestLookups(services, {**TOKEN, **(environ or {})}, context)


def test_the_time_is_in_utc() -> None:
    assert look_up().now().tzinfo is datetime.timezone.utc


def test_limits_are_asked_for_once() -> None:
    identity = FakeIdentity(snapshots_per_server=2)
    lookups = look_up(identity, **KEYSTONE)
    limits = [lookups.limits() for _ in range(2)]
    assert identity.asked == [("a token", PROJECT)]
    assert identity.seconds == 10.0
    assert limits == [lookups.measured.limits] * 2
    assert isinstance(limits[0], Limits)
    assert limits[0].per_server == 2


def test_what_was_spent_is_not_to_be_had_again() -> None:
    identity = FakeIdentity()
    lookups = look_up(identity, **KEYSTONE)
    lookups.measured = lookups.measured._replace(lock_seconds=2.0, lookup_seconds=3.0)
    lookups.limits()
    assert identity.seconds == 5.0
    assert 3.0 <= (lookups.measured.lookup_seconds or 0) < 4.0


def test_a_question_has_a_moment_whatever_was_spent() -> None:
    identity = FakeIdentity()
    lookups = look_up(identity, **KEYSTONE)
    lookups.measured = lookups.measured._replace(lock_seconds=20.0)
    lookups.limits()
    assert identity.seconds == 0.1


def test_limits_need_an_identity_api() -> None:
    with pytest.raises(LookupFailed, match=r"^identity_api_url is not set$"):
        look_up(**KEYSTONE).limits()


@pytest.mark.parametrize(
    ("environ", "token"),
    [
        ({"HTTP_X_STORAGE_TOKEN": "another"}, "a token"),
        ({"HTTP_X_AUTH_TOKEN": "", "HTTP_X_STORAGE_TOKEN": "another"}, "another"),
    ],
)
def test_the_token_of_the_caller(environ: dict[str, str], token: str) -> None:
    identity = FakeIdentity()
    look_up(identity, environ, **KEYSTONE).limits()
    assert identity.asked == [(token, PROJECT)]


def test_nobody_is_asked_without_a_token() -> None:
    identity = FakeIdentity()
    reason = "^nobody vouches for the caller, or he has no token: no API can be asked as the caller$"
    with pytest.raises(LookupFailed, match=reason):
        look_up(identity, {"HTTP_X_AUTH_TOKEN": ""}, **KEYSTONE).limits()
    assert not identity.asked


def test_nobody_is_asked_for_a_caller_that_nobody_vouches_for() -> None:
    identity = FakeIdentity()
    context = build(image(), authenticated=False, **KEYSTONE)._replace(project_id=PROJECT)
    services = Services(context.policy, ComputeAPI(None, 0), None, identity, None)  # type: ignore[arg-type]
    with pytest.raises(LookupFailed, match="nobody vouches for the caller"):
        RequestLookups(services, TOKEN, context).limits()
    assert not identity.asked


# --- counts


@pytest.fixture
def glance() -> Iterator[FakeGlance]:
    """An image API with three images of the project, two of them of the server, and one of these unfinished."""
    images = [glance_image(1), glance_image(2, status="queued"), glance_image(3)]
    servers = (SERVER, SERVER, OTHER)
    owned = [{**found, "owner": PROJECT, "instance_uuid": server} for found, server in zip(images, servers)]
    fake = FakeGlance(lambda query: page(owned))
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


def test_all_counts_of_a_project(glance: FakeGlance) -> None:
    lookups = look_up(image_api_url=glance.url, snapshots_per_project="5")
    assert lookups.usage() == lookups.measured.usage == Usage(server=2, project=3, in_progress=1)
    assert not any("instance_uuid" in query for query in glance.queries)


def test_the_images_of_the_server_alone(glance: FakeGlance) -> None:
    lookups = look_up(image_api_url=glance.url, snapshots_per_server="5")
    assert lookups.usage() == lookups.measured.usage == Usage(server=2)
    servers = [query.get("instance_uuid", query.get("imagefilter_server")) for query in glance.queries]
    assert servers == [SERVER] * 4


TRIAL = {"rule_modes": "server-limit:warn,project-limit:warn,progress-limit:warn"}


@pytest.mark.parametrize(("is_asked", "usage"), [(False, Usage(server=2)), (True, Usage(2, 3, 1))])
def test_a_count_asks_keystone_for_no_trial_but_uses_what_it_said(
    is_asked: bool, usage: Usage, glance: FakeGlance
) -> None:
    identity = FakeIdentity(snapshots_per_project=5)
    lookups = look_up(identity, image_api_url=glance.url, **KEYSTONE, **TRIAL)
    if is_asked:
        lookups.limits()
    assert lookups.usage() == usage
    assert len(identity.asked) == is_asked


# --- locks


def test_a_lock_that_can_not_be_had() -> None:
    lookups = look_up(snapshots_per_server="5")
    with pytest.raises(LookupFailed, match=r"^there is no back end of locks$"):
        lookups.lock()
    assert lookups.measured.lock_seconds is not None
    assert 0 <= lookups.measured.lock_seconds < 5


@pytest.mark.parametrize(
    ("environ", "seconds"), [({"wsgi.multithread": True}, 3.0), ({"wsgi.multithread": False}, 0.0), ({}, 0.0)]
)
def test_a_request_waits_where_other_threads_are_served_meanwhile(environ: dict[str, Any], seconds: float) -> None:
    assert _find_patience(environ, build(image(), lock_wait="3")) == seconds

"""The lookups of one request: for whom, for how long, and that each is asked once."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from imagefilter.lookup.compute import ComputeAPI
from imagefilter.lookup.request import RequestLookups, Services
from imagefilter.policy.limits import Limits
from imagefilter.rules.case import LookupFailed
from tests.cases import PROJECT, image
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

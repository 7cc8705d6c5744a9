"""Limits from Keystone: unified limits that are named as the options, asked as the caller.

Any valid token may list them. A token of a project is shown its own project's alone, an administrator's everybody's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from imagefilter.lookup.remembered import Remembered
from imagefilter.lookup.session import CallerSession
from imagefilter.policy.limits import KEYSTONE_LIMITS
from imagefilter.policy.policy import ImageAPIOptions

_MAX_BYTES = 1 << 20  # of all answers

Limits = dict[str, int]  # by the option's name; one that is not registered is not there


class Entry(NamedTuple):
    """A limit in Keystone: registered for all projects, or one project's own."""

    service_id: str
    region_id: str | None
    number: int  # -1: none


class IdentityAPI:
    """The identity API that the operator names. What it says of a project is remembered for a while."""

    def __init__(self, options: ImageAPIOptions, ttl: int) -> None:
        self._options = options
        self._remembered: Remembered[Limits] = Remembered(ttl)

    def limits(self, token: str, project_id: str, seconds: float) -> Limits:
        """Return the limits of a project.

        :param token: of a caller of this project.
        :param seconds: how long it may take.
        :raises LookupFailed: if they could not be looked up.
        """
        deadline = time.monotonic() + seconds
        return self._remembered.get(project_id, lambda: self._ask(token, project_id, deadline), seconds)

    def _ask(self, token: str, project_id: str, deadline: float) -> Limits:
        seconds = max(deadline - time.monotonic(), 0.1)
        failure = f"the limits of project {project_id} could not be looked up in Keystone"
        with CallerSession(token, self._options.ca_file, seconds, _MAX_BYTES, failure) as session:
            asking = _Asking(session, self._options, project_id)
            limits = {}
            for name in KEYSTONE_LIMITS:
                number = asking.find(name)
                if number is not None:
                    limits[name] = number
            return limits


def check_identity_api(options: ImageAPIOptions) -> None:
    """Ask the identity API for its version, which needs no token.

    :raises LookupFailed: if it can't be asked for limits.
    """
    with CallerSession(None, options.ca_file, options.timeout, _MAX_BYTES, "Keystone can't be asked") as session:
        version = session.get(_find_version_3(options), {}).get("version")
        if not isinstance(version, dict) or not str(version.get("id")).startswith("v3"):
            raise session.fail("it does not respond as version 3 of the identity API")


def _find_version_3(options: ImageAPIOptions) -> str:
    """Return the URL of the API's version 3; the operator's may end in it."""
    url = (options.identity_url or "").rstrip("/").removesuffix("/v3").rstrip("/")
    return f"{url}/v3"


class _Asking:
    """The questions about one project."""

    def __init__(self, session: CallerSession, options: ImageAPIOptions, project_id: str) -> None:
        self._session = session
        self._url = _find_version_3(options)
        self._region = options.region
        self._project_id = project_id

    def find(self, name: str) -> int | None:
        """Return the limit of a name; None if it is not registered: then no project can have one of its own."""
        registered = list(self._list("registered_limits", "default_limit", name))
        services = sorted({entry.service_id for entry in registered})
        if len(services) > 1:
            raise self._session.fail(f"{name} is registered by {len(services)} services: which is meant is not guessed")
        if not registered:
            return None
        own = [entry for entry in self._list("limits", "resource_limit", name) if entry.service_id in services]
        chosen = self._choose(name, own), self._choose(name, registered)
        for entry in chosen:
            if entry is not None:
                return entry.number
        return None

    def _choose(self, name: str, entries: list[Entry]) -> Entry | None:
        """Return the limit of this region, or else the one without a region."""
        regions = {entry.region_id for entry in entries}
        if len(regions) != len(entries):
            raise self._session.fail(f"there are two limits {name} of the same region")
        if self._region is None and regions - {None}:
            raise self._session.fail(f"there are limits {name} of a region: set api_region")
        for region in (self._region, None):
            for entry in entries:
                if entry.region_id == region:
                    return entry
        return None

    def _list(self, collection: str, value: str, name: str) -> Iterator[Entry]:
        """Yield what Keystone lists under a name; its database may find others for the same."""
        parameters = {"resource_name": name}
        if collection == "limits":
            parameters["project_id"] = self._project_id
        document = self._session.get(f"{self._url}/{collection}", parameters)
        listed = document.get(collection)
        if not isinstance(listed, list) or document.get("truncated"):
            raise self._session.fail(f"its answer has no complete list of {collection}")
        for item in listed:
            if not isinstance(item, dict):
                raise self._session.fail(f"its list of {collection} has something else in it")
            is_of_project = collection != "limits" or item.get("project_id") == self._project_id
            if item.get("resource_name") == name and is_of_project:
                yield self._read(item, value)

    def _read(self, item: dict[str, Any], value: str) -> Entry:
        service_id, region_id, number = item.get("service_id"), item.get("region_id"), item.get(value)
        if not isinstance(service_id, str) or not isinstance(region_id, (str, type(None))):
            raise self._session.fail("a limit has no service, or a region that is none")
        if type(number) is not int or number < -1:
            raise self._session.fail("a limit has no number")
        return Entry(service_id, region_id, number)

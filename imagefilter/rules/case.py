"""What a rule function gets and what it returns."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from imagefilter.policy.context import RequestContext
from imagefilter.policy.limits import Limits
from imagefilter.policy.policy import Policy
from imagefilter.policy.settings import Settings
from imagefilter.request.action import ImageAction
from imagefilter.request.identity import Identity


class LookupFailed(Exception):
    """The API that was asked did not answer the question."""


class NotAuthenticated(Exception):
    """The compute API rejects the caller's token: its answer to the question is its answer to the caller."""


class ServerNotFound(Exception):
    """The compute API says that there is no such server."""


class LockState(enum.Enum):
    """What came of asking for the lock that makes a limit exact."""

    HELD = "held"  # or none is needed
    SERVER_BUSY = "another image action of this server is being processed"
    PROJECT_BUSY = "another image action of this project is being processed"


class Usage(NamedTuple):
    """How many images of servers a project owns; None: nobody asked."""

    server: int | None = None  # of the request's own
    project: int | None = None
    in_progress: int | None = None


class ServerFacts(NamedTuple):
    """What the compute API says of a server, by the fields of :mod:`imagefilter.rules.document`."""

    values: Mapping[str, Any]
    why_absent: Mapping[str, str]  # by field; of all others under ""
    failed: Mapping[str, str] = {}  # fields that were not found out, and why: only rules that read them fail


#: The quotas of the image API that an image of a server runs into. What it has beside them is about imports.
IMAGE_QUOTAS = ("image_count_total", "image_size_total", "image_count_uploading")


class Quota(NamedTuple):
    """A quota of the image API."""

    limit: int  # -1: none
    usage: int


class Lookups(Protocol):
    """Questions to the APIs around the filter, about one request and as its caller; asked only if a rule needs one."""

    def metadata_items(self) -> int:
        """Return the project's own quota of metadata items in the compute API; -1 is no limit.

        :raises LookupFailed: if it could not be looked up.
        :raises NotAuthenticated: if the compute API responds 401.
        """

    def limits(self) -> Limits:
        """Return the limits that apply to the request, where Keystone may have them.

        :raises LookupFailed: if they could not be looked up.
        """

    def lock(self) -> LockState:
        """Lock what the limits of the request need until its response has begun; asked again, it says the same.

        :raises LookupFailed: if the back end does not answer.
        """

    def usage(self) -> Usage:
        """Return the counts that the limits of the request need.

        :raises LookupFailed: if they could not be counted.
        """

    def server(self) -> ServerFacts:
        """Return what the rules of the request read of its server.

        :raises LookupFailed: if it could not be looked up.
        :raises ServerNotFound: if there is no such server.
        :raises NotAuthenticated: if the compute API responds 401.
        """

    def now(self) -> datetime.datetime:
        """Return the time of the request, in UTC."""

    def count_rotated_out(self) -> int | None:
        """Return how many images Nova deletes after this createBackup; None if it can't delete them all.

        :raises LookupFailed: if they could not be counted.
        """

    def image_quota(self) -> Mapping[str, Quota]:
        """Return those of IMAGE_QUOTAS that the image API enforces, by name.

        :raises LookupFailed: if they could not be looked up.
        """


class Case(NamedTuple):
    """What a rule may look at."""

    action: ImageAction
    identity: Identity
    project_id: str | None
    settings: Settings
    policy: Policy
    record_id: str
    metadata: dict[str, Any]  # empty if they are not an object: reporting that is up to the rule metadata-type
    lookups: Lookups

    def find_limits(self) -> Limits:
        """Return the limits that apply.

        :raises LookupFailed: if they could not be looked up.
        """
        if self.settings.limits.from_keystone:
            return self.lookups.limits()
        return self.settings.limits


class Refusal(NamedTuple):
    """Why a rule refuses a request."""

    message: str  # for the client
    status: int | None = None  # None: the rule's own
    limit: int | None = None  # of the quota that was exceeded
    usage: int | None = None
    retry_after: int | None = None  # seconds, where it is worth another try
    rule: str = ""  # whose refusal it is, if not the rule's own
    reason: str = ""  # for the operator: why a rule of his own had no result


def build_case(context: RequestContext, lookups: Lookups) -> Case:
    """Hand a request to the rules."""
    metadata = context.action.metadata
    if type(metadata) is not dict:
        metadata = {}
    return Case(*context, metadata=metadata, lookups=lookups)

"""A request beside the policy that applies to it."""

from __future__ import annotations

import uuid
from typing import NamedTuple

from imagefilter.policy.limits import Limits, LockKeys, canonical_server_id, hash_names
from imagefilter.policy.policy import Policy
from imagefilter.policy.settings import Settings
from imagefilter.request.action import ImageAction, Target
from imagefilter.request.identity import Identity


class RequestContext(NamedTuple):
    """An image action, who asks for it, and what that project may do: built once for each request."""

    action: ImageAction
    identity: Identity
    project_id: str | None  # the project whose settings apply; None: nobody knows which
    settings: Settings
    policy: Policy
    record_id: str  # of the record of its verdict

    @property
    def is_exempt(self) -> bool:
        """Whether a role of the caller's exempts it from rules; only roles that somebody vouches for count."""
        return self.identity.authenticated and not self.settings.exempt_roles.isdisjoint(self.identity.roles)

    @property
    def server_id(self) -> str:
        """The server's id as Nova writes it; empty if the path names none."""
        if self.action.target is None:
            return ""
        return canonical_server_id(self.action.target.server_id)

    @property
    def is_limited(self) -> bool:
        """Whether a limit may refuse the request, so that which limits there are has to be known before it locks."""
        if self.is_exempt or not self.settings.limits.count_images:
            return False
        return "enforce" in (self.settings.modes[rule] for rule in ("server-limit", "project-limit", "progress-limit"))

    @property
    def is_counted(self) -> bool:
        """Whether a count may refuse the request: a limit's, or that of one of the operator's own rules."""
        return self.is_limited or (not self.is_exempt and self.action.name in self.settings.own_locks)

    def find_locks(self, limits: Limits) -> LockKeys:
        """Return the locks that the image action needs.

        Never a lock of the server alone: anybody could lock anybody's server by naming it. A stranger locks nobody, and
        an exempt caller for no limit: his image may as well have come later.

        :param limits: that apply.
        """
        if not self.identity.authenticated or not self.project_id:
            return LockKeys()
        modes = self.settings.modes
        one_at_a_time = limits.one_at_a_time and modes["one-at-a-time"] == "enforce"
        by_server = by_project = False
        if self.is_counted:
            by_server = limits.per_server >= 0 and modes["server-limit"] == "enforce"
            by_project = limits.per_project >= 0 and modes["project-limit"] == "enforce"
            by_project |= limits.in_progress >= 0 and modes["progress-limit"] == "enforce"
            by_project |= self.action.name in self.settings.own_locks
        # Another process may still remember that Keystone has a limit of the project, and lock that. An own rule about
        # another action locks the project for it: a lock of the server alone would not exclude that action.
        by_project |= by_server and (limits.from_keystone or bool(self.settings.own_locks))
        server = project = None
        if by_project:
            project = hash_names(self.project_id)
        if one_at_a_time or (by_server and not by_project):
            server = hash_names(self.project_id, self.server_id)
        return LockKeys(server, project, not one_at_a_time)


def build_context(action: ImageAction, identity: Identity, policy: Policy) -> RequestContext:
    """Find the project of a request and its settings."""
    project_id = find_project(action.target, identity)
    settings = policy.for_project(project_id)
    return RequestContext(action, identity, project_id, settings, policy, record_id=str(uuid.uuid4()))


def find_project(target: Target | None, identity: Identity) -> str | None:
    """Return the caller's project; the URL's where nobody vouches for the caller (Nova itself refuses another one)."""
    if identity.authenticated or target is None:
        return identity.project_id
    return target.project_id

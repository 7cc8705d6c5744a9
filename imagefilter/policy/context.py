"""A request beside the policy that applies to it."""

from __future__ import annotations

from typing import NamedTuple

from imagefilter.policy.policy import Policy, Settings
from imagefilter.request.action import ImageAction, Target
from imagefilter.request.identity import Identity


class RequestContext(NamedTuple):
    """An image action, who asks for it, and what that project may do: built once for each request."""

    action: ImageAction
    identity: Identity
    project_id: str | None  # the project whose settings apply; None: nobody knows which
    settings: Settings
    policy: Policy

    @property
    def is_exempt(self) -> bool:
        """Whether a role of the caller's exempts it from rules; only roles that somebody vouches for count."""
        return self.identity.authenticated and not self.settings.exempt_roles.isdisjoint(self.identity.roles)


def build_context(action: ImageAction, identity: Identity, policy: Policy) -> RequestContext:
    """Find the project of a request and its settings."""
    project_id = find_project(action.target, identity)
    return RequestContext(action, identity, project_id, policy.for_project(project_id), policy)


def find_project(target: Target | None, identity: Identity) -> str | None:
    """Return the caller's project; the URL's where nobody vouches for the caller (Nova itself refuses another one)."""
    if identity.authenticated or target is None:
        return identity.project_id
    return target.project_id

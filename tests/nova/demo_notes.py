"""Say what of a policy can't be tried in the demo, or applies to nobody there."""

from __future__ import annotations

from collections.abc import Iterator

from imagefilter.coordination.url import describe
from imagefilter.policy.options import GROUP
from imagefilter.policy.policy import Policy
from imagefilter.policy.settings import Settings
from tests.nova.authentication import TOKENS

# What the demo sets itself, as keys of the filter's section in the paste file, which win over the file.
_OWN_OPTIONS = {
    "audit_journal": "the demo has a journal of its own, which it removes at its end",
    "reload_interval": "the demo reads the file again as soon as it was saved",
}


def find_notes(policy: Policy) -> Iterator[str]:
    """Yield what of a policy the demo's requests don't try."""
    yield from _note_own_options(policy)
    yield from _note_counted_limits(policy)
    yield from _note_coordination(policy)
    yield from _note_projects(policy)
    yield from _note_roles(policy)


def _note_own_options(policy: Policy) -> Iterator[str]:
    for texts in policy.names_given.values():
        for name, reason in _OWN_OPTIONS.items():
            if (GROUP, name) in texts:
                yield f"{name} is not used here: {reason}"


def _note_counted_limits(policy: Policy) -> Iterator[str]:
    if policy.counts_images:
        yield (
            "snapshots_per_server, snapshots_per_project and snapshots_in_progress can't be tried here: images are"
            " counted in a real Glance, and the demo's Nova has a double. Requests get what lookup_on_error says"
            f" ({policy.lookup_on_error})"
        )


def _note_coordination(policy: Policy) -> Iterator[str]:
    url = policy.coordination_url or ""
    if policy.needs_locks and url and not url.startswith("file:"):
        yield f"locks are in {describe(url)}: the demo starts none, requests are refused unless one runs there"


def _note_projects(policy: Policy) -> Iterator[str]:
    projects = sorted({project for _, project, _ in TOKENS.values()})
    for project in policy.projects:
        if project not in projects:
            yield (
                f"section [{GROUP}:project:{project}] applies to nobody here: the demo's projects are"
                f" {' and '.join(projects)}"
            )


def _note_roles(policy: Policy) -> Iterator[str]:
    """Note the roles that nobody has here."""
    known: set[str] = set()
    for _, _, roles in TOKENS.values():
        known.update(roles)
    for role in sorted(_exempt_roles(policy.settings, *policy.projects.values()) - known):
        yield f"exempt_roles: nobody here has the role {role}; the demo's roles are {', '.join(sorted(known))}"


def _exempt_roles(*settings: Settings) -> set[str]:
    roles: set[str] = set()
    for own in settings:
        roles |= own.exempt_roles
    return roles

"""A request under a policy, with what was observed of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.nova.grammar import Request
from tests.nova.instrumented_nova import Observation
from tests.nova.policies import Policy
from tests.nova.reference_parser import decode, find_action
from tests.records import verdicts


class Trial(NamedTuple):
    """A request, a policy, and what was observed without the filter and with it."""

    request: Request
    policy: Policy
    bare: Observation
    guarded: Observation
    own_properties: set[str]  # that Nova itself gives an image

    @property
    def is_judged(self) -> bool:
        """Whether there is a record of a verdict."""
        return bool(verdicts(self.guarded.records))

    @property
    def is_named_by_number(self) -> bool:
        """Whether a number became text of its digits, as the contract wants it and Nova does not."""
        number = _read_name(self.bare)
        return type(number) is int and _read_name(self.guarded) == str(number)

    @property
    def loses_its_version(self) -> bool:
        """Whether the version of an allowed request was lost with its content type.

        In front of Nova's URL map a version may be in the content type, but a judged request is forwarded as plain
        JSON. To a path without a version Nova then responds with the list of them, or it fails, as it does for any
        plain JSON, if that path is no UTF-8.
        """
        is_versioned = self.policy.place == "front" and ";version=" in self.request.headers.get("Content-Type", "")
        decided = [content["verdict"] for content in verdicts(self.guarded.records)]
        return is_versioned and decided == ["allow"] and self.guarded.response.status in (0, 300, 404)


def _read_name(observation: Observation) -> Any:
    """Return the name in the last image action that Nova read."""
    if not observation.reads:
        return None
    document = decode(observation.reads[-1][1])[0]
    action = find_action(document)
    if action is None or not isinstance(document[action], dict):
        return None
    return document[action].get("name")

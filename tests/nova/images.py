"""The images that Nova makes."""

from __future__ import annotations

from typing import NamedTuple

from tests.cases import Case

_NAMED_ACTIONS = ("createImage", "createBackup")


class Image(NamedTuple):
    """An image that Nova asked the image service to make."""

    name: str
    metadata: dict[str, str]  # the properties that the client set


def expected_images(case: Case, status: int) -> list[Image]:
    """Return the images that Nova makes of an allowed case.

    :param status: of Nova's response.
    """
    [(action, entity)] = case.expected.items()
    if status != 202 or action not in _NAMED_ACTIONS:
        return []
    return [Image(entity["name"], entity.get("metadata", {}))]

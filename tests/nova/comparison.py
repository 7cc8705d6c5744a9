"""Compare two responses to the same request."""

from __future__ import annotations

import re
from collections.abc import Iterable

_UNSTABLE_HEADERS = ("date", "x-compute-request-id", "x-openstack-request-id")
_ID_LENGTH = 36

#: Status, headers with names in lower case, and body.
Comparable = tuple[int, list[tuple[str, str]], bytes]


def comparable(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Comparable:
    """Return a response without the parts that are new each time."""
    stable = [(name.lower(), value) for name, value in headers if name.lower() not in _UNSTABLE_HEADERS]
    return status, sorted(stable), re.sub(rb'"updated": "[^"]*"', b"", body)


def without_warning(response: Comparable) -> Comparable:
    """Return a response without the filter's warning."""
    status, headers, body = response
    return status, [header for header in headers if not header[1].startswith("299 imagefilter ")], body


def without_image_id(response: Comparable) -> Comparable:
    """Return a response without the id of the image that was made."""
    status, headers, body = response
    others = []
    for name, value in headers:
        if name == "location":
            others.append((name, value[:-_ID_LENGTH]))
        else:
            others.append((name, value))
    return status, others, re.sub(rb'"image_id": "[^"]*"', b"", body)

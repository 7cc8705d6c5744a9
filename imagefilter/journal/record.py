"""What all records of a journal have in common, for those who read them (see :mod:`imagefilter.audit.event`)."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

#: The name of the attachment that holds what CADF has no place for.
ATTACHMENT = "imagefilter"

#: The action of a record that says by which policy a process judges; it is about no request.
CONFIGURE = "configure"


def read_content(record: dict[str, Any]) -> dict[str, Any]:
    """Return imagefilter's own part of a record.

    :raises ValueError: if it is not a record of imagefilter.
    """
    try:
        for attachment in record["attachments"]:
            content = attachment["content"]
            if attachment["name"] == ATTACHMENT and type(content) is dict and type(record["id"]) is str:
                return content
    except (KeyError, TypeError):
        pass
    raise ValueError("not a record of imagefilter")


def is_configuration(record: Mapping[str, Any]) -> bool:
    """Return whether a record says by which policy a process judges."""
    return record.get("action") == CONFIGURE


def label(initiator: Mapping[str, Any], kind: str, name: str | None) -> str | None:
    """Return how to name a user or a project to people: with its domain, unless that is ``default``.

    Names are unique within a domain. A domain's admin can make a user "admin" of his own, and nobody should take that
    for the cloud's; nor an "admin@x" of the domain "default" for an "admin" of the domain "x".

    :param kind: ``user`` or ``project``.
    """
    domain_id, domain_name = initiator.get(f"{kind}_domain_id"), initiator.get(f"{kind}_domain_name")
    if not name or (domain_id == "default" and "@" not in name):
        return name
    domain = domain_name or domain_id
    if not domain and "@" in name:
        domain = "?"
    if domain:
        return f"{name}@{domain}"
    return name


def read_time(record: dict[str, Any]) -> float | None:
    """Return when a record was made, in seconds since 1970; None if it does not say."""
    try:
        return datetime.datetime.fromisoformat(record["eventTime"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None

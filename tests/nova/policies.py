"""The policies to search under, what each forbids, and how clients are told: the rules' table, said a second time."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.nova.watched import Answer

#: Faults that the filter may answer with: status and message.
Faults = tuple[tuple[int, str], ...]
UNREADABLE: Faults = (
    (400, r"Malformed request body"),
    (400, r"There is no such action: None"),
    (401, r"The request you have made requires authentication\."),
)
TOO_LONG: Faults = ((413, r"Request is too large\. Larger than max_body_bytes \(\d+\)\."),)
RULES: Faults = (
    *UNREADABLE,
    (404, r"The resource could not be found\."),
    (400, r"Malformed request URL: URL's project_id '.*' doesn't match Context's project_id '.*'"),
    (404, r"Instance .* could not be found\."),
    (400, r"Instance snapshots are not permitted at this time\."),
    (400, r"create(Image|Backup) entity requires name attribute"),
    (400, r"The name must be text of 1 to 255 characters, or a number of 1 to 255 digits; found .*"),
    (400, r"Invalid image metadata"),
    (403, r"Image metadata limit exceeded"),
    (503, r"The metadata quota could not be determined\."),
    (400, r"Image metadata key cannot be blank"),
    (400, r"Image metadata key too long"),
    (400, r"The value of image metadata key '.*' must be text of at most 65535 bytes; found .*"),
    (403, r"The image name '.*' does not match the pattern '.*' \(name-pattern\)"),
    (403, r"Image metadata must hold the key '.*' \(metadata-required\)"),
    (403, r"Image metadata key '.*' is reserved \(metadata-reserved\)"),
)


class Policy(NamedTuple):
    """A filter to try: its options, and where it stands."""

    name: str
    options: Mapping[str, str] = {}
    place: str = "pipeline"  # or "front": in front of Nova as a whole, as the gateway is

    @property
    def actions(self) -> tuple[str, ...]:
        return tuple(re.split(", *", self.options.get("actions", "createImage, createBackup")))


FULL = {"audit_metadata": "full"}
ALL = {"actions": "createImage, createBackup, shelve", **FULL}
POLICIES = (
    Policy("default"),
    Policy("default, all recorded", FULL),
    Policy("snapshots off", {"snapshots_enabled": "false"}),
    Policy("all snapshots off", {"snapshots_enabled": "false", **ALL}),
    Policy("shelve listed", ALL),
    Policy("one item", {"metadata_items": "1", **FULL}),
    Policy("a pattern", {"name_pattern": "[a-z0-9-]+", "audit_metadata": "none"}),
    Policy("a pattern that excludes", {"name_pattern": "|[^n].*|[a-z].*[^y]", **FULL}),
    Policy("a key required", {"metadata_required": "m1", **FULL}),
    Policy("warn", {"mode": "warn", "metadata_items": "1", "name_pattern": "[a-z]+", **FULL}),
    Policy("looking on", {"mode": "off", **FULL}),
    Policy("admins exempt", {"exempt_roles": "admin", "snapshots_enabled": "false", **FULL}),
    Policy("the project's own quota", {"metadata_items_source": "compute", **FULL}),
    Policy("in front", FULL, "front"),
    Policy("in front, one item", {"metadata_items": "1", **ALL}, "front"),
    Policy("in front, all snapshots off", {"snapshots_enabled": "false", **ALL}, "front"),
)


def forbidden(policy: Policy, kind: str, entity: Any) -> str | None:
    """Why the contract or a policy forbids an image that Nova would make; roles are left out."""
    options = policy.options
    if options.get("snapshots_enabled") == "false":
        return "snapshots are off"
    if kind == "shelve":
        return None
    name, metadata = str(entity["name"]), entity.get("metadata", {})
    if not 1 <= len(name) <= 255:
        return "the name's length"
    if len(metadata) > int(options.get("metadata_items", "128")):
        return "the number of items"
    if any(not 1 <= len(key) <= 255 for key in metadata):
        return "the length of a key"
    if any(not isinstance(value, str) or len(value.encode("utf-8", "replace")) > 65535 for value in metadata.values()):
        return "a value"
    # Nova names the image without the white space around it.
    if not all(re.fullmatch(options.get("name_pattern", ".*"), each, re.DOTALL) for each in (name, name.strip())):
        return "the name's pattern"
    if options.get("metadata_required", "m1") not in (metadata if "metadata_required" in options else ("m1",)):
        return "a key that is missing"
    return "a key that is reserved" if any(_is_reserved(key.strip()) for key in metadata) else None


def _is_reserved(key: str) -> bool:
    fields = "location id min_ram instance_owner tags backend owner"  # those of the grammar
    return key in fields.split() or key.startswith("os_glance_")


def is_fault(answer: Answer, faults: tuple[tuple[int, str], ...]) -> bool:
    try:
        [fault] = json.loads(answer.body).values()
        code, message = fault["code"], fault["message"]
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
    return any(code == answer.status == status and re.fullmatch(text, message, re.DOTALL) for status, text in faults)

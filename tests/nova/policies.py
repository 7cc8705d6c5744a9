"""The policies of the search, what each of them forbids, and the faults of refusals: a second table of the rules."""

from __future__ import annotations

import importlib.util
import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.nova.senders import Response

#: Faults of the filter: status, and a regular expression for the message.
Faults = tuple[tuple[int, str], ...]
UNREADABLE_FAULTS: Faults = (
    (400, r"Malformed request body"),
    (400, r"There is no such action: None"),
    (401, r"The request you have made requires authentication\."),
)
TOO_LONG_FAULTS: Faults = ((413, r"Request is too large\. Larger than max_body_bytes \(\d+\)\."),)
RULE_FAULTS: Faults = (
    *UNREADABLE_FAULTS,
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
    (403, r"The search's rule \(own\)"),
    (503, r"The server could not be looked up\."),
)


class Policy(NamedTuple):
    """A filter to try: its options and its place."""

    name: str
    options: Mapping[str, str] = {}
    place: str = "pipeline"  # or "front": in front of the whole of Nova, as the gateway is

    @property
    def actions(self) -> tuple[str, ...]:
        """The names of the actions that are judged."""
        return tuple(re.split(", *", self.options.get("actions", "createImage, createBackup")))

    @property
    def mode(self) -> str:
        """The mode of all rules."""
        return self.options.get("mode", "enforce")


FULL = {"audit_metadata": "full"}
OWN_RULE = {"oslo_config_file": str(Path(__file__).with_name("own_rule.conf")), **FULL}
ALL = {"actions": "createImage, createBackup, shelve", "audit_metadata": "full"}
POLICIES = (
    Policy("default"),
    Policy("default, all recorded", FULL),
    Policy("snapshots off", {"snapshots_enabled": "false"}),
    Policy("all snapshots off", {"snapshots_enabled": "false", **ALL}),
    Policy("shelve listed", ALL),
    Policy("one item", {"metadata_items": "1", **FULL}),
    Policy("a pattern", {"name_pattern": "[a-z0-9-]+", "audit_metadata": "none"}),
    Policy("a pattern that excludes", {"name_pattern": "|[^n].*|[a-z].*[^y]", **FULL}),
    Policy("a required key", {"metadata_required": "m1", **FULL}),
    Policy("warn", {"mode": "warn", "metadata_items": "1", "name_pattern": "[a-z]+", **FULL}),
    Policy("off", {"mode": "off", **FULL}),
    Policy("admins exempt", {"exempt_roles": "admin", "snapshots_enabled": "false", **FULL}),
    Policy("the project's own quota", {"metadata_items_source": "compute", **FULL}),
    Policy("in front", FULL, "front"),
    Policy("in front, one item", {"metadata_items": "1", **ALL}, "front"),
    Policy("in front, all snapshots off", {"snapshots_enabled": "false", **ALL}, "front"),
)

# Pythons before 3.11 have no library for rules of one's own.
if importlib.util.find_spec("cel_expr_python"):
    POLICIES += (
        Policy("a rule of one's own", OWN_RULE),
        Policy("a rule of one's own that warns", {**OWN_RULE, "mode": "warn", "audit_metadata": "none"}),
        Policy("in front, a rule of one's own", OWN_RULE, "front"),
    )

# Of the keys in the grammar.
# Those that the search's grammar spells.
_RESERVED_KEYS = (
    "location",
    "id",
    "min_ram",
    "instance_owner",
    "tags",
    "backend",
    "owner",
    "disk_format",
    "container_format",
)
_MAX_VALUE_BYTES = 65535


def find_objection(policy: Policy, action: str, entity: Any) -> str | None:
    """Return why the contract or a policy forbids an image that Nova would make; None if it is allowed.

    Roles are not looked at.
    """
    if policy.options.get("snapshots_enabled") == "false":
        return "snapshots are off"
    if action == "shelve":
        return None
    name, metadata = str(entity["name"]), entity.get("metadata", {})
    if not 1 <= len(name) <= 255:
        return "the name's length"
    objection = _find_contract_objection(policy, metadata)
    if objection:
        return objection
    return _find_operator_objection(policy, name, metadata)


def is_fault(response: Response, faults: Faults) -> bool:
    """Return whether a response is one of these faults."""
    try:
        [fault] = json.loads(response.body).values()
        code, message = fault["code"], fault["message"]
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
    for status, pattern in faults:
        if code == response.status == status and re.fullmatch(pattern, message, re.DOTALL):
            return True
    return False


def _find_contract_objection(policy: Policy, metadata: Mapping[str, Any]) -> str | None:
    if len(metadata) > int(policy.options.get("metadata_items", "128")):
        return "the number of items"
    for key in metadata:
        if not 1 <= len(key) <= 255:
            return "the length of a key"
    for value in metadata.values():
        if not isinstance(value, str) or len(value.encode("utf-8", "replace")) > _MAX_VALUE_BYTES:
            return "a value"
    return None


def _find_operator_objection(policy: Policy, name: str, metadata: Mapping[str, Any]) -> str | None:
    pattern = policy.options.get("name_pattern", ".*")
    for candidate in (name, name.strip()):  # Nova names the image without the white space around it
        if not re.fullmatch(pattern, candidate, re.DOTALL):
            return "the name's pattern"
    if "metadata_required" in policy.options and policy.options["metadata_required"] not in metadata:
        return "a missing key"
    if "oslo_config_file" in policy.options and _breaks_own_rule(name, metadata):
        return "a rule of one's own"
    for key in map(_as_a_database_compares, metadata):
        if key in _RESERVED_KEYS or key.startswith("os_glance_"):
            return "a reserved key"
    return None


def _breaks_own_rule(name: str, metadata: Mapping[str, str]) -> bool:
    """Return whether own_rule.conf is broken; no server of the search has a GPU.

    A text that the expression can't hold breaks it as well.
    """
    if "m1" in metadata or name.strip() == "n":
        return True
    return not _is_text(name) or not all(map(_is_text, [*metadata, *metadata.values()]))


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _as_a_database_compares(key: str) -> str:
    """Return a key without what MySQL's collations ignore: case, accents, and white space around it."""
    letters = [letter for letter in unicodedata.normalize("NFKD", key.strip()) if not unicodedata.combining(letter)]
    return "".join(letters).lower()

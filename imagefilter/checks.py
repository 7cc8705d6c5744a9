"""What each rule checks: small functions, in judging order, that say why a request is refused.

The contract is the compute API's documented one (``api-ref``: *Create Image (createImage Action)*) as Nova enforced
it up to Kilo, with the messages of that code; the operator's rules come after it.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Callable, NamedTuple

from oslo_utils import uuidutils

from imagefilter.action import NAMED_ACTIONS, ImageAction
from imagefilter.caller import Caller
from imagefilter.compute import FactUnknown
from imagefilter.fault import shown
from imagefilter.options import NAME_LENGTH
from imagefilter.policy import Policy, Settings

LOG = logging.getLogger(__name__)

UNAUTHORIZED = "The request you have made requires authentication."

#: Longest metadata value, in bytes of UTF-8: what Glance's TEXT column holds.
MAX_VALUE_BYTES = 65535

# Content types that Nova reads as JSON, compared as Nova does: case matters, parameters don't.
_MEDIA_TYPES = frozenset(("", "text/plain", "application/json", "application/vnd.openstack.compute+json"))
_PROJECT_ID = re.compile(r"[0-9a-f-]+")  # Nova's routes, unless [api] project_id_regex is wider
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # the usual spelling, for speed
_JSON_TYPES = {str: "text", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}


class Case(NamedTuple):
    """What a rule may look at."""

    action: ImageAction
    caller: Caller
    settings: Settings
    policy: Policy
    metadata_items: Callable[[], int]  # asks the compute API
    metadata: dict[str, Any]  # empty if it is no object: that is for the rule metadata-type to say


class Refusal(NamedTuple):
    """Why a rule refuses, where there is more to tell than a message."""

    message: str
    status: int = 0  # 0: the rule's own
    limit: int | None = None  # of the quota that was exceeded
    usage: int | None = None


#: A check gives the message of a refusal, or more about it, or None.
Check = Callable[[Case], "str | Refusal | None"]


def project_of(action: ImageAction, caller: Caller) -> str | None:
    """The project whose settings apply: the caller's, or the URL's where nobody vouches (Nova refuses another)."""
    if caller.vouched:
        return caller.project_id
    return action.target.project_id if action.target else None


def token(case: Case) -> str | None:
    return None if case.caller.authenticated else UNAUTHORIZED


def content_type(case: Case) -> str | None:
    # Nova up to Mitaka; later ones answer 415. Forwarded as JSON, it would make an image that Nova refuses to make.
    return None if case.action.media_type in _MEDIA_TYPES else "There is no such action: None"


def body(case: Case) -> str | None:
    action = case.action
    if action.kind is None or (action.kind in NAMED_ACTIONS and type(action.entity) is not dict):
        return "Malformed request body"
    return None


def project_id(case: Case) -> str | None:
    target = case.action.target
    if target and target.versioned and target.project_id and not _PROJECT_ID.fullmatch(target.project_id):
        return "The resource could not be found."
    return None


def project(case: Case) -> str | None:
    target = case.action.target
    if not case.caller.vouched or not target or target.project_id is None:
        return None
    if target.project_id == case.caller.project_id:
        return None
    return (
        f"Malformed request URL: URL's project_id '{_from_path(target.project_id)}'"
        f" doesn't match Context's project_id '{case.caller.project_id}'"
    )


def server(case: Case) -> str | None:
    target = case.action.target
    if target is None or _UUID.fullmatch(target.server_id) or uuidutils.is_uuid_like(target.server_id):
        return None
    return f"Instance {_from_path(target.server_id)} could not be found."


def snapshots_enabled(case: Case) -> str | None:
    return None if case.settings.snapshots_enabled else "Instance snapshots are not permitted at this time."


def name_required(case: Case) -> str | None:
    missing = case.action.name in (None, "")
    return f"{case.action.kind} entity requires name attribute" if missing else None


def name_format(case: Case) -> str | None:
    name = case.action.name
    if name is None or (type(name) is str and len(name) <= NAME_LENGTH):
        return None
    # A number arrives here as text of its digits, unless it has a sign.
    found = f"{len(name)} characters" if type(name) is str else kind_of(name)
    return f"The name must be text of 1 to 255 characters, or a number of 1 to 255 digits; found {found}"


def metadata_type(case: Case) -> str | None:
    return None if type(case.action.metadata) is dict else "Invalid image metadata"


def metadata_quota(case: Case) -> Refusal | None:
    count = len(case.metadata)
    if not count:  # nothing that a quota could be exceeded by, so nothing to ask the compute API
        return None
    try:
        limit = case.metadata_items() if case.settings.quota_of_compute else case.settings.metadata_items
    except FactUnknown as unknown:
        LOG.error(
            "the metadata quota could not be determined: %s; facts_on_error is %s", unknown, case.policy.facts_on_error
        )
        denied = case.policy.facts_on_error == "deny"
        return Refusal("The metadata quota could not be determined.", 503) if denied else None
    return Refusal("Image metadata limit exceeded", limit=limit, usage=count) if 0 <= limit < count else None


def metadata_key_blank(case: Case) -> str | None:
    return "Image metadata key cannot be blank" if "" in case.metadata else None


def metadata_key_length(case: Case) -> str | None:
    return "Image metadata key too long" if max(map(len, case.metadata), default=0) > NAME_LENGTH else None


def metadata_value(case: Case) -> str | None:
    values = case.metadata.values()
    # Nearly all requests end here: a character is 4 bytes at most, so short texts need no counting.
    if {str}.issuperset(map(type, values)) and max(map(len, values), default=0) <= MAX_VALUE_BYTES // 4:
        return None
    for key, value in case.metadata.items():
        if type(value) is str and _utf8_length(value) <= MAX_VALUE_BYTES:
            continue
        found = f"{_utf8_length(value)} bytes" if type(value) is str else kind_of(value)
        return f"The value of image metadata key '{shown(key)}' must be text of at most 65535 bytes; found {found}"
    return None


def project_unknown(case: Case) -> str | None:
    unknown = case.policy.projects and not case.caller.vouched and project_of(case.action, case.caller) is None
    return "The project of the request could not be determined, so no policy applies to it" if unknown else None


def name_pattern(case: Case) -> str | None:
    name, matches = case.action.name, case.settings.name_matches
    # Only what can be a name is tried: the time of a match depends on the length.
    if matches is None or type(name) is not str or len(name) > NAME_LENGTH:
        return None
    if matches(name) and matches(name.strip()):  # Nova names the image without the white space around it
        return None
    return f"The image name '{shown(name)}' does not match the pattern '{case.settings.name_pattern}' (name-pattern)"


def metadata_required(case: Case) -> str | None:
    missing = [key for key in case.settings.metadata_required if key not in case.metadata]
    return f"Image metadata must hold the key '{missing[0]}' (metadata-required)" if missing else None


def metadata_reserved(case: Case) -> str | None:
    settings, keys = case.settings, [*map(str.strip, case.metadata)]  # Nova's pattern lets "id\n" through
    lines = "\n" + "\n".join(keys)  # one search for all of them
    if settings.metadata_reserved.isdisjoint(keys) and not any(
        f"\n{prefix}" in lines for prefix in settings.metadata_reserved_prefixes
    ):
        return None
    for key in keys:
        if key in settings.metadata_reserved or key.startswith(settings.metadata_reserved_prefixes):
            return f"Image metadata key '{shown(key)}' is reserved (metadata-reserved)"
    return None


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def kind_of(value: Any) -> str:
    """What a JSON value is, for people."""
    return "null" if value is None else _JSON_TYPES[type(value)]


def _from_path(segment: str) -> str:
    """A path segment as the client wrote it: WSGI hands its bytes on as Latin-1."""
    return shown(segment.encode("latin-1", "replace").decode("utf-8", "replace"))

"""The contract of an image action, rule by rule, in judging order.

The contract is the compute API's documented one (``api-ref``: *Create Image (createImage Action)*) as Nova enforced
it up to Kilo, with the messages of that code. :func:`judge` is pure and the only engine there is.
"""

from __future__ import annotations

import re
from typing import Any, Callable, NamedTuple

from oslo_utils import uuidutils

from imagefilter.action import NAMED_ACTIONS, ImageAction
from imagefilter.caller import Caller
from imagefilter.fault import shown
from imagefilter.policy import Settings

#: Longest name and metadata key (characters), and number as a name (digits).
MAX_LENGTH = 255
#: Longest metadata value, in bytes of UTF-8: what Glance's TEXT column holds.
MAX_VALUE_BYTES = 65535

# Content types that Nova reads as JSON, compared as Nova does: case matters, parameters don't.
_MEDIA_TYPES = frozenset(("", "text/plain", "application/json", "application/vnd.openstack.compute+json"))
_PROJECT_ID = re.compile(r"[0-9a-f-]+")  # Nova's routes, unless [api] project_id_regex is wider
_JSON_TYPES = {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}


class Verdict(NamedTuple):
    """What a judgement found. ``rule`` is the first rule that refuses, or empty."""

    rule: str = ""
    status: int = 0
    message: str = ""

    @property
    def allowed(self) -> bool:
        return not self.rule


#: A check gives the message of a refusal, or None.
Check = Callable[[ImageAction, Caller, Settings], "str | None"]


class Rule(NamedTuple):
    name: str
    status: int
    check: Check


def judge(action: ImageAction, caller: Caller, settings: Settings) -> Verdict:
    """Judge an image action by the contract and by the settings of its project."""
    for name, status, check in _RULES if action.kind in NAMED_ACTIONS else _RULES_WITHOUT_NAME:
        message = check(action, caller, settings)
        if message is not None:
            return Verdict(name, status, message)
    return ALLOWED


ALLOWED = Verdict()


def _token(action: ImageAction, caller: Caller, settings: Settings) -> str | None:
    return None if caller.authenticated else "The request you have made requires authentication."


def _content_type(action: ImageAction, caller: Caller, settings: Settings) -> str | None:
    # Nova up to Mitaka; later ones answer 415. Forwarded as JSON, it would make an image that Nova refuses to make.
    return None if action.media_type in _MEDIA_TYPES else "There is no such action: None"


def _body(action: ImageAction, caller: Caller, settings: Settings) -> str | None:
    if action.kind is None or (action.kind in NAMED_ACTIONS and not isinstance(action.entity, dict)):
        return "Malformed request body"
    return None


def _project_id(action: ImageAction, caller: Caller, settings: Settings) -> str | None:
    target = action.target
    if target and target.versioned and target.project_id and not _PROJECT_ID.fullmatch(target.project_id):
        return "The resource could not be found."
    return None


def _project(action: ImageAction, caller: Caller, settings: Settings) -> str | None:
    target = action.target
    if not caller.vouched or not target or target.project_id in (None, caller.project_id):
        return None
    return (
        f"Malformed request URL: URL's project_id '{_from_path(target.project_id)}'"
        f" doesn't match Context's project_id '{caller.project_id}'"
    )


def _server(action: ImageAction, caller: Caller, settings: Settings) -> str | None:
    if action.target is None or uuidutils.is_uuid_like(action.target.server_id):
        return None
    return f"Instance {_from_path(action.target.server_id)} could not be found."


def _snapshots_enabled(action: ImageAction, caller: Caller, settings: Settings) -> str | None:
    return None if settings.snapshots_enabled else "Instance snapshots are not permitted at this time."


def _name_required(action: ImageAction, caller: Caller, settings: Settings) -> str | None:
    return f"{action.kind} entity requires name attribute" if action.name in (None, "") else None


def _name_format(action: ImageAction, caller: Caller, settings: Settings) -> str | None:
    name = action.name
    if type(name) is str and len(name) <= MAX_LENGTH:
        return None
    # A number arrives here as text of its digits, unless it has a sign.
    found = f"{len(name)} characters" if type(name) is str else _kind_of(name)
    return f"The name must be text of 1 to 255 characters, or a number of 1 to 255 digits; found {found}"


def _metadata_type(action: ImageAction, caller: Caller, settings: Settings) -> str | None:
    return None if isinstance(action.metadata, dict) else "Invalid image metadata"


def _metadata_quota(action: ImageAction, caller: Caller, settings: Settings) -> str | None:
    limit = settings.metadata_items
    return "Image metadata limit exceeded" if 0 <= limit < len(action.metadata) else None


def _metadata_key_blank(action: ImageAction, caller: Caller, settings: Settings) -> str | None:
    return "Image metadata key cannot be blank" if "" in action.metadata else None


def _metadata_key_length(action: ImageAction, caller: Caller, settings: Settings) -> str | None:
    too_long = any(len(key) > MAX_LENGTH for key in action.metadata)
    return "Image metadata key too long" if too_long else None


def _metadata_value(action: ImageAction, caller: Caller, settings: Settings) -> str | None:
    for key, value in action.metadata.items():
        # A character is 4 bytes at most, so a short text needs no counting.
        if type(value) is str and (len(value) <= MAX_VALUE_BYTES // 4 or _utf8_length(value) <= MAX_VALUE_BYTES):
            continue
        found = f"{_utf8_length(value)} bytes" if type(value) is str else _kind_of(value)
        return f"The value of image metadata key '{shown(key)}' must be text of at most 65535 bytes; found {found}"
    return None


_RULES = (
    Rule("token", 401, _token),
    Rule("content-type", 400, _content_type),
    Rule("body", 400, _body),
    Rule("project-id", 404, _project_id),
    Rule("project", 400, _project),
    Rule("server", 404, _server),
    Rule("snapshots-enabled", 400, _snapshots_enabled),
    Rule("name-required", 400, _name_required),
    Rule("name-format", 400, _name_format),
    Rule("metadata-type", 400, _metadata_type),
    Rule("metadata-quota", 403, _metadata_quota),
    Rule("metadata-key-blank", 400, _metadata_key_blank),
    Rule("metadata-key-length", 400, _metadata_key_length),
    Rule("metadata-value", 400, _metadata_value),
)
_RULES_WITHOUT_NAME = tuple(rule for rule in _RULES if not rule.name.startswith(("name-", "metadata-")))


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _kind_of(value: Any) -> str:
    return "null" if value is None else _JSON_TYPES[type(value)]


def _from_path(segment: str | None) -> str:
    """A path segment as the client wrote it: WSGI hands its bytes on as Latin-1."""
    return shown((segment or "").encode("latin-1", "replace").decode("utf-8", "replace"))

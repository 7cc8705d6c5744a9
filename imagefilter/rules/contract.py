"""The compute API's documented contract: small functions, in judging order, that say why a request is refused.

The contract is that of the API reference (*Create Image (createImage Action)*) as Nova enforced it up to Kilo, with the
messages of that code.
"""

from __future__ import annotations

import logging
import re

from oslo_utils import uuidutils

from imagefilter.fault import excerpt
from imagefilter.request.action import NAME_LENGTH, NAMED_ACTIONS, Target
from imagefilter.request.body import MALFORMED
from imagefilter.request.codec import type_name
from imagefilter.rules.case import Case, LookupFailed, Refusal

LOG = logging.getLogger(__name__)

#: Longest metadata value, in bytes of UTF-8: the size of Glance's TEXT column.
MAX_VALUE_BYTES = 65535

#: How many properties a stock Glance takes (``image_property_quota``, 128) beside those that Nova sets itself.
MAX_PROPERTIES = 118

UNAUTHORIZED = Refusal("The request you have made requires authentication.")

# Content types that Nova reads as JSON, compared as Nova does: case matters, parameters don't.
_MEDIA_TYPES = frozenset(("", "text/plain", "application/json", "application/vnd.openstack.compute+json"))
_PROJECT_ID = re.compile(r"[0-9a-f-]+")  # Nova's routes, unless [api] project_id_regex is wider
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # the usual spelling, for speed


def token(case: Case) -> Refusal | None:
    """Refuse a request without a token."""
    if case.identity.has_token:
        return None
    return UNAUTHORIZED


def content_type(case: Case) -> Refusal | None:
    """Refuse a content type that Nova does not read as JSON: forwarded as JSON, it would make an image.

    Nova up to Mitaka has this message; later ones respond 415.
    """
    if case.action.media_type in _MEDIA_TYPES:
        return None
    return Refusal("There is no such action: None")


def body(case: Case) -> Refusal | None:
    """Refuse a body that names no action, or an action whose value is not an object."""
    action = case.action
    if action.name is None or (action.name in NAMED_ACTIONS and type(action.entity) is not dict):
        return Refusal(MALFORMED)
    return None


def project_id(case: Case) -> Refusal | None:
    """Refuse a path whose project Nova's routes don't match."""
    target = case.action.target
    if target and target.versioned and target.project_id and not _PROJECT_ID.fullmatch(target.project_id):
        return Refusal("The resource could not be found.")
    return None


def project(case: Case) -> Refusal | None:
    """Refuse a path with another project than the caller's."""
    target = case.action.target
    if not case.identity.authenticated or not target or target.project_id in (None, case.identity.project_id):
        return None
    return Refusal(
        f"Malformed request URL: URL's project_id '{_decode_segment(target.project_id)}'"
        f" doesn't match Context's project_id '{case.identity.project_id}'"
    )


def project_unknown(case: Case) -> Refusal | None:
    """Refuse a request if nobody knows which project it belongs to, and that decides.

    Where projects have policies of their own, or where the image API is asked about the caller's project.
    """
    if case.identity.authenticated:
        return None
    asks_as_caller = case.settings.limits.count_images or case.settings.image_quota_check
    if asks_as_caller or (case.policy.projects and case.project_id is None):
        return Refusal("The project of the request could not be determined, so no policy applies to it")
    return None


def server(case: Case) -> Refusal | None:
    """Refuse an id that is not UUID-like, by oslo's reading."""
    target = case.action.target
    if target is None or _UUID.fullmatch(target.server_id) or uuidutils.is_uuid_like(target.server_id):
        return None
    return Refusal(describe_missing_server(target))


def describe_missing_server(target: Target | None) -> str:
    """Return Nova's own message about a server that does not exist."""
    server_id = ""
    if target is not None:
        server_id = _decode_segment(target.server_id)
    return f"Instance {server_id} could not be found."


def snapshots_enabled(case: Case) -> Refusal | None:
    """Refuse everything if the switch is off."""
    if case.settings.snapshots_enabled:
        return None
    return Refusal("Instance snapshots are not permitted at this time.")


def name_required(case: Case) -> Refusal | None:
    """Refuse an image without a name."""
    if case.action.image_name in (None, ""):
        return Refusal(f"{case.action.name} entity requires name attribute")
    return None


def name_format(case: Case) -> Refusal | None:
    """Refuse a name that is neither text nor a number of digits, or is too long."""
    name = case.action.image_name
    if name is None or (type(name) is str and len(name) <= NAME_LENGTH):
        return None
    found = type_name(name)
    if type(name) is str:  # a number is the text of its digits here, unless it has a sign
        found = f"{len(name)} characters"
    return Refusal(f"The name must be text of 1 to 255 characters, or a number of 1 to 255 digits; found {found}")


def metadata_type(case: Case) -> Refusal | None:
    """Refuse metadata that are not an object, and those that leave no room for the filter's own.

    Nova would respond 500 to these, so no exemption and no mode of the quota lets them through.
    """
    if type(case.action.metadata) is not dict:
        return Refusal("Invalid image metadata")
    return refuse_without_room(case)


def refuse_without_room(case: Case) -> Refusal | None:
    """Refuse metadata that leave no room for the filter's own stamps."""
    count, stamps = len(case.metadata), len(case.settings.stamps)
    if not stamps or count + stamps <= MAX_PROPERTIES:
        return None
    limit = MAX_PROPERTIES - stamps
    return Refusal("Image metadata limit exceeded", 403, limit=limit, usage=count, rule="metadata-quota")


def metadata_quota(case: Case) -> Refusal | None:
    """Refuse more metadata items than the project's quota."""
    count = len(case.metadata)
    if not count:  # no quota can be exceeded, so there is nothing to ask the compute API
        return None
    limit = case.settings.metadata_items
    if case.settings.quota_from_compute:
        try:
            limit = case.lookups.metadata_items()
        except LookupFailed as error:
            return _quota_unknown(case, error)
    if 0 <= limit < count:
        return Refusal("Image metadata limit exceeded", limit=limit, usage=count)
    return None


def metadata_key_blank(case: Case) -> Refusal | None:
    """Refuse an empty key."""
    if "" in case.metadata:
        return Refusal("Image metadata key cannot be blank")
    return None


def metadata_key_length(case: Case) -> Refusal | None:
    """Refuse a key that is longer than Glance's column."""
    if max(map(len, case.metadata), default=0) > NAME_LENGTH:
        return Refusal("Image metadata key too long")
    return None


def metadata_value(case: Case) -> Refusal | None:
    """Refuse a value that is not text, or is longer than Glance's column."""
    values = case.metadata.values()
    # Nearly all requests end here: a character is 4 bytes at most, so short texts need no counting.
    if {str}.issuperset(map(type, values)) and max(map(len, values), default=0) <= MAX_VALUE_BYTES // 4:
        return None
    for key, value in case.metadata.items():
        found = type_name(value)
        if type(value) is str:
            size = _utf8_length(value)
            if size <= MAX_VALUE_BYTES:
                continue
            found = f"{size} bytes"
        return Refusal(
            f"The value of image metadata key '{excerpt(key)}' must be text of at most 65535 bytes; found {found}"
        )
    return None


def _quota_unknown(case: Case, error: LookupFailed) -> Refusal | None:
    LOG.error(
        "the metadata quota could not be determined: %s; lookup_on_error is %s", error, case.policy.lookup_on_error
    )
    if case.policy.lookup_on_error == "allow":
        return None
    return Refusal("The metadata quota could not be determined.", 503)


def _utf8_length(text: str) -> int:
    if text.isascii():
        return len(text)
    return len(text.encode("utf-8", "surrogatepass"))


def _decode_segment(segment: str) -> str:
    """Return a path segment as the client wrote it, as an excerpt: WSGI decodes its bytes as Latin-1."""
    return excerpt(segment.encode("latin-1", "replace").decode("utf-8", "replace"))

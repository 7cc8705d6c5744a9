"""The stamps: metadata that the filter sets itself.

By them each image of a server can be counted, found in the records, and deleted when it has expired.
"""

from __future__ import annotations

import datetime
from typing import Any

from imagefilter.policy.context import RequestContext
from imagefilter.policy.limits import EXPIRES
from imagefilter.policy.reserved import fold
from imagefilter.request.action import NAMED_ACTIONS

_UTC = datetime.timezone.utc

# Where an image is kept for ever; it must not be another image's time.
_NEVER = "never"


def stamp(context: RequestContext) -> dict[str, Any] | None:
    """Return the image's metadata with the stamps; None if there are none to set.

    They replace what a client sent under such a key, in any spelling that a database takes for the same.
    """
    action, keys = context.action, context.settings.stamps
    if not keys or action.name not in NAMED_ACTIONS or type(action.metadata) is not dict:
        return None
    folded: set[str] = set()
    for key in keys:
        folded.update(fold(key))
    metadata = {key: value for key, value in action.metadata.items() if folded.isdisjoint(fold(key))}
    texts = _build_texts(context, datetime.datetime.now(_UTC))
    for key in keys:
        metadata[key] = texts[key]
    return metadata


def _build_texts(context: RequestContext, now: datetime.datetime) -> dict[str, str]:
    """Return the text of each stamp that there can be."""
    settings = context.settings
    texts = {
        "imagefilter_server": context.server_id,
        "imagefilter_stamped": _write_time(now),
        "imagefilter_record": context.record_id,
        EXPIRES: _NEVER,
    }
    if settings.expires_after and settings.mode == "enforce":
        texts[EXPIRES] = _write_time(now + settings.expires_after)
    values = {
        "server_id": context.server_id,
        "project_id": context.project_id,
        "user_id": context.identity.user_id,
        "request_id": context.identity.request_id,
        "record_id": context.record_id,
        "date": now.strftime("%Y-%m-%d"),
    }
    for key, template in settings.metadata_set.items():
        texts[key] = template.render(values)
    return texts


def _write_time(time: datetime.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")

"""The stamps: metadata that the filter sets itself, so that each image of a server can be counted."""

from __future__ import annotations

import datetime
from typing import Any

from imagefilter.policy.context import RequestContext
from imagefilter.policy.reserved import fold
from imagefilter.request.action import NAMED_ACTIONS


def stamp(context: RequestContext) -> dict[str, Any] | None:
    """Return the image's metadata with the stamps; None if there are none to set.

    They replace what a client sent under such a key, in any spelling that a database takes for the same.
    """
    action = context.action
    if not context.settings.stamps or action.name not in NAMED_ACTIONS or type(action.metadata) is not dict:
        return None
    stamps = _build_stamps(context)
    metadata = {key: value for key, value in action.metadata.items() if stamps.keys().isdisjoint(fold(key))}
    return {**metadata, **stamps}


def _build_stamps(context: RequestContext) -> dict[str, str]:
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "imagefilter_server": context.server_id,
        "imagefilter_stamped": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "imagefilter_record": context.record_id,
    }

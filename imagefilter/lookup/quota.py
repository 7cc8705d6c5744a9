"""Ask the image API for the caller's own quotas (``GET /v2/info/usage``), before Nova runs into one.

Glance has them from 24.0.0 (Yoga) on. Where it enforces none, its answer is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagefilter.lookup.session import CallerSession
from imagefilter.policy.policy import ImageAPIOptions
from imagefilter.rules.case import IMAGE_QUOTAS, Quota

_MAX_BYTES = 1 << 16


def ask_image_quota(
    url: str, token: str, project_id: str, options: ImageAPIOptions, seconds: float
) -> dict[str, Quota]:
    """Return those of :data:`imagefilter.rules.case.IMAGE_QUOTAS` that the image API enforces, by name.

    :param url: of the image API.
    :param project_id: of the token, for the error alone.
    :param seconds: how long it may take.
    :raises LookupFailed: if the image API does not tell.
    """
    failure = f"the image API's quota of project {project_id} could not be looked up"
    with CallerSession(token, options.ca_file, seconds, _MAX_BYTES, failure) as session:
        usage = session.get(f"{url}/v2/info/usage", {}).get("usage")
        if not isinstance(usage, dict):
            raise session.fail("its answer has no usage")
        quotas = {}
        for name in IMAGE_QUOTAS:
            if name in usage:
                quota = _read_quota(usage[name])
                if quota is None:
                    raise session.fail(f"its answer has no numbers for {name}")
                quotas[name] = quota
        return quotas


def _read_quota(document: Any) -> Quota | None:
    if not isinstance(document, Mapping):
        return None
    limit, usage = document.get("limit"), document.get("usage")
    if type(limit) is not int or type(usage) is not int or limit < -1 or usage < 0:
        return None
    return Quota(limit, usage)

"""Whether what the lookups need is there: the certificates, and the Keystone that has the limits."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator

from imagefilter.policy.policy import Policy
from imagefilter.rules.case import LookupFailed


def find_ca_errors(policy: Policy) -> Iterator[str]:
    """Yield why ``api_ca_file`` can't be used: then no API that is asked over TLS would be believed."""
    raw = policy.origins[""].get("api_ca_file")
    path = policy.image_api.ca_file
    if raw is None or not path or os.path.isdir(path):  # requests takes a directory of certificates as well
        return
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        yield f"api_ca_file = {path} in {raw.location}: {error}"


def find_keystone_warnings(policy: Policy) -> Iterator[str]:
    """Ask Keystone for its version if limits come from there, and yield why it can't be asked.

    A warning, no error: the gateway's unit runs the check before a start, and may start before Keystone does.
    """
    raw = policy.origins[""].get("identity_api_url")
    if raw is None or not _has_limits_there(policy):
        return
    from imagefilter.lookup.identity import check_identity_api  # noqa: PLC0415  # it loads an HTTP client

    try:
        check_identity_api(policy.image_api)
    except LookupFailed as error:
        yield f"{raw.name} in {raw.location}: {error}: image actions whose limit is not known go by lookup_on_error"


def _has_limits_there(policy: Policy) -> bool:
    for settings in (policy.settings, *policy.projects.values()):
        if settings.limits.from_keystone and settings.judging:
            return True
    return False

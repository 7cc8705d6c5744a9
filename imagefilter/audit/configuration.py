"""Describe the policy that a process judges by, for the record of it."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from imagefilter.audit.bounds import replace_surrogates
from imagefilter.coordination.url import describe
from imagefilter.journal.process import describe_process
from imagefilter.policy.policy import Policy
from imagefilter.policy.summary import describe_what_stays_on

_MAX_ITEMS = 100
_MAX_TEXT = 4096


def describe_configuration(policy: Policy) -> dict[str, Any]:
    """Build imagefilter's own part of the record of a policy. It holds the value of no secret option."""
    loaded, process = policy.loaded, describe_process()
    return {
        "policy_digest": loaded.digest,
        "pid": process.pid,
        "configuration": {
            "section": _text(loaded.section),
            "paste": _describe_paste(loaded.paste),
            "files": _texts(loaded.files),
            "mode": policy.settings.mode,
            "stays_on": _texts(describe_what_stays_on(policy)),
            "journal": policy.audit_journal and _text(policy.audit_journal),
            "coordination": _describe_coordination(policy),
            "loaded": datetime.datetime.fromtimestamp(loaded.time, datetime.timezone.utc).isoformat(),
            "serial": loaded.serial,
            "failure": _text(loaded.failure) or None,
            "process_started": process.started,
            "process_namespace": process.namespace,
        },
    }


def _describe_coordination(policy: Policy) -> str | None:
    if not policy.needs_locks or policy.coordination_url is None:
        return None
    return _text(describe(policy.coordination_url))


def _describe_paste(paste: Mapping[str, str]) -> list[dict[str, str]]:
    items = islice(paste.items(), _MAX_ITEMS)
    return [{"key": _text(name), "value": _text(text)} for name, text in items]


def _texts(texts: Iterable[str]) -> list[str]:
    return [_text(text) for text in islice(texts, _MAX_ITEMS)]


def _text(text: str) -> str:
    return replace_surrogates(text[:_MAX_TEXT])

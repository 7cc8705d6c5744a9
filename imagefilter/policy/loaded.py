"""How a policy was loaded: from which files, when, and what came of the latest attempt to replace it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_DIGEST_LENGTH = 16


class Loaded(NamedTuple):
    """How a policy was loaded."""

    section: str  # of the paste file, as errors name it
    paste: Mapping[str, str]  # the options in that section, without secret ones
    files: tuple[str, ...]
    digest: str
    serial: int = 0  # the first load and each reload of a filter has the next number
    time: float = 0.0  # of the load, in seconds since 1970
    failure: str = ""  # why the latest reload failed


def compute_digest(
    values: Mapping[str, Mapping[str, Any]], secret: frozenset[str], own_rules: Sequence[Any] = ()
) -> str:
    """Return the digest of a policy: policies that judge alike have the same, wherever their options are given.

    :param values: the value of each option, by project ("" for all).
    :param own_rules: the operator's own, in judging order.
    :param secret: the names of options that hold passwords: nobody should guess them from a digest.
    """
    visible: dict[str, Any] = {}
    for project_id, options in values.items():
        visible[project_id] = {name: value for name, value in options.items() if name not in secret}
    if own_rules:
        visible["rules"] = own_rules
    text = json.dumps(visible, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]

"""The operator's rules on names and metadata; they come after the contract and name themselves in their messages."""

from __future__ import annotations

from imagefilter.fault import excerpt
from imagefilter.request.action import NAME_LENGTH
from imagefilter.rules.case import Case, Refusal


def name_pattern(case: Case) -> Refusal | None:
    """Refuse a name that does not match the project's ``name_pattern``."""
    name, matches = case.action.image_name, case.settings.name_matches
    # Only what can be a name is tried: the time of a match depends on the length.
    if matches is None or type(name) is not str or len(name) > NAME_LENGTH:
        return None
    if matches(name) and matches(name.strip()):  # Nova strips the white space around it
        return None
    return Refusal(
        f"The image name '{excerpt(name)}' does not match the pattern '{case.settings.name_pattern}' (name-pattern)"
    )


def metadata_required(case: Case) -> Refusal | None:
    """Refuse metadata that lack one of the project's ``metadata_required``."""
    for key in case.settings.metadata_required:
        if key not in case.metadata:
            return Refusal(f"Image metadata must hold the key '{key}' (metadata-required)")
    return None


def metadata_reserved(case: Case) -> Refusal | None:
    """Refuse metadata with one of the project's ``metadata_reserved``, see :mod:`imagefilter.policy.reserved`.

    Nova's own pattern lets ``"id\\n"`` through.
    """
    is_reserved = case.settings.metadata_reserved.includes
    own_keys = case.settings.own_keys.get(case.action.name or "")
    for key in case.metadata:
        if is_reserved(key) or (own_keys and own_keys.includes(key)):
            return Refusal(f"Image metadata key '{excerpt(key.strip())}' is reserved (metadata-reserved)")
    return None

"""What a reload takes away: a policy must not loosen itself by accident.

A full disk, a dying editor or a deployment that stops half-way leave a file behind that is empty, or none at all, and
that would mean defaults for all that it set.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagefilter.policy.policy import Policy


def find_emptied_files(before: Policy, after: Policy) -> list[str]:
    """Return each file that set options and now sets none, so that one of them has another value or none.

    A file whose options are given elsewhere, with the same values, was renamed. Who sets ``mode = off`` means it.
    """
    if after.settings.mode == "off":
        return []
    texts_before, texts_after = _texts_in_force(before), _texts_in_force(after)
    emptied = []
    for path, names in before.names_given.items():
        is_empty = names and not after.names_given.get(path)
        if is_empty and any(texts_before.get(name) != texts_after.get(name) for name in names):
            emptied.append(path)
    return emptied


def describe_lost_options(before: Policy, after: Policy) -> Iterator[str]:
    """Yield each section and option that a file no longer has."""
    for path, names in before.names_given.items():
        now = after.names_given.get(path, frozenset())
        sections = {section for section, _ in now}
        for section in sorted({section for section, _ in names} - sections):
            yield f"section [{section}] of {path}"
        for section, name in sorted(names - now):
            if section in sections:
                yield f"{name} in section [{section}] of {path}"


def _texts_in_force(policy: Policy) -> dict[tuple[str, str], str]:
    """Return the text of each option that is in force, by section and name."""
    texts = {}
    for given in policy.origins.values():
        for raw in given.values():
            texts[raw.section, raw.name] = raw.text
    return texts

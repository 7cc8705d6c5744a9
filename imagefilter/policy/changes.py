"""What a reload takes away: a policy must not loosen itself by accident.

A full disk, a dying editor or a deployment that stops half-way leave a file behind that is empty, or none at all, and
that would mean defaults for all that it set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imagefilter.policy.options import GROUP
from imagefilter.policy.policy import Policy

_Name = tuple[str, str]  # of a section, and of an option in it


def find_accidents(before: Policy, after: Policy) -> list[str]:
    """Return why a reload looks like an accident, so that the previous policy should stay.

    Who switches the filter off means it, whatever else has happened to the files.
    """
    if _is_switched_off(before, after):
        return []
    emptied = _find_emptied_files(before, after)
    if emptied:
        return [
            f"{', '.join(emptied)} no longer sets any option, which looks like an accident: what was set stays in force"
            " until it sets options again; if it is meant, restart the process"
        ]
    if before.settings.mode != "off" and after.settings.mode == "off":
        return list(after.errors)  # they were ignored because of a mode that only a bad file uncovered
    return []


def describe_lost_options(before: Policy, after: Policy) -> Iterator[str]:
    """Yield each section and option that a file no longer sets, unless another file gives it the same value."""
    kept = _names_kept(before, after)
    for path in before.names_given:
        lost = _names_lost(before, after, path) - kept
        gone = _sections(lost) - _sections(after.names_given.get(path, {})) - _sections(kept & _names(before, path))
        for section in sorted(gone):
            yield f"section [{section}] of {path}"
        for section, name in sorted(lost):
            if section not in gone:
                yield f"{name} in section [{section}] of {path}"


def _is_switched_off(before: Policy, after: Policy) -> bool:
    """Return whether somebody wrote ``mode = off`` for all projects: the switch for emergencies.

    Nobody did where a file is lost that overrode the ``mode = off`` of another one.
    """
    if after.settings.mode != "off":
        return False
    for path, texts in after.names_given.items():
        mode = texts.get((GROUP, "mode"))
        if mode is not None and mode != before.names_given.get(path, {}).get((GROUP, "mode")):
            return True
    return False


def _find_emptied_files(before: Policy, after: Policy) -> list[str]:
    """Return each file that set options and now sets none, so that one of them has another value or none.

    A file whose options are given elsewhere, with the same values, was renamed.
    """
    changed = _texts_in_force(before).keys() - _names_kept(before, after)
    emptied = []
    for path in before.names_given:
        if not _names(after, path) and _names(before, path) & changed:
            emptied.append(path)
    return emptied


def _names_lost(before: Policy, after: Policy, path: str) -> set[_Name]:
    """Return the options that a file no longer gives, or gives without a value."""
    given_now = after.names_given.get(path, {})
    removed = before.names_given[path].keys() - given_now.keys()
    return removed | (_names(before, path) - _names(after, path))


def _names_kept(before: Policy, after: Policy) -> set[_Name]:
    """Return the options that have the text that they had, in whatever file."""
    texts_before, texts_after = _texts_in_force(before), _texts_in_force(after)
    return {name for name, text in texts_before.items() if texts_after.get(name) == text}


def _names(policy: Policy, path: str) -> set[_Name]:
    """Return the options to which a file gives a value: an empty one unsets."""
    return {name for name, text in policy.names_given.get(path, {}).items() if text.strip()}


def _sections(names: Iterable[_Name]) -> set[str]:
    return {section for section, _ in names}


def _texts_in_force(policy: Policy) -> dict[_Name, str]:
    """Return the text of each option that is in force, by section and name."""
    texts = {}
    for given in policy.origins.values():
        for raw in given.values():
            texts[raw.section, raw.name] = raw.text
    for rule in policy.own_rules:
        for raw in rule.given.values():
            texts[raw.section, raw.name] = raw.text
    return texts

"""What a nova.conf leaves open that the filter can't see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imagefilter.policy.files import ConfigFiles
from imagefilter.policy.options import INSTRUCTIONS
from imagefilter.policy.policy import Policy

_OPTION = "non_inheritable_image_properties"
_STOCK = "cache_in_nova, bittorrent"  # the default of Nova 25 to 34

# A file that has one of these is a nova.conf.
_NOVAS_SECTIONS = frozenset(("api_database", "glance", "placement", "neutron", "libvirt", "vnc"))


def find_nova_warnings(paths: Iterable[str], policy: Policy) -> Iterator[str]:
    """Yield what is allowed and probably not meant in those of some config files that are nova.conf."""
    stamps = _find_stamps(policy)
    for path in paths:
        errors: list[str] = []
        files = ConfigFiles([path], errors)
        if errors or _NOVAS_SECTIONS.isdisjoint(section for _, section in files.sections()):
            continue
        text = _STOCK
        for raw in files.options(lambda section: section == "DEFAULT", errors):
            if raw.name == _OPTION:
                text = raw.text
        named = [item.strip() for item in text.split(",")]
        unnamed = [key for key in stamps if key not in named]
        if unnamed:
            yield (
                f"{_OPTION} in section [DEFAULT] of {path} does not name {', '.join(unnamed)}: images that the filter"
                " does not stamp, as that of a shelve, carry those of the image that their server was booted from"
            )
        missing = [key for key in INSTRUCTIONS if key not in named]
        if missing:
            yield (
                f"{_OPTION} in section [DEFAULT] of {path} does not name {', '.join(missing)}: snapshots get these from"
                " the image that a server was booted from, past metadata_reserved"
            )


def _find_stamps(policy: Policy) -> list[str]:
    """Return the properties that the filter sets on the images of some project."""
    stamps: dict[str, None] = {}
    for settings in (policy.settings, *policy.projects.values()):
        stamps.update(dict.fromkeys(settings.stamps))
    return list(stamps)

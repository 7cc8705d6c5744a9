"""The name of the distribution: nova-imagefilter, for the name imagefilter on PyPI is another project's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata

from imagefilter.cli.pastefile import APPS, FILTERS, PasteFile

#: What ``pip`` knows this package by.
DISTRIBUTION = "nova-imagefilter"
#: What the other project's distribution is called. It brings an import package of that name, as this one does.
_OTHER = "imagefilter"
_OWN_GROUP = "imagefilter.cli"

_WRONG_EGG = re.compile(r"egg:imagefilter(?:#(\w+))?")
_FILTER = "paste.filter_factory = imagefilter:filter_factory"
_NAMES_OF_THE_FILTER = (None, "main", "imagefilter")


def find_wrong_eggs(file: PasteFile) -> Iterator[str]:
    """Yield what to write instead of each ``egg:imagefilter`` in a paste file."""
    for section in file.sections((*APPS, *FILTERS)):
        for key, value in section.options.items():
            for name in value.split():
                egg = _WRONG_EGG.fullmatch(name)
                if egg:
                    yield (
                        f"{key} in section [{section.name}] of {file.path}: {name} is another project's distribution:"
                        f" write {_advise(key, egg[1])}"
                    )


def find_collision() -> Iterator[str]:
    """Yield a warning if the other project's distribution is installed beside this one.

    Installed after this one, it has overwritten ``imagefilter/__init__.py``, and no command starts any more.
    """
    try:
        other = metadata.distribution(_OTHER)
    except metadata.PackageNotFoundError:
        return
    if any(point.group == _OWN_GROUP for point in other.entry_points):
        return  # this project's own, of a time before it had its name
    yield (
        f"warning: {_OTHER} {other.version} in {other.locate_file('')} is another project's distribution with files in"
        f" the same folder: uninstall both, then install {DISTRIBUTION}"
    )


def _advise(key: str, entry_point: str | None) -> str:
    if entry_point not in _NAMES_OF_THE_FILTER:
        return f"egg:{DISTRIBUTION}#{entry_point}"
    if key == "use":
        return _FILTER
    return f"egg:{DISTRIBUTION}"

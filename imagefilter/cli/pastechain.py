"""What a request passes on its way to an app: a section of a paste file may name more filters than a pipeline does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from imagefilter.cli.pastefile import APPS, FILTERS, PasteFile, name_of

# What a section is, by its factory: sections may have any name.
_OURS = re.compile(r"(call:)?imagefilter(\.filter)?:filter_factory|egg:nova[-_.]imagefilter(#main|#imagefilter)?")
_COMPATIBLE = re.compile(r".*LegacyV2CompatibleWrapper\..*")
_NOVAS_APP = re.compile(r".*\bnova\b.*:.*\bAPIRouter.*")
_GATEWAY = re.compile(r"(call:)?imagefilter\.gateway(\.app)?:app_factory|egg:nova[-_.]imagefilter#gateway")
_BODY_READER = re.compile(r"(call:)?imagefilter\.gateway\.body:filter_factory|egg:nova[-_.]imagefilter#read_body")
_COMPUTE_APPS = (_NOVAS_APP, _GATEWAY)

# Apps that make no image: Nova's lists of versions and its metadata, and what answers health checks.
_HARMLESS_APPS = re.compile(
    r"(call:)?(nova\.api\.|oslo_middleware|paste\.urlmap).*|egg:(oslo.middleware|nova[-_.]imagefilter|Paste).*"
)

# A filter-app whose next app is itself, say.
_MAX_DEPTH = 10


class Filter(NamedTuple):
    """A filter that a request passes, or the app at the end."""

    name: str
    factory: str  # empty if its section is missing

    @property
    def is_ours(self) -> bool:
        return _OURS.fullmatch(self.factory) is not None

    @property
    def may_follow(self) -> bool:
        """Whether it may stand between the filter and the app."""
        return self.is_ours or _COMPATIBLE.fullmatch(self.factory) is not None


def expand(file: PasteFile, names: Sequence[str]) -> list[Filter]:
    """Return all filters that a request passes, and the app: a section may name more filters than the pipeline."""
    passed = []
    for name in names[:-1]:
        passed += _expand_name(file, FILTERS, name)
    return passed + _expand_name(file, APPS, names[-1])


def is_ours(file: PasteFile, name: str) -> bool:
    """Return whether a name in a pipeline stands for the filter."""
    return find_filter(file, name).is_ours


def is_gateway(file: PasteFile, name: str) -> bool:
    """Return whether the name of an app stands for the gateway."""
    return _GATEWAY.fullmatch(file.factory(APPS, name)) is not None


def has_body_reader(file: PasteFile) -> bool:
    """Return whether some filter of a file reads bodies before anything may answer."""
    factories = [file.factory(FILTERS, name_of(section)) for section in file.sections(FILTERS)]
    return any(_BODY_READER.fullmatch(factory) for factory in factories)


def is_compute_app(factory: str) -> bool:
    """Return whether a factory makes what serves a compute API."""
    return any(app.fullmatch(factory) for app in _COMPUTE_APPS)


def is_harmless_app(factory: str) -> bool:
    """Return whether a factory makes an app that makes no image."""
    return _HARMLESS_APPS.fullmatch(factory) is not None


def find_filter(file: PasteFile, name: str) -> Filter:
    """Return the filter that a name in a pipeline stands for."""
    return Filter(name, file.factory(FILTERS, name))


def _expand_name(file: PasteFile, kinds: Sequence[str], name: str, depth: int = 0) -> list[Filter]:
    """Return what a request passes for one name; the section that a section uses may name a filter, too."""
    item = Filter(name, file.factory(kinds, name))
    section = file.find(kinds, name)
    if section is None or depth > _MAX_DEPTH:
        return [item]
    passed = []
    if "filter-with" in section.options:
        passed += _expand_name(file, FILTERS, section.options["filter-with"], depth + 1)
    if section.kind == "filter-app":
        return [*passed, item, *_expand_name(file, APPS, section.options.get("next", ""), depth + 1)]
    used = _expand_name(file, kinds, section.options.get("use", ""), depth + 1)
    return [*passed, *used[:-1], item._replace(factory=used[-1].factory or item.factory)]

"""The filter's place in the pipelines of an api-paste.ini.

It stands directly before the compute API: whatever is behind it can make requests of its own, which nobody judges and
nobody records (openstack/ooi turns ``POST /occi1.2/compute/ID?action=save`` into a createImage), and does not see what
the filter refuses (an audit filter, a rate limit). Only Nova's own ``legacy_v2_compatible`` may come between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from imagefilter.cli.pastefile import APPS, FILTERS, PasteFile, Section, name_of

# What a filter is, by a part of its factory: sections may have any name.
_FACTORIES = {
    "imagefilter": ("imagefilter:filter_factory", "imagefilter.filter:filter_factory", "egg:imagefilter"),
    "legacy_v2_compatible": ("LegacyV2CompatibleWrapper.",),
}
_COMPUTE_APPS = ("nova.api.openstack.compute:APIRouter", "egg:imagefilter#gateway", "imagefilter.gateway:app_factory")

# Apps that make no image: Nova's lists of versions and its metadata, and what answers health checks.
_HARMLESS_APPS = ("nova.api.", "oslo_middleware", "oslo.middleware", "egg:imagefilter", "egg:Paste", "paste.urlmap")

# Keys of a composite that Nova 32 and newer no longer select.
_UNSELECTED = ("noauth", "noauth2")

# A filter-app whose next app is itself, say.
_MAX_DEPTH = 20

_SECTION = "\n  [filter:imagefilter]\n  use = egg:imagefilter"


class Pipeline(NamedTuple):
    """A pipeline that can serve a compute API, and what is wrong with it."""

    section: str
    key: str
    names: tuple[str, ...]
    error: str
    warning: str
    fix: str  # what to write instead; empty if nothing is wrong, or no line mends it


class _Filter(NamedTuple):
    """A filter in a pipeline, or the app at its end."""

    name: str
    kind: str  # a key of _FACTORIES, or empty
    factory: str  # empty if its section is missing


def read(path: str) -> list[Pipeline]:
    """Check all pipelines that can serve a compute API.

    :raises ValueError: if the file can't be read or has no such pipeline.
    """
    file = PasteFile(path)
    pipelines = [_check(file, section, key, names) for section, key, names in _find_pipelines(file)]
    if not pipelines:
        raise ValueError(f"{path}: no pipeline ends in a compute API (an app with {_COMPUTE_APPS[0]}V21.factory)")
    return pipelines + list(_find_strangers(file))


def is_ours(file: PasteFile, name: str) -> bool:
    """Return whether a name in a pipeline stands for the filter."""
    return _filter(file, name).kind == "imagefilter"


def _find_pipelines(file: PasteFile) -> Iterator[tuple[Section, str, list[str]]]:
    """Yield each line that leads to a compute API: its section, its key and its names."""
    for section in file.sections(("pipeline",)):
        names = section.options.get("pipeline", "").split()
        if _serves_compute(file, names):
            yield section, "pipeline", names
    for section in file.sections(("composite", "composit")):
        for key, value in section.options.items():
            names = value.split()
            is_pipeline = len(names) == 1 and _is_checked_itself(file, names[0])
            if key != "use" and not key.startswith("paste.") and not is_pipeline and _serves_compute(file, names):
                yield section, key, names


def _is_checked_itself(file: PasteFile, name: str) -> bool:
    section = file.find(APPS, name)
    return section is not None and section.kind in ("pipeline", "composite", "composit")


def _serves_compute(file: PasteFile, names: Sequence[str]) -> bool:
    return bool(names) and any(app in _expand(file, names)[-1].factory for app in _COMPUTE_APPS)


def _expand(file: PasteFile, names: Sequence[str]) -> list[_Filter]:
    """Return all filters that a request passes, and the app: an app's section may name filters, too."""
    filters = [_filter(file, name) for name in names[:-1]]
    app = names[-1]
    for _ in range(_MAX_DEPTH):
        section = file.find(APPS, app)
        if section is None:
            break
        if "filter-with" in section.options:
            filters.append(_filter(file, section.options["filter-with"]))
        if section.kind != "filter-app":
            break
        filters.append(_described(app, file.factory(APPS, app)))
        app = section.options.get("next", "")
    return [*filters, _described(app, file.factory(APPS, app))]


def _filter(file: PasteFile, name: str) -> _Filter:
    return _described(name, file.factory(FILTERS, name))


def _described(name: str, factory: str) -> _Filter:
    for kind, parts in _FACTORIES.items():
        if "#gateway" not in factory and any(part in factory for part in parts):
            return _Filter(name, kind, factory)
    return _Filter(name, "", factory)


def _check(file: PasteFile, section: Section, key: str, names: Sequence[str]) -> Pipeline:
    filters = _expand(file, names)
    missing = [item.name for item in filters if not item.factory and file.find(FILTERS, item.name) is None]
    problems = [f"there is no section [filter:{name}]" for name in missing]
    problems += _find_problems(filters, missing)
    right = _move_filter(file, names)
    fix = ""
    if right != list(names):
        fix = _fix(section, key, right)
    if "imagefilter" in missing:
        fix += _SECTION
    error, warning = "; ".join(problems), ""
    if key in _UNSELECTED and problems:
        error, warning = "", f"{error} (Nova 32 and newer no longer select {key})"
    return Pipeline(section.name, key, tuple(names), error, warning, fix.lstrip("\n "))


def _find_problems(filters: Sequence[_Filter], missing: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the filter's place."""
    positions = [number for number, item in enumerate(filters) if item.kind == "imagefilter"]
    if not positions:
        if any(item.name == "imagefilter" for item in filters):
            if "imagefilter" not in missing:
                yield "the section [filter:imagefilter] does not say use = egg:imagefilter"
        else:
            yield "not protected: requests through this pipeline bypass the filter"
        return
    if len(positions) > 1:
        yield "the filter is there twice"
    behind = filters[positions[-1] + 1 : -1]
    strangers = [item.name for item in behind if item.kind not in ("legacy_v2_compatible", "imagefilter")]
    if strangers:
        yield f"the filter is not directly before the app: behind it is {', '.join(strangers)}"


def _move_filter(file: PasteFile, names: Sequence[str]) -> list[str]:
    """Return the names of a pipeline with the filter in its place."""
    ours = ""
    others: list[str] = []
    for name in names:
        if name == "imagefilter" or is_ours(file, name):
            ours = ours or name
        else:
            others.append(name)
    position = len(others) - 1
    while position and _filter(file, others[position - 1]).kind == "legacy_v2_compatible":
        position -= 1
    others.insert(position, ours or _name_filter(file))
    return others


def _name_filter(file: PasteFile) -> str:
    """Return the name of the filter's section, or the one that it should get."""
    for section in file.sections(FILTERS):
        if is_ours(file, name_of(section)):
            return name_of(section)
    return "imagefilter"


def _fix(section: Section, key: str, names: Sequence[str]) -> str:
    """Return the line to write: of a urlmap, which has room for one name alone, with a pipeline of its own."""
    if not key.startswith(("/", "http:", "https:", "domain ")):
        return f"{key} = {' '.join(names)}"
    pipeline = f"guarded_{names[-1]}"
    return f"{key} = {pipeline}\n  [pipeline:{pipeline}]\n  pipeline = {' '.join(names)}"


def _find_strangers(file: PasteFile) -> Iterator[Pipeline]:
    """Yield apps beside Nova's that no filter can guard: occi-os's calls Nova's compute code itself."""
    for section in file.sections(("app", "application")):
        factory = file.factory(APPS, name_of(section))
        if not any(known in factory for known in (*_COMPUTE_APPS, *_HARMLESS_APPS)):
            text = f"no filter guards what this app does by itself ({factory or 'it uses nothing'})"
            yield Pipeline(section.name, "", (name_of(section),), "", text, "")

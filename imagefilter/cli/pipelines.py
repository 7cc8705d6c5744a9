"""The filter's place in the pipelines of an api-paste.ini, read as text: nothing in it is loaded."""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Sequence
from typing import NamedTuple

# What a filter is, by a part of its factory: sections may have any name.
_FACTORIES = {
    "imagefilter": ("imagefilter:filter_factory", "imagefilter.filter:filter_factory", "egg:imagefilter"),
    "auth_token": ("keystonemiddleware.auth_token:", "keystonemiddleware#auth_token"),
    "keystonecontext": ("NovaKeystoneContext.",),
    "faultwrap": ("FaultWrapper.",),
    "sizelimit": ("RequestBodySizeLimiter.", "oslo_middleware.sizelimit:"),
}
_COMPUTE_APPS = ("nova.api.openstack.compute:APIRouterV21", "egg:imagefilter#gateway")

# A filter that has our name and is something else.
_NOT_OURS = "not imagefilter"

# Keys of a composite that Nova 32 and newer no longer select.
_UNSELECTED = ("noauth", "noauth2")

# What must stand before the filter, and why.
_BEFORE = {
    "auth_token": "nobody is authenticated there yet",
    "keystonecontext": "Nova's own context does not exist there yet",
    "faultwrap": "its failures would not be Nova's faults",
    "sizelimit": "bodies are not limited there yet",
}


class Pipeline(NamedTuple):
    """A pipeline that can serve a compute API, and what is wrong with it."""

    section: str
    key: str
    names: tuple[str, ...]
    error: str
    warning: str
    fix: str  # the line to write instead


class _Filter(NamedTuple):
    """A filter or an app in a pipeline."""

    name: str
    kind: str  # a key of _FACTORIES, _NOT_OURS, or the name


def read(path: str) -> list[Pipeline]:
    """Check all pipelines that can serve a compute API.

    :raises ValueError: if the file can't be read or has no such pipeline.
    """
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # paste keys keep their case
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file, source=path)
    except (OSError, configparser.Error, UnicodeDecodeError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    pipelines = [_check(parser, section, key, names) for section, key, names in _find_pipelines(parser)]
    if not pipelines:
        raise ValueError(f"{path}: no pipeline ends in a compute API (an app with {_COMPUTE_APPS[0]}.factory)")
    return pipelines


def _find_pipelines(parser: configparser.RawConfigParser) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for section in parser.sections():
        if not section.startswith(("composite:", "pipeline:")):
            continue
        for key, value in parser.items(section):
            names = tuple(value.split())
            if names and _serves_compute(parser, names[-1]):
                yield section, key, names


def _serves_compute(parser: configparser.RawConfigParser, name: str) -> bool:
    factory = _factory(parser, f"app:{name}")
    return any(app in factory for app in _COMPUTE_APPS)


def _factory(parser: configparser.RawConfigParser, section: str) -> str:
    """Return what a section uses: ``use`` and ``paste.…_factory``."""
    if not parser.has_section(section):
        return ""
    return " ".join(value for key, value in parser.items(section) if key == "use" or key.endswith("factory"))


def _check(parser: configparser.RawConfigParser, section: str, key: str, names: tuple[str, ...]) -> Pipeline:
    filters = [_Filter(name, _kind(parser, name)) for name in names]
    problem = _find_problem([item.kind for item in filters])
    error, warning, fix = problem, "", ""
    if problem:
        fix = f"{key} = {' '.join(_move_filter(filters))}"
    if key in _UNSELECTED:
        error, warning = "", f"Nova 32 and newer no longer select {key}"
        if problem:
            warning = f"{warning}; {problem}"
    return Pipeline(section=section, key=key, names=names, error=error, warning=warning, fix=fix)


def _kind(parser: configparser.RawConfigParser, name: str) -> str:
    """Return what a name in a pipeline stands for: what its section uses; without a section, what the name says."""
    factory = _factory(parser, f"filter:{name}")
    for kind, parts in _FACTORIES.items():
        if any(part in (factory or name) for part in parts):
            if kind == "imagefilter" and "#gateway" in factory:  # an app, not a filter
                return _NOT_OURS
            return kind
    if name == "imagefilter":  # the name alone protects nothing
        return _NOT_OURS
    return name


def _find_problem(kinds: Sequence[str]) -> str:
    if _NOT_OURS in kinds:
        return "a filter here is called imagefilter, but its section is missing or does not say use = egg:imagefilter"
    if "imagefilter" not in kinds:
        return "not protected: requests through this pipeline bypass the filter"
    if kinds.count("imagefilter") > 1:
        return "the filter is there twice"
    position = kinds.index("imagefilter")
    for kind, reason in _BEFORE.items():
        if kind in kinds and kinds.index(kind) > position:
            return f"the filter stands before {kind}: {reason}"
    return ""


def _move_filter(filters: Sequence[_Filter]) -> list[str]:
    """Return the names of a pipeline with the filter in its place: right behind all that must stand before it."""
    ours = ""
    names: list[str] = []
    position = 0
    for item in filters:
        if item.kind in ("imagefilter", _NOT_OURS):
            ours = ours or item.name
            continue
        names.append(item.name)
        if item.kind in _BEFORE:
            position = len(names)
    names.insert(position, ours or "imagefilter")
    return names

"""The filter's place in the pipelines of an api-paste.ini, read as text: nothing of it is loaded."""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from typing import NamedTuple

# What a section is, by a part of its factory: sections may be called anything.
_FACTORIES = {
    "imagefilter": ("imagefilter:filter_factory", "imagefilter.filter:filter_factory", "egg:imagefilter"),
    "auth_token": ("keystonemiddleware.auth_token:", "keystonemiddleware#auth_token"),
    "keystonecontext": ("NovaKeystoneContext.",),
    "faultwrap": ("FaultWrapper.",),
    "sizelimit": ("RequestBodySizeLimiter.", "oslo_middleware.sizelimit:"),
}
_COMPUTE_APPS = ("nova.api.openstack.compute:APIRouterV21", "egg:imagefilter#gateway")
_NOT_OURS = "not imagefilter"
# Keys of a composite that Nova 32 and newer don't look at any more.
_UNSELECTED = ("noauth", "noauth2")


class Pipeline(NamedTuple):
    """A pipeline that can serve a compute API, and what is wrong with it."""

    section: str
    key: str
    names: tuple[str, ...]
    error: str
    warning: str
    fix: str  # the line to write instead

    @property
    def place(self) -> str:
        """Where the filter stands in it."""
        return " ".join(self.names)


def read(path: str) -> list[Pipeline]:
    """All pipelines that can serve a compute API.

    :raises ValueError: if the file can't be read or holds none.
    """
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # paste keys keep their case
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file, source=path)
    except (OSError, configparser.Error, UnicodeDecodeError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    found = [_judged(parser, *each) for each in _pipelines(parser)]
    if not found:
        raise ValueError(f"{path}: no pipeline that ends in a compute API (an app with {_COMPUTE_APPS[0]}.factory)")
    return found


def _pipelines(parser: configparser.RawConfigParser) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for section in parser.sections():
        for key, value in parser.items(section):
            names = tuple(value.split())
            if section.startswith(("composite:", "pipeline:")) and names and _serves_compute(parser, names[-1]):
                yield section, key, names


def _serves_compute(parser: configparser.RawConfigParser, name: str) -> bool:
    return any(part in _factory(parser, f"app:{name}") for part in _COMPUTE_APPS)


def _factory(parser: configparser.RawConfigParser, section: str) -> str:
    if not parser.has_section(section):
        return ""
    options = dict(parser.items(section))
    return " ".join(value for key, value in options.items() if key == "use" or key.endswith("factory"))


def _kind(parser: configparser.RawConfigParser, name: str) -> str:
    """What a filter's name in a pipeline stands for."""
    factory = _factory(parser, f"filter:{name}")
    kinds = [kind for kind, parts in _FACTORIES.items() if any(part in (factory or name) for part in parts)]
    kind = kinds[0] if kinds else name
    # Its name alone guards nothing, and #gateway is an app.
    return _NOT_OURS if kind == "imagefilter" and (not kinds or "#gateway" in factory) else kind


def _judged(parser: configparser.RawConfigParser, section: str, key: str, names: tuple[str, ...]) -> Pipeline:
    kinds = [_kind(parser, name) for name in names]
    ours = next((name for name, kind in zip(names, kinds) if kind in ("imagefilter", _NOT_OURS)), "imagefilter")
    problem = _problem(kinds)
    fix = f"{key} = {' '.join(_with_filter(names, kinds, ours))}" if problem else ""
    unselected = key in _UNSELECTED
    warning = f"Nova 32 and newer no longer select {key}" + (f"; {problem}" if problem else "") if unselected else ""
    return Pipeline(section, key, names, "" if unselected else problem, warning, fix)


def _problem(kinds: list[str]) -> str:
    if _NOT_OURS in kinds:
        return "a filter here is called imagefilter, but its section is missing or does not say use = egg:imagefilter"
    if "imagefilter" not in kinds:
        return "unguarded: whoever comes this way walks round the filter"
    if kinds.count("imagefilter") > 1:
        return "the filter stands here twice"
    place = kinds.index("imagefilter")
    for kind, why in (
        ("auth_token", "nobody is authenticated there yet"),
        ("keystonecontext", "Nova's own context is not there yet"),
        ("faultwrap", "its failure would not be a fault of Nova's"),
        ("sizelimit", "bodies are not limited there yet"),
    ):
        if kind in kinds and kinds.index(kind) > place:
            return f"the filter stands before {kind}: {why}"
    return ""


def _with_filter(names: tuple[str, ...], kinds: list[str], ours: str) -> list[str]:
    """The pipeline with the filter where it belongs: right behind keystonecontext, or as near as there is."""
    rest = [(name, kind) for name, kind in zip(names, kinds) if kind not in ("imagefilter", _NOT_OURS)]
    behind = {"keystonecontext", "auth_token", "faultwrap", "sizelimit"}
    place = max((number + 1 for number, (_, kind) in enumerate(rest) if kind in behind), default=0)
    return [name for name, _ in (*rest[:place], (ours, ""), *rest[place:])]

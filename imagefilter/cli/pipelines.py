"""The filter's place in the pipelines of an api-paste.ini.

It stands directly before the compute API: whatever is behind it can make requests of its own, which nobody judges and
nobody records (openstack/ooi turns ``POST /occi1.2/compute/ID?action=save`` into a createImage), and does not see what
the filter refuses (an audit filter, a rate limit). Only Nova's own ``legacy_v2_compatible`` may come between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from imagefilter.cli.pastechain import Filter, expand, find_filter, is_compute_app, is_harmless_app, is_ours
from imagefilter.cli.pastefile import APPS, FILTERS, PasteFile, Section, name_of

# The names by which nova-api and imagefilter.wsgi load an app, if it is no pipeline or composite.
_ENTRIES = ("osapi_compute", "main")

# Keys of a composite that Nova 32 and newer no longer select.
_UNSELECTED = ("noauth", "noauth2")

_SECTION = "\n  [filter:imagefilter]\n  paste.filter_factory = imagefilter:filter_factory"

Row = tuple[str, str, str, str]

#: The columns of :func:`rows_of`.
COLUMNS = ("Section", "Key", "Verdict", "Pipeline")


class Pipeline(NamedTuple):
    """A pipeline that can serve a compute API, and what is wrong with it."""

    section: str
    key: str
    names: tuple[str, ...]
    error: str
    warning: str
    fix: str  # what to write instead; empty if nothing is wrong, or no line mends it


def read(path: str) -> list[Pipeline]:
    """Check all pipelines that can serve a compute API.

    :raises ValueError: if the file can't be read or has no such pipeline.
    """
    file = PasteFile(path)
    pipelines = [_check(file, section, key, names) for section, key, names in _find_pipelines(file)]
    pipelines += _find_bare_apps(file)
    if not pipelines:
        raise ValueError(
            f"{path}: no pipeline ends in a compute API (an app with nova.api.openstack.compute:APIRouterV21.factory)"
        )
    return pipelines + list(_find_strangers(file))


def describe(checked: Iterable[Pipeline]) -> Iterator[str]:
    """Yield what is wrong with pipelines, and what to write instead."""
    for pipeline in checked:
        for level, text in (("error", pipeline.error), ("warning", pipeline.warning)):
            if text:
                yield f"{level}: {_place(pipeline)}: {text}"
                if pipeline.fix:
                    yield f"  Write:\n  {pipeline.fix}"


def rows_of(checked: Iterable[Pipeline]) -> list[Row]:
    """Return pipelines as rows of a table."""
    return [(pipeline.section, pipeline.key, _verdict(pipeline), " ".join(pipeline.names)) for pipeline in checked]


def status_of(checked: Sequence[Pipeline], is_strict: bool) -> int:
    """Return the exit status: 0 OK, 1 warnings that count, 2 errors."""
    if any(pipeline.error for pipeline in checked):
        return 2
    return int(is_strict and any(pipeline.warning for pipeline in checked))


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
    return bool(names) and is_compute_app(expand(file, names)[-1].factory)


def _check(file: PasteFile, section: Section, key: str, names: Sequence[str]) -> Pipeline:
    filters = expand(file, names)
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


def _find_problems(filters: Sequence[Filter], missing: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the filter's place."""
    positions = [number for number, item in enumerate(filters) if item.is_ours]
    if not positions:
        if any(item.name == "imagefilter" for item in filters):
            if "imagefilter" not in missing:
                yield "the section [filter:imagefilter] does not say paste.filter_factory = imagefilter:filter_factory"
        else:
            yield "not protected: requests through this pipeline bypass the filter"
        return
    if len(positions) > 1:
        yield "the filter is there twice"
    behind = filters[positions[-1] + 1 : -1]
    strangers = [item.name for item in behind if not item.may_follow]
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
    while position and find_filter(file, others[position - 1]).may_follow:
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


def _find_bare_apps(file: PasteFile) -> Iterator[Pipeline]:
    """Yield each app that a process loads by its name and that no pipeline guards."""
    for section in file.sections(("app", "application", "filter-app")):
        name = name_of(section)
        if name in _ENTRIES and _serves_compute(file, [name]):
            found = _check(file, section, "", [name])
            if found.error:
                found = found._replace(fix=_fix_app(section.name, name, _name_filter(file)))
            yield found


def _fix_app(section: str, name: str, ours: str) -> str:
    kind = section.partition(":")[0]
    return f"[{kind}:{name}_app]\n  in place of [{section}], and\n  [pipeline:{name}]\n  pipeline = {ours} {name}_app"


def _find_strangers(file: PasteFile) -> Iterator[Pipeline]:
    """Yield apps beside Nova's that no filter can guard: occi-os's calls Nova's compute code itself."""
    for section in file.sections(("app", "application")):
        factory = file.factory(APPS, name_of(section))
        if not is_compute_app(factory) and not is_harmless_app(factory):
            text = f"no filter guards what this app does by itself ({factory or 'it uses nothing'})"
            yield Pipeline(section.name, "", (name_of(section),), "", text, "")


def _place(pipeline: Pipeline) -> str:
    return f"[{pipeline.section}] {pipeline.key}".rstrip()


def _verdict(pipeline: Pipeline) -> str:
    if pipeline.error:
        return "error"
    if pipeline.warning:
        return "warning"
    return "OK"

"""Imports follow the arrows of the architecture: the table below has all that are allowed."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.paths import ROOT

#: What a package, or a module outside of packages, may import of imagefilter besides itself. The name of a package
#: stands for all of its modules.
ALLOWED: dict[str, set[str]] = {
    # the ground floor
    "fault": set(),
    "journal": set(),
    "response": set(),
    "pipeline": set(),
    "bounded": set(),
    "coordination": {"bounded"},
    # from a request to its verdict
    "request": {"fault"},
    "policy": {"request", "journal", "coordination"},
    "rules": {"request", "policy", "fault"},
    "lookup": {"request", "policy", "rules.case", "coordination", "bounded"},
    # from a verdict to its record
    "audit": {"request", "policy", "rules", "lookup", "journal", "fault", "response", "coordination"},
    # images that are there already
    "housekeeping": {"audit", "journal"},
    # the doors: nobody imports them but the exceptions named here
    "filter": {"request", "policy", "rules", "lookup", "audit", "journal", "fault", "response", "pipeline"},
    "imagefilter": {"filter"},
    "wsgi": set(),
    "gateway": {"request", "policy", "fault"},
    "relay": {"request", "policy", "rules", "journal"},
    "export": {"journal"},
    "cli": {
        "request",
        "policy",
        "rules",
        "lookup",
        "audit",
        "journal",
        "fault",
        "response",
        "coordination",
        "filter",
        "imagefilter",
        "gateway",
        "relay",
        "export",
        "wsgi",
        "housekeeping",
    },
}

#: Standard modules and libraries of which a rule has no need: it judges what it is given.
IO_MODULES = {"http", "io", "os", "pathlib", "shutil", "socket", "subprocess", "tempfile", "urllib", "urllib3", "webob"}

Imports = dict[str, set[str]]  # by module


class ImportFinder(ast.NodeVisitor):
    """Collects the names that a module imports anywhere, but for type checkers alone."""

    def __init__(self, package: list[str]) -> None:
        self.names: set[str] = set()
        self._package = package

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) not in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.names.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            parents = self._package[: len(self._package) - node.level + 1]
            base = ".".join([*parents, base]).rstrip(".")
        self.names.update(f"{base}.{alias.name}" for alias in node.names)


def read_imports(root: Path) -> Imports:
    """Return the full names that each module of the package in a folder imports."""
    imports = {}
    for path in root.glob("imagefilter/**/*.py"):
        parts = list(path.relative_to(root).with_suffix("").parts)
        package = parts[:-1]
        if parts[-1] == "__init__":
            parts = package
        finder = ImportFinder(package)
        finder.visit(ast.parse(path.read_text()))
        imports[".".join(parts)] = finder.names
    return imports


def own_modules(imports: Imports) -> Imports:
    """Return which of its own modules each module imports."""
    own = {}
    for module, names in imports.items():
        found = {find_module(name, imports) for name in names}
        own[module] = found - {"", module}
    return own


def find_module(name: str, modules: Mapping[str, object]) -> str:
    """Return the module that a name is of, or that it names; empty for the modules of others."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def short_name(module: str) -> str:
    return module.removeprefix("imagefilter.")


def forbidden_imports(imports: Imports) -> list[str]:
    """Return the arrows that the table does not allow, sorted."""
    arrows = []
    for module, imported in own_modules(imports).items():
        package = short_name(module).partition(".")[0]
        for other in map(short_name, imported):
            other_package = other.partition(".")[0]
            if other_package != package and ALLOWED.get(package, set()).isdisjoint((other, other_package)):
                arrows.append(f"{short_name(module)} -> {other}")
    return sorted(arrows)


def assert_no_circle(imports: Imports) -> None:
    """Raise CycleError if modules import each other in a circle."""
    graphlib.TopologicalSorter(own_modules(imports)).prepare()


# --- the package


@pytest.fixture(scope="module")
def imports() -> Imports:
    """What each module of imagefilter imports."""
    return read_imports(ROOT)


def test_imports_follow_the_arrows(imports: Imports) -> None:
    assert forbidden_imports(imports) == []


def test_modules_do_not_import_each_other_in_a_circle(imports: Imports) -> None:
    assert_no_circle(imports)


def test_the_table_has_a_row_for_each_package_and_no_other(imports: Imports) -> None:
    assert {short_name(module).partition(".")[0] for module in imports} == set(ALLOWED)


def test_rules_do_no_io(imports: Imports) -> None:
    for module, names in imports.items():
        if module.startswith("imagefilter.rules."):
            assert {name.partition(".")[0] for name in names}.isdisjoint(IO_MODULES), module


def test_rules_reach_nothing_that_does_io(imports: Imports) -> None:
    """Not through others either, as journals through the policy's store."""
    own = own_modules(imports)
    reached: set[str] = set()
    waiting = [module for module in own if module.startswith("imagefilter.rules")]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += own[module]
    packages = {short_name(module).partition(".")[0] for module in reached}
    assert packages == {"rules", "request", "policy", "fault"}


# --- planted mistakes


def plant(root: Path, files: dict[str, str]) -> Imports:
    """Write a small package with the modules that others import, and read its imports."""
    known = ("__init__", "filter", "fault", "cli/app", "journal/reader", "lookup/compute", "policy/options")
    known += ("rules/case", "rules/engine", "relay/loop")
    for name in (*known, *files):
        path = root / "imagefilter" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files.get(name, ""))
    return read_imports(root)


@pytest.mark.parametrize(
    ("name", "text", "arrow"),
    [
        ("request/body", "from imagefilter.policy import options", "request.body -> policy.options"),
        ("request/body", "from imagefilter.policy.options import OPTIONS", "request.body -> policy.options"),
        ("request/body", "import imagefilter.policy.options", "request.body -> policy.options"),
        ("request/body", "from ..policy import options", "request.body -> policy.options"),
        ("request/body", "from ..policy.options import OPTIONS", "request.body -> policy.options"),
        ("journal/__init__", "from imagefilter.fault import Fault", "journal -> fault"),
        ("fault", "from .policy.options import OPTIONS", "fault -> policy.options"),
        (
            "rules/operator",
            "def check():\n    from imagefilter.journal import reader",
            "rules.operator -> journal.reader",
        ),
        (
            "rules/operator",
            "try:\n    import imagefilter.lookup.compute\nfinally:\n    pass",
            "rules.operator -> lookup.compute",
        ),
        ("lookup/glance", "from imagefilter.rules.engine import judge", "lookup.glance -> rules.engine"),
        ("audit/event", "from imagefilter import filter_factory", "audit.event -> imagefilter"),
        ("audit/event", "from imagefilter.filter import filter_factory", "audit.event -> filter"),
        ("relay/options", "if True:\n    from imagefilter.cli import app", "relay.options -> cli.app"),
        ("gateway/app", "class App:\n    import imagefilter.relay.loop", "gateway.app -> relay.loop"),
        ("unheard_of/module", "from imagefilter import fault", "unheard_of.module -> fault"),
    ],
)
def test_finds_a_planted_import(tmp_path: Path, name: str, text: str, arrow: str) -> None:
    assert forbidden_imports(plant(tmp_path, {name: text})) == [arrow]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("request/body", "if TYPE_CHECKING:\n    from imagefilter.policy import options"),
        ("request/body", "import policy.options"),
        ("request/body", "from request import imagefilter"),
        ("lookup/glance", "from imagefilter.rules.case import LookupFailed"),
        ("lookup/glance", "from imagefilter.rules import case"),
        ("lookup/glance", "from . import compute"),
        ("cli/check", "from imagefilter.relay import loop"),
        ("__init__", "from imagefilter.filter import filter_factory"),
    ],
)
def test_accepts_an_allowed_import(tmp_path: Path, name: str, text: str) -> None:
    assert forbidden_imports(plant(tmp_path, {name: text})) == []


@pytest.mark.parametrize("text", ["from imagefilter.policy import one", "def late():\n    from . import one"])
def test_finds_a_planted_circle(tmp_path: Path, text: str) -> None:
    imports = plant(tmp_path, {"policy/one": "from imagefilter.policy.two import name", "policy/two": text})
    with pytest.raises(graphlib.CycleError):
        assert_no_circle(imports)

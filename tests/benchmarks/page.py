"""The benchmark page: one run's tables in Markdown, with a plot for each that has one."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.benchmarks.measure import Table

INTRODUCTION = """\
# Performance

This page is written by `make bench`; every figure on it comes from one run.

Method: all cases of a table are interleaved, their order rotates from round to round, and the least times over all
rounds are compared, because anything else that runs on the machine can only add to them. Ratios are the figures to
quote; the absolute ones belong to this machine.
"""
PACKAGES = (
    "nova-imagefilter",
    "nova",
    "keystonemiddleware",
    "oslo.middleware",
    "audit-middleware",
    "oslo.messaging",
    "pycadf",
    "WebOb",
)


def write(folder: Path, tables: Iterable[Table]) -> None:
    """Write ``performance.md`` and the plots beside it."""
    folder.mkdir(exist_ok=True)
    parts = [INTRODUCTION, _machine()]
    for number, table in enumerate(tables, 1):
        parts += [f"## {table.title}\n", f"{table.text}\n", _markdown([table.header, *table.rows])]
        if table.lines:
            plot = folder / "performance" / f"{number}.svg"
            plot.parent.mkdir(exist_ok=True)
            _plot(table, plot)
            parts.append(f"![{table.title}](performance/{plot.name})\n")
        if table.checks:
            parts.append("".join(f"* {check}\n" for check in table.checks))
    (folder / "performance.md").write_text("\n".join(parts), encoding="utf-8")


def _machine() -> str:
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES if _version(name))
    today = datetime.datetime.now(datetime.timezone.utc).date()
    load = os.getloadavg()[0]
    return (
        f"Machine: {os.cpu_count()} cores, {_processor()}, {platform.system()} {platform.release().split('-')[0]}, "
        f"load {load:.1f} at the end of the run. Python {platform.python_version()}; {versions}. {today}.\n"
    )


def _processor() -> str:
    """Return the processor's model as Linux names it; elsewhere its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str:
    """Return the installed version of a package; empty if there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _markdown(grid: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; the first row is its head."""
    head, *rows = ["| " + " | ".join(row) + " |" for row in grid]
    rule = "|---|" + "---:|" * (len(grid[0]) - 1)
    return "\n".join([head, rule, *rows, ""])


def _plot(table: Table, path: Path) -> None:
    """Write the plot of a table."""
    import matplotlib

    matplotlib.use("svg")
    # The same figures make the same file, and the text stays text.
    matplotlib.rcParams.update({"svg.hashsalt": "imagefilter", "svg.fonttype": "none"})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, points in table.lines.items():
        axes.plot(*zip(*points), marker="o", label=name)
    axes.set_xlabel(table.axes[0])
    axes.set_ylabel(table.axes[1])
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)

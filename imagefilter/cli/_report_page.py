"""The page of ``imagefilter audit report``: a template, a style sheet and a script in one file without a network."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
from typing import Any, NamedTuple

import jinja2

from imagefilter.cli._report_counts import REFUSALS, VERDICTS, Counts, Groups
from imagefilter.cli._report_rows import Rows
from imagefilter.cli._report_time import Chart


class Heading(NamedTuple):
    """What the page is about.

    :param period: the period that was asked for.
    :param filters: names and values of the filters that were set.
    :param about: what of the period there is.
    :param incomplete: what was not read; may be empty.
    """

    period: str
    filters: list[tuple[str, str]]
    about: str
    incomplete: str
    csv_name: str = ""
    csv_link: str = ""


class Tile(NamedTuple):
    """A large number."""

    number: int
    title: str
    kind: str = ""
    share: str = ""


class Content(NamedTuple):
    """What the page shows if there are requests."""

    tiles: list[Tile]
    counts: Counts
    chart: Chart
    parts: list[Groups]
    rows: Rows


def render(heading: Heading, content: Content | None) -> str:
    """Return the page. Clients chose many of its words, so all of them are escaped, and only one script may run."""
    script = _read("report.js")
    loader = jinja2.FunctionLoader(_read)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.get_template("report.html")
    values: dict[str, Any] = {"chart": None}
    if content:
        values = _prepare(heading, content)
    return template.render(
        **heading._asdict(),
        **values,
        style=_read("report.css"),
        script=script,
        content_policy=_write_content_policy(script),
    )


def describe(counts: Counts) -> str:
    """Return the verdicts in words."""
    texts = [f"{count:,} {VERDICTS[verdict]}" for verdict, count in counts.present().items()]
    return ", ".join(texts) or "no requests"


def _prepare(heading: Heading, content: Content) -> dict[str, Any]:
    """Return what the template needs."""
    present = content.counts.present()
    counted = []
    if len(present) > 1:
        counted = [verdict for verdict in REFUSALS if verdict in present]
    return {
        **content._asdict(),
        "names": VERDICTS,
        "present": present,
        "counted": counted,
        "describe": describe,
        "note": _write_note(content.rows, heading.csv_name),
    }


def _write_note(rows: Rows, csv_name: str) -> str:
    """Return how many requests the table lists, and where the others are."""
    if len(rows.rows) == rows.total:
        return f"{rows.total:,} in all, the newest first."
    others = "--csv FILE writes all."
    if csv_name:
        others = f"{csv_name} has all."
    return f"The {len(rows.rows):,} newest of {rows.total:,}; {others}"


def _write_content_policy(script: str) -> str:
    """Return a policy that lets the page load nothing and run one script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _read(name: str) -> str:
    return importlib.resources.files("imagefilter.cli").joinpath(name).read_text(encoding="utf-8")

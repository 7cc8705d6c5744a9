"""``imagefilter check pipeline``: the filter's place in the pipelines of an api-paste.ini."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence

from imagefilter.cli import pipelines
from imagefilter.cli._base import StatusLister
from imagefilter.cli._options import add_strict
from imagefilter.cli.pipelines import Pipeline

Row = tuple[str, str, str, str]

COLUMNS = ("Section", "Key", "Verdict", "Pipeline")


class CheckPipeline(StatusLister):
    """Check that the filter protects every pipeline of an api-paste.ini that can serve a compute API.

    It stands directly before the app; only Nova's legacy_v2_compatible may come between. The file is read as text;
    nothing is imported or loaded. Exit status: 0 OK, 1 warnings with --strict, 2 errors.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("file", metavar="API-PASTE.INI")
        add_strict(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Row]]:
        try:
            checked = pipelines.read(parsed_args.file)
        except ValueError as error:
            self.app.stderr.write(f"error: {error}\n")
            raise SystemExit(2) from None
        self.app.stderr.writelines(f"{finding}\n" for finding in describe(checked))
        self.status = status_of(checked, parsed_args.strict)
        return COLUMNS, rows_of(checked)


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


def _place(pipeline: Pipeline) -> str:
    return f"[{pipeline.section}] {pipeline.key}".rstrip()


def _verdict(pipeline: Pipeline) -> str:
    if pipeline.error:
        return "error"
    if pipeline.warning:
        return "warning"
    return "OK"

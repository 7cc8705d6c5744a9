"""``imagefilter check pipeline``: the filter's place in the pipelines of an api-paste.ini."""

from __future__ import annotations

import argparse

from imagefilter.cli import pipelines
from imagefilter.cli._base import StatusLister
from imagefilter.cli.pipelines import Pipeline

Row = tuple[str, str, str, str]


class CheckPipeline(StatusLister):
    """Check that the filter protects every pipeline of an api-paste.ini that can serve a compute API.

    The file is read as text; nothing is imported or loaded. Exit status: 0 OK, 1 warnings, 2 errors.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("file", metavar="API-PASTE.INI")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[Row]]:
        try:
            checked = pipelines.read(parsed_args.file)
        except ValueError as error:
            self.app.stderr.write(f"error: {error}\n")
            raise SystemExit(2) from None
        rows = []
        for pipeline in checked:
            self._report(pipeline)
            rows.append((pipeline.section, pipeline.key, _verdict(pipeline), " ".join(pipeline.names)))
        return ("Section", "Key", "Verdict", "Pipeline"), rows

    def _report(self, pipeline: Pipeline) -> None:
        """Print what is wrong with a pipeline, and let the exit status tell."""
        if pipeline.warning:
            self.status = max(self.status, 1)
        if pipeline.error:
            self.status = 2
        for level, text in (("error", pipeline.error), ("warning", pipeline.warning)):
            if text:
                where = f"[{pipeline.section}] {pipeline.key}"
                self.app.stderr.write(f"{level}: {where}: {text}. Write:\n  {pipeline.fix or '-'}\n")


def _verdict(pipeline: Pipeline) -> str:
    if pipeline.error:
        return "error"
    if pipeline.warning:
        return "warning"
    return "OK"

"""``imagefilter audit export``: records in the forms that other systems read."""

from __future__ import annotations

import argparse
import os
import sys

from imagefilter.cli import _journals
from imagefilter.cli._base import OwnCommand
from imagefilter.cli._exports import FORMATS, STDOUT, open_output
from imagefilter.cli._filters import Filters, add_filters
from imagefilter.cli._journals import LeftOut
from imagefilter.cli._options import add_config, add_journal, find_journals
from imagefilter.cli._output import fail
from imagefilter.cli._same_names import SameNames
from imagefilter.cli._selection import Selection
from imagefilter.export.checkpoint import Checkpoint, State, begin
from imagefilter.export.loop import Exporter, OutputError, Source
from imagefilter.journal.files import Files
from imagefilter.journal.left_out import find_broken_gzip
from imagefilter.journal.position import Position

_EPILOG = """
formats:
  parquet  a folder with one folder for each day (day=2026-11-26), which Trino,
           Spark, ClickHouse and DuckDB read as one table; a verdict and its
           outcome are one row each, with the same verdict_id
  csv      the same rows and columns
  ocsf     events of the class API Activity (6003), with the record in
           unmapped.cadf; each line is a JSON object
  cadf     the records themselves; each line is a JSON object

With --checkpoint an export begins where the last one ended, also if the
journal was rotated meanwhile, and continues the output. Without it the output
must not exist yet. A killed export loses nothing: the next one removes what the
killed one wrote after its last checkpoint, and exports that again. Only on
standard output a reader gets those records twice, with the same ids.

Exit status: 0 all was exported, 1 something was left out, 2 a journal can't be
read, or the output can't be written.
"""


class AuditExport(OwnCommand):
    """Export records as Parquet, CADF, OCSF or CSV: all of them, or those since the last export."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.epilog = _EPILOG
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        add_config(parser)
        add_journal(parser)
        add_filters(parser, image_id=False)
        parser.add_argument("--format", choices=tuple(FORMATS), required=True, help="the format of the output")
        help_ = "a folder for parquet; a file for the other formats, or - for standard output"
        parser.add_argument("--output", metavar="PATH", required=True, help=help_)
        help_ = "begin where the last export to this output ended; FILE stores that place, and need not exist yet"
        parser.add_argument("--checkpoint", metavar="FILE", help=help_)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        _check_options(parsed_args)
        left_out = LeftOut()
        _journals.find_files(parsed_args, left_out)
        checkpoint, state = _open_checkpoint(parsed_args)
        try:
            count = _export(parsed_args, left_out, state, checkpoint)
        except OutputError as error:
            _give_up_stdout(state)
            fail(str(error))
        except OSError as error:
            fail(f"the journal can't be read: {error}")
        finally:
            if checkpoint:
                checkpoint.close()
        if state.output != STDOUT:
            sys.stderr.write(f"exported to {state.output}: {count} records\n")
        return left_out.finish()


def _check_options(args: argparse.Namespace) -> None:
    if args.format == "parquet" and args.output == STDOUT:
        fail("--format parquet needs a folder: --output FOLDER")
    if args.checkpoint and args.until:
        fail("--until and --checkpoint exclude each other: what comes later than --until would never be exported")


def _open_checkpoint(args: argparse.Namespace) -> tuple[Checkpoint | None, State]:
    """Return the checkpoint, if there is one, and what the last export did; end the program if that can't be read."""
    output = args.output
    if output != STDOUT:
        output = os.path.abspath(output)
    if not args.checkpoint:
        return None, begin(args.format, output)
    path = os.path.abspath(args.checkpoint)
    try:
        checkpoint = Checkpoint(path)
        return checkpoint, checkpoint.read(args.format, output)
    except ValueError as error:
        fail(str(error))
    except BlockingIOError as error:
        fail(str(error))
    except OSError as error:
        fail(f"the checkpoint {path} can't be used: {error.strerror}")


def _export(args: argparse.Namespace, left_out: LeftOut, state: State, checkpoint: Checkpoint | None) -> int:
    """Export; return the number of records.

    :raises OSError: if a journal can't be read.
    :raises OutputError: if the output or the checkpoint can't be written.
    """
    journals = find_journals(args)
    for path in journals:
        _warn_of_broken_files(path, state, left_out)
    filters = Filters(args)
    names = SameNames(args)
    selection = Selection(filters, names, state.waiting)
    includes = selection.includes
    if filters.choose_all:
        includes = _include_all
    source = Source(
        journals=journals,
        includes=includes,
        encode=FORMATS[args.format],
        waiting=selection.waiting,
        on_left_out=lambda path, reason: left_out.add_line(path, path, reason),
    )
    output = open_output(state, is_continued=checkpoint is not None)
    try:
        exporter = Exporter(source, output, state, checkpoint)
        exporter.run()
    finally:
        output.close()
    names.warn()
    return exporter.count


def _warn_of_broken_files(path: str, state: State, left_out: LeftOut) -> None:
    """Warn of the compressed files of a journal that will be read, and only as far as they are whole."""
    done = state.positions.get(path, Position()).done
    for file in Files(path).all():
        if file.digest not in done:
            reason = find_broken_gzip(file.path)
            if reason:
                left_out.add_line(file.path, file.path, f"the rest of the file can't be read: {reason}")


def _include_all(record: object) -> bool:
    return True


def _give_up_stdout(state: State) -> None:
    """Let Python not write again, at its end, what a reader that is gone did not take."""
    if state.output == STDOUT:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

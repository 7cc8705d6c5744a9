"""The formats of ``audit export``: what each writes of a record, and where to."""

from __future__ import annotations

import json
import sys
from typing import Any

from imagefilter.cli._output import csv_cell
from imagefilter.export import ocsf
from imagefilter.export.checkpoint import State
from imagefilter.export.csv_lines import CsvLines
from imagefilter.export.loop import Encode
from imagefilter.export.outputs import ContinuedFile, NewFile, Output, Serialize, StandardOutput, write_lines
from imagefilter.export.parquet import ParquetFolder
from imagefilter.export.table import encode_row
from imagefilter.journal.record import is_configuration

STDOUT = "-"


def encode_cadf(raw: bytes, record: dict[str, Any]) -> bytes:
    """Return a record as it stands in the journal."""
    return raw


def encode_ocsf(raw: bytes, record: dict[str, Any]) -> bytes | None:
    """Return a record as an event of OCSF, if it is about a request."""
    event = ocsf.convert(record)
    if event is None:
        return None
    return json.dumps(event, separators=(",", ":")).encode()


def encode_table_row(raw: bytes, record: dict[str, Any]) -> bytes | None:
    """Return a record as a row, if it is about a request."""
    if is_configuration(record):
        return None
    return encode_row(raw)


FORMATS: dict[str, Encode] = {
    "cadf": encode_cadf,
    "csv": encode_table_row,
    "ocsf": encode_ocsf,
    "parquet": encode_table_row,
}


def open_output(state: State, is_continued: bool) -> Output:
    """Return where an export writes to.

    :param is_continued: a checkpoint says where it goes on.
    """
    if state.format == "parquet":
        return ParquetFolder(state.output, state.export_id, is_continued)
    serialize: Serialize = write_lines
    if state.format == "csv":
        serialize = CsvLines(csv_cell)
    if state.output == STDOUT:
        return StandardOutput(sys.stdout.buffer, serialize)
    if is_continued:
        return ContinuedFile(state.output, serialize)
    return NewFile(state.output, serialize)

"""The requests that ``imagefilter audit report`` lists: on the page the newest, in the CSV file all."""

from __future__ import annotations

import csv
from typing import Any, Callable, NamedTuple, TextIO

from imagefilter.cli._output import csv_cell, printable
from imagefilter.cli._report_counts import REFUSALS, VERDICTS, Counts
from imagefilter.journal.history import History

#: The columns of journals to load.
LOADED = (
    "time",
    "verdict",
    "rule",
    "message",
    "action",
    "project_id",
    "project_name",
    "project_label",
    "user_id",
    "user_name",
    "user_label",
    "server_id",
    "image_name",
    "request_id",
    "global_request_id",
    "address",
    "host",
)

# The columns of the CSV file: titles and SQL.
_CSV_COLUMNS = {
    "Time": "time",
    "Verdict": "verdict",
    "Rule": "rule",
    "Message": "message",
    "Action": "action",
    "Project": "project_label",
    "Project ID": "project_id",
    "User": "user_label",
    "User ID": "user_id",
    "Server": "server_id",
    "Image Name": "image_name",
    "Image ID": "image_id",
    "Outcome": "outcome",
    "Request ID": "request_id",
    "Global Request ID": "global_request_id",
    "Address": "address",
    "Host": "host",
}

_SHORT_ID = 8


class Cell(NamedTuple):
    """What a cell shows, and its whole text."""

    text: str
    whole: str


class Column(NamedTuple):
    """A column of the table.

    :param kind: its class in the style sheet.
    :param sql: its value.
    :param cell: makes the cell of it.
    :param id_sql: the id that belongs to a name.
    """

    title: str
    kind: str
    sql: str
    cell: Callable[[str, str], Cell]
    id_sql: str = "''"


class _Table(NamedTuple):
    """Which requests to list, and how."""

    title: str
    columns: list[Column]
    where: str


class Rows(NamedTuple):
    """The newest requests."""

    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    total: int  # with those that are left out
    rules: list[str]

    @property
    def has_years(self) -> bool:
        """Whether the rows are of several years."""
        newest, oldest = self.rows[0][0], self.rows[-1][0]
        return newest.text[:4] != oldest.text[:4]


def list_rows(history: History, counts: Counts, limit: int) -> Rows:
    """Return the newest requests that were or would be refused; if there are none, the newest of all.

    :param limit: how many at most; 0 for all.
    """
    table, total = _ALL, counts.total
    if counts.refused:
        table, total = _REFUSED, counts.refused
    rules = history.rows(f"SELECT DISTINCT rule FROM requests WHERE {table.where} AND rule IS NOT NULL ORDER BY 1")
    return Rows(
        title=table.title,
        columns=table.columns,
        rows=_list(history, table, limit),
        total=total,
        rules=[rule for (rule,) in rules],
    )


def write_csv(history: History, file: TextIO) -> None:
    """Write all requests, the newest first, so that no spreadsheet takes a cell for a formula."""
    writer = csv.writer(file)
    writer.writerow(_CSV_COLUMNS)
    for row in history.iterate(f"SELECT {', '.join(_CSV_COLUMNS.values())} FROM requests ORDER BY time DESC, id"):
        writer.writerow(map(csv_cell, row))


def _list(history: History, table: _Table, limit: int) -> list[list[Cell]]:
    texts = [f"coalesce({column.sql}::VARCHAR, ''), coalesce({column.id_sql}, '')" for column in table.columns]
    query = f"SELECT {', '.join(texts)} FROM requests WHERE {table.where} ORDER BY time DESC, id"
    if limit:
        query += f" LIMIT {limit}"
    return [_make_cells(table.columns, row) for row in history.rows(query)]


def _make_cells(columns: list[Column], row: tuple[Any, ...]) -> list[Cell]:
    """Return the cells of a row: a client may have chosen any of its words."""
    texts = list(map(printable, row))
    values = zip(columns, texts[::2], texts[1::2])
    return [column.cell(text, any_id) for column, text, any_id in values]


def _text(text: str, _: str) -> Cell:
    return Cell(text, text)


def _time(text: str, _: str) -> Cell:
    return Cell(text[:16].replace("T", " "), text)


def _verdict(text: str, _: str) -> Cell:
    return Cell(VERDICTS.get(text, text), text)


def _name(text: str, any_id: str) -> Cell:
    """Return the cell of a name; without a name, of the id."""
    if text == any_id:
        return _id(text, "")
    if not any_id:
        return _text(text, "")
    return Cell(text, f"{text}\n{any_id}")


def _id(text: str, _: str) -> Cell:
    """Return the cell of an id, cut: a request's id begins with ``req-``."""
    prefix = ""
    if text.startswith("req-"):
        prefix = "req-"
    return Cell(text[: len(prefix) + _SHORT_ID], text)


_TIME = Column("Time", "time", "time", _time)
_VERDICT = Column("Verdict", "verdict", "verdict", _verdict)
_ACTION = Column("Action", "action", "action", _text)
_PROJECT = Column("Project", "project", "coalesce(project_label, project_id)", _name, "project_id")
_USER = Column("User", "user", "coalesce(user_label, user_id)", _name, "user_id")
_SERVER = Column("Server", "server", "server_id", _id)
_IMAGE = Column("Image name", "image", "image_name", _text)
_REQUEST = Column("Request ID", "request", "request_id", _id)

_REFUSED = _Table(
    "Refused requests",
    [
        _TIME,
        _VERDICT,
        Column("Rule", "rule", "rule", _text),
        Column("Message", "message", "message", _text),
        _ACTION,
        _PROJECT,
        _USER,
        _SERVER,
        _IMAGE,
        _REQUEST,
    ],
    f"verdict IN {REFUSALS}",
)
_ALL = _Table(
    "Requests",
    [
        _TIME,
        _VERDICT,
        Column("Outcome", "outcome", "outcome", _text),
        _ACTION,
        _PROJECT,
        _USER,
        _SERVER,
        _IMAGE,
        Column("Image ID", "image-id", "image_id", _id),
        _REQUEST,
    ],
    "true",
)

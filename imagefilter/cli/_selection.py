"""Choose records one by one, as they come: verdicts by the filter options, and the outcomes of those."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from imagefilter.cli._filters import Filters, read_columns
from imagefilter.cli._same_names import SameNames
from imagefilter.journal.record import is_configuration, read_content

# Of a process that was killed the outcome never comes.
_MAX_WAITING = 10_000


class Selection:
    """The records of the requests that the filter options choose.

    :param names: gets each chosen verdict.
    :param waiting: the ids of chosen verdicts whose outcome is to come.
    """

    def __init__(self, filters: Filters, names: SameNames, waiting: Iterable[str] = ()) -> None:
        self._filters = filters
        self._names = names
        self._waiting = dict.fromkeys(waiting)  # in this order

    def waiting(self) -> Sequence[str]:
        """Return the ids of chosen verdicts whose outcome is to come."""
        return tuple(self._waiting)

    def includes(self, record: dict[str, Any]) -> bool:
        """Return whether the next record is chosen."""
        if is_configuration(record):
            return self._filters.choose_all
        content = read_content(record)
        verdict_id = content.get("verdict_id")
        if verdict_id is not None:
            was_waiting = verdict_id in self._waiting
            self._waiting.pop(verdict_id, None)
            return was_waiting
        if not self._filters.match(record):
            return False
        self._names.add(read_columns(record))
        if content["verdict"] != "deny":  # a refused request has no outcome
            self._wait_for(record["id"])
        return True

    def _wait_for(self, verdict_id: str) -> None:
        self._waiting[verdict_id] = None
        if len(self._waiting) > _MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]

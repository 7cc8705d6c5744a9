"""Warn where a name that chooses requests belongs to several users or projects: names are not unique in Keystone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from imagefilter.cli._output import printable

# The columns of imagefilter.journal.history that are ids, by option; its first is whose request it is.
_IDS: Mapping[str, tuple[str, ...]] = {"project": ("project_id",), "user": ("user_id", "trustee_id")}
_LABELS: Mapping[str, str] = {"project": "project_label", "user": "user_label"}
_MAX_NAMED = 5


class SameNames:
    """Collects whose requests were chosen by name."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._texts: dict[str, str] = {}
        for option in _IDS:
            text = getattr(args, option)
            if text:
                self._texts[option] = text
        self._labels: dict[str, dict[str, str]] = {option: {} for option in self._texts}
        self._warned: set[str] = set()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that :meth:`add` reads."""
        columns: list[str] = []
        for option in self._texts:
            columns += [*_IDS[option], _LABELS[option]]
        return tuple(columns)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add the columns of a chosen request."""
        for option, text in self._texts.items():
            ids = [row[column] for column in _IDS[option]]
            if ids[0] and text not in ids:
                self._labels[option][ids[0]] = row[_LABELS[option]]

    def warn(self) -> None:
        """Warn of each option that chose the requests of several, once."""
        for option, labels in self._labels.items():
            if len(labels) > 1 and option not in self._warned:
                self._warned.add(option)
                sys.stderr.write(f"warning: {printable(self._describe(option, labels))}\n")

    def _describe(self, option: str, labels: Mapping[str, str]) -> str:
        owners = [f"{label} ({owner})" for owner, label in sorted(labels.items())[:_MAX_NAMED]]
        if len(labels) > _MAX_NAMED:
            owners.append(f"and {len(labels) - _MAX_NAMED} others")
        text = self._texts[option]
        return f"--{option} {text} is {len(labels)} {option}s: {', '.join(owners)}; choose one by its id"

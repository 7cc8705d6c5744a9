"""Bound the texts of a record, so that no request can write an endless one."""

from __future__ import annotations

from typing import Any

#: Longest text of a client in a record, in characters.
TEXT_LENGTH = 255

#: Longest metadata in a record, in bytes of JSON.
METADATA_BYTES = 16384


class Bounds:
    """Bounds the texts of one record, and remembers what was truncated."""

    def __init__(self) -> None:
        self.truncated: list[dict[str, Any]] = []

    def text(self, field: str, text: str) -> str:
        """Return at most 255 characters of a text, as strict readers of JSON accept them."""
        if len(text) > TEXT_LENGTH:
            self.note(field, len(text))
            text = text[:TEXT_LENGTH]
        return replace_surrogates(text)

    def note(self, field: str, length: int) -> None:
        """Remember that a field was longer: ``length`` is in characters, or in items for ``metadata`` and ``roles``."""
        note = {"field": field, "length": length}
        if note not in self.truncated:
            self.truncated.append(note)


def replace_surrogates(text: str) -> str:
    """Replace half a surrogate pair: strict readers accept no line with one, and would miss its record."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

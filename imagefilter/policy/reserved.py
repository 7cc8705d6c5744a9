"""Metadata keys that a client may not set, compared as Glance's databases compare them.

MySQL's collations take ``Department``, ``département`` and ``department`` for one key, and ignore white space at the
end: an image with either is found under the reserved one (``GET /v2/images?department=finance``).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

# Letters that Unicode does not take apart and the collations do. ``ß`` is ``s`` to utf8mb3_general_ci, ``ss`` to
# utf8mb4_0900_ai_ci and to casefold().
_LETTERS = str.maketrans(
    {"ø": "o", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "ł": "l", "æ": "ae", "œ": "oe", "þ": "th"}
)


class ReservedKeys(NamedTuple):
    """Reserved metadata keys."""

    keys: frozenset[str]  # folded
    prefixes: tuple[str, ...]  # folded, of those that end in *

    def includes(self, key: str) -> bool:
        """Return whether a client's key is reserved."""
        return any(folded in self.keys or folded.startswith(self.prefixes) for folded in fold(key))


def build_reserved(keys: Iterable[str]) -> ReservedKeys:
    """Return reserved keys; one that ends in ``*`` stands for all that begin like it."""
    folded: list[str] = []
    for key in keys:
        folded += fold(key)
    return ReservedKeys(frozenset(folded), tuple(key[:-1] for key in folded if key.endswith("*")))


def fold(key: str) -> tuple[str, ...]:
    """Return forms of a key of which two keys share one if a database takes them for the same."""
    stripped = key.strip()
    if stripped.isascii() and stripped.isprintable():
        return (stripped.lower(),)
    return _fold(stripped), _fold(stripped.replace("ß", "s").replace("ẞ", "s"))


def _fold(key: str) -> str:
    # Compatibility forms (full width, ligatures) and letters beside their accents; what is not seen counts for nothing.
    letters = []
    for letter in unicodedata.normalize("NFKD", key):
        if unicodedata.category(letter) not in ("Mn", "Me", "Cf", "Cc"):
            letters.append(letter)
    folded = "".join(letters).casefold().translate(_LETTERS)
    return unicodedata.normalize("NFKD", folded).strip()

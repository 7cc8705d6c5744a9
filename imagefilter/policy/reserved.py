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
        folded = fold(key)
        if folded in self.keys or folded.startswith(self.prefixes):
            return True
        if key.isascii():
            return False
        folded = fold(key.replace("ß", "s").replace("ẞ", "s"))
        return folded in self.keys or folded.startswith(self.prefixes)


def build_reserved(keys: Iterable[str]) -> ReservedKeys:
    """Return reserved keys; one that ends in ``*`` stands for all that begin like it."""
    folded = [fold(key) for key in keys]
    return ReservedKeys(frozenset(folded), tuple(key[:-1] for key in folded if key.endswith("*")))


def fold(key: str) -> str:
    """Return a form of a key that is the same for all that a database takes for the same key."""
    stripped = key.strip()
    if stripped.isascii() and stripped.isprintable():
        return stripped.lower()
    # Compatibility forms (full width, ligatures) and letters beside their accents; what is not seen counts for nothing.
    letters = []
    for letter in unicodedata.normalize("NFKD", stripped):
        if unicodedata.category(letter) not in ("Mn", "Me", "Cf", "Cc"):
            letters.append(letter)
    folded = "".join(letters).casefold().translate(_LETTERS)
    return unicodedata.normalize("NFKD", folded).strip()

"""The metadata that an operator sets on each image: ``key:value`` pairs whose values may have fields.

All that can be wrong is found when the options are loaded: Nova would refuse each image of the project otherwise.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from imagefilter.policy.reserved import ReservedKeys, fold

#: How many keys an operator may set: Glance's own limit counts them beside the client's.
MAX_KEYS = 16

#: Longest value, in characters: nova/api/validation/parameter_types.py metadata. Nova responds 400 to a longer one.
MAX_VALUE = 255

#: Fields, and the longest text of each, in characters: as Keystone's columns and oslo.middleware have them.
FIELDS: Mapping[str, int] = {
    "server_id": 36,
    "project_id": 64,
    "user_id": 64,
    "request_id": 40,
    "record_id": 36,
    "date": 10,
}

#: Stands for a field that has no value for a caller.
NO_VALUE = "none"

# The keys that Nova accepts, in the module above; without a colon, which ends a key here.
_KEY = re.compile(r"[a-zA-Z0-9_. -]{1,255}")


class Part(NamedTuple):
    """A piece of a value: a text, and the field that follows it (empty: none)."""

    text: str
    field: str


class Template(NamedTuple):
    """A value with fields."""

    parts: tuple[Part, ...]

    @property
    def longest(self) -> int:
        """The length of the longest text that it can become, in characters."""
        return sum(len(part.text) + FIELDS.get(part.field, 0) for part in self.parts)

    def render(self, values: Mapping[str, str | None]) -> str:
        """Return the text with its fields filled in.

        :param values: of each field; None or empty: it has none. A text that is too long to be an id is cut.
        """
        texts = []
        for part in self.parts:
            texts.append(part.text)
            if part.field:
                value = values[part.field] or NO_VALUE
                texts.append(value[: FIELDS[part.field]])
        return "".join(texts)


def parse_template(text: str) -> Template:
    """Read a value with fields.

    :raises ValueError: if it can't be rendered, or could become too long.
    """
    parts = []
    for literal, field, form, conversion in string.Formatter().parse(text):
        if field is not None and field not in FIELDS:
            raise ValueError(f"the field {{{field}}} is not one of {', '.join(FIELDS)}")
        if form or conversion:
            raise ValueError(f"the field {{{field}}} has neither a format nor a conversion")
        parts.append(Part(literal, field or ""))
    template = Template(tuple(parts))
    if not template.longest:
        raise ValueError("it is empty")
    if template.longest > MAX_VALUE:
        raise ValueError(f"it may have {template.longest} characters; the compute API takes {MAX_VALUE}")
    return template


def parse_templates(pairs: Mapping[str, str], forbidden: ReservedKeys, errors: list[str]) -> dict[str, Template]:
    """Read the values of all keys.

    :param forbidden: keys that mean something else to Nova, Glance or the filter.
    :param errors: gets a message for each pair that can't be used; then there are none.
    """
    errors += _find_wrong_keys(pairs, forbidden)
    if len(pairs) > MAX_KEYS:
        errors.append(f"{len(pairs)} keys; {MAX_KEYS} are the most")
    templates: dict[str, Template] = {}
    for key, text in pairs.items():
        try:
            templates[key] = parse_template(text)
        except ValueError as error:
            errors.append(f"{key}: {error}")
    if errors:
        return {}
    return templates


def _find_wrong_keys(keys: Iterable[str], forbidden: ReservedKeys) -> Iterator[str]:
    known: dict[str, str] = {}
    for key in keys:
        if not _KEY.fullmatch(key):
            yield f"{key}: the compute API takes no such key (letters, digits, '-', '_', '.' and spaces, 255 at most)"
        elif forbidden.includes(key):
            yield f"{key}: it is a field of the image, or a property that Nova or the filter sets"
        for folded in fold(key):
            other = known.setdefault(folded, key)
            if other != key:
                yield f"{key}: it is the same key as {other} to Glance's databases"

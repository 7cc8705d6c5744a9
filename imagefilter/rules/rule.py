"""What a rule of the table is."""

from __future__ import annotations

import enum
from typing import Callable, NamedTuple

from imagefilter.rules.case import Case, Refusal
from imagefilter.rules.own import OwnRule


class Part(enum.Enum):
    """A part of a request that a rule reads. Records need not hold all of them, so ``replay`` asks."""

    IDENTITY = "identity"
    MEDIA_TYPE = "media type"
    BODY = "body"
    PATH = "path"
    NAME_LENGTH = "length of the image name"
    NAME = "image name"
    METADATA_TYPE = "type of the metadata"
    METADATA_COUNT = "number of metadata items"
    METADATA_KEYS = "metadata keys"
    METADATA_VALUES = "metadata values"
    ROTATION = "rotation of a backup"
    USAGE = "number of images"
    IMAGE_QUOTA = "quota of the image API"
    DOCUMENT = "fields of the document"


#: What the client says of the image to be made. A ``shelve`` has none of it.
IMAGE_PARTS = frozenset(
    (
        Part.NAME_LENGTH,
        Part.NAME,
        Part.METADATA_TYPE,
        Part.METADATA_COUNT,
        Part.METADATA_KEYS,
        Part.METADATA_VALUES,
    )
)


class Rule(NamedTuple):
    """A row of the table."""

    name: str
    status: int  # of the refusal, unless it has its own
    check: Callable[[Case], Refusal | None]
    reads: Part
    summary: str  # the client's message, for the documentation
    options: tuple[str, ...] = ()  # that decide what it refuses
    exemptible: bool = False  # callers with one of exempt_roles are not bound by it
    always_enforced: bool = False  # refuses in every mode; nothing else can be judged then
    needs_lookup: bool = False  # may ask an API around the filter
    idle_by_default: bool = False  # refuses nothing while all of its options have their defaults
    own: OwnRule | None = None  # one of the operator's own
    default_mode: str | None = None  # None: the project's

    @property
    def reads_image(self) -> bool:
        """Whether it is about the name or the metadata of the image."""
        return self.reads in IMAGE_PARTS
